"""Spans of runs on their way, and how a request that is refused is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from .otlp import Answer, encode
from .trace import RunTrace, Span

# Below the collector's default limit of 4 MiB for gRPC, which a receiver behind it may have.
MAX_BATCH_BYTES: Final = 3 * 1024 * 1024
# What a span or a span event takes in memory, roughly.
_PLAIN_BYTES: Final = 512


class Sender(Protocol):
    """Sends encoded spans."""

    @property
    def destination(self) -> str:
        """Name of the receiver, without secrets."""
        ...

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Deliver one ExportTraceServiceRequest and return what became of it. Never raises."""
        ...


@dataclass(frozen=True)
class Parcel:
    """Spans of one run: encoded in `body` for a sink that sends bytes, plain in `spans` for one that plays them."""

    run_id: str
    span_ids: tuple[str, ...]
    body: bytes = b""
    spans: tuple[Span, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits; of plain spans an estimate."""
        return len(self.body) + _PLAIN_BYTES * sum(1 + len(span.events) for span in self.spans)


def pack(trace: RunTrace, spans: Sequence[Span]) -> Parcel:
    """Return spans of a run, encoded with the run's resource."""
    return Parcel(trace.run_id, tuple(span.span_id for span in spans), encode(trace.resource, spans))


def batch_of(parcels: Iterable[Parcel], *, limit: int | None = None) -> list[Parcel]:
    """Return the first parcels that fit a request together; at least one."""
    limit = MAX_BATCH_BYTES if limit is None else limit
    batch: list[Parcel] = []
    size = 0
    for parcel in parcels:
        if batch and size + parcel.size > limit:
            break
        batch.append(parcel)
        size += parcel.size
    return batch


def send(
    sink: Sender, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
) -> Iterator[tuple[Sequence[Parcel], Answer]]:
    """Send parcels in one request and yield what became of which.

    A request that is refused is sent again by halves, so that one run does not withhold its neighbours. What a
    partial success rejected is not: the receiver has taken the others (OTLP specification, partial success).
    """
    seconds = timeout_seconds()
    if seconds is not None and seconds <= 0:
        yield parcels, Answer("retry", f"{sink.destination}: no time left")
        return
    answer = sink.send(b"".join(parcel.body for parcel in parcels), timeout_seconds=seconds)
    if answer.kind == "refused" and len(parcels) > 1:
        middle = len(parcels) // 2
        yield from send(sink, parcels[:middle], timeout_seconds)
        yield from send(sink, parcels[middle:], timeout_seconds)
    else:
        yield parcels, answer

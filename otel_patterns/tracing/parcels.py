"""Encoded spans of runs on their way, and how a request that is refused is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .otlp import Answer, encode
from .sink import Sink
from .trace import RunTrace, Span

# Below the collector's default limit of 4 MiB for gRPC, which a receiver behind it may have.
MAX_BATCH_BYTES: Final = 3 * 1024 * 1024


@dataclass(frozen=True)
class Parcel:
    """Encoded spans of one run."""

    run_id: str
    span_ids: tuple[str, ...]
    body: bytes


def pack(trace: RunTrace, spans: Sequence[Span]) -> Parcel:
    """Return spans of a run, encoded with the run's resource."""
    return Parcel(trace.run_id, tuple(span.span_id for span in spans), encode(trace.resource, spans))


def batch_of(parcels: Iterable[Parcel], *, limit: int | None = None) -> list[Parcel]:
    """Return the first parcels that fit a request together; at least one."""
    limit = MAX_BATCH_BYTES if limit is None else limit
    batch: list[Parcel] = []
    size = 0
    for parcel in parcels:
        if batch and size + len(parcel.body) > limit:
            break
        batch.append(parcel)
        size += len(parcel.body)
    return batch


def send(
    sink: Sink, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
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

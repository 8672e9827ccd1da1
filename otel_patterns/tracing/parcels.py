"""Spans of runs on their way, and how a request that is refused is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import msgspec

from ..model.ids import ulid_unix_nano
from .answers import Answer
from .trace import EncodedRun, EncodedSpan, Span

# Below the collector's default limit of 4 MiB for gRPC, which a receiver behind it may have.
MAX_BATCH_BYTES: Final = 3 * 1024 * 1024
# A receiver that refuses so many spans one by one, and takes none, does not mean the spans.
MAX_REFUSALS: Final = 8
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


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """Spans of one run: encoded in `body` for a sink that sends bytes, plain in `spans` for one that plays them.

    Attributes:
        run_id: The run.
        span_ids: Its spans.
        body: An ExportTraceServiceRequest with them.
        spans: The spans themselves.
        completes: Once these are settled, all spans are that the run will ever have; known of runs with a ULID alone.
    """

    run_id: str
    span_ids: tuple[str, ...]
    body: bytes = b""
    spans: tuple[Span, ...] = ()
    completes: bool = False

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits; of plain spans an estimate."""
        return len(self.body) or _PLAIN_BYTES * sum(1 + len(span.events) for span in self.spans)


def pack(run: EncodedRun, spans: Sequence[EncodedSpan], *, are_last: bool = False) -> Parcel:
    """Return spans of a run with the run's resource.

    Args:
        run: The run.
        spans: Some of its spans.
        are_last: All others of the run are settled.
    """
    # Loaded already: it has made the run.
    from .otlp import join_request  # noqa: PLC0415

    completes = run.is_whole and (are_last or len(spans) == 1 + len(run.stages))
    # Other ids may come again, for another run: only its spans tell what is settled of it.
    completes = completes and ulid_unix_nano(run.run_id) is not None
    body = join_request(run.resource, [span.data for span in spans])
    return Parcel(run.run_id, tuple([span.span_id for span in spans]), body, completes=completes)


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

    A request whose content is refused is sent again by halves, down to the one span, so that it does not withhold its
    neighbours. What a partial success rejected is not: the receiver has taken the others (OTLP specification, partial
    success). After an answer that says nothing about the content, nothing more is sent. Nor is after a number of
    refusals when nothing was taken: a receiver that refuses whatever it gets is no reason to give up spans.
    """
    waiting: list[Sequence[Parcel]] = [parcels]
    refused: list[tuple[Sequence[Parcel], Answer]] = []
    is_any_taken = False
    while waiting:
        part = waiting.pop()
        answer = _try(sink, part, timeout_seconds())
        if answer.is_of_content:
            if halves := _halves(part):
                waiting += halves
                continue
            refused.append((part, answer))
            if is_any_taken or len(refused) <= MAX_REFUSALS:
                continue
            part = [parcel for each, _ in refused for parcel in each]
            answer = Answer("misconfigured", f"refuses whatever it gets: {answer.message}")
            refused = []
        if answer.kind in ("retry", "misconfigured"):
            yield from refused
            yield [*part, *(parcel for each in reversed(waiting) for parcel in each)], answer
            return
        is_any_taken = is_any_taken or answer.kind == "acknowledged"
        yield part, answer
    yield from refused


def _try(sink: Sender, parcels: Sequence[Parcel], seconds: float | None) -> Answer:
    if seconds is not None and seconds <= 0:
        return Answer("retry", "no time left")
    return sink.send(b"".join(parcel.body for parcel in parcels), timeout_seconds=seconds)


def _halves(parcels: Sequence[Parcel]) -> list[Sequence[Parcel]]:
    """Return the second and the first half of parcels, those of the spans of a single one; none of a single span."""
    if len(parcels) == 1:
        (parcel,) = parcels
        if len(parcel.span_ids) == 1:
            return []
        from .otlp import single_spans  # noqa: PLC0415  # rare

        parcels = [Parcel(parcel.run_id, (span_id,), body) for span_id, body in single_spans(parcel.body)]
    middle = len(parcels) // 2
    return [parcels[middle:], parcels[:middle]]

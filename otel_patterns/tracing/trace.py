"""The trace of a run as plain frozen values: no SDK type, no clock, nothing that is not in the run's events."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import msgspec

AttributeValue = str | bool | int | float | tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...]
Attributes = tuple[tuple[str, AttributeValue], ...]


class SpanKind(IntEnum):
    """Kinds of span, with the numbers of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


# Structs of msgspec: a run has a dozen of these, and a named tuple of so many fields takes five times as long to make.
# They hold no cycles, so the garbage collector need not look at them.


class SpanEvent(msgspec.Struct, frozen=True, gc=False):
    """A span event: the copy of a pattern event on a span, or an exception.

    Attributes:
        name: The event type, `exception`, or what user code called it.
        time_unix_nano: When it happened, in nanoseconds since 1970.
        attributes: Pairs of key and value.
    """

    name: str
    time_unix_nano: int
    attributes: Attributes


class SpanLink(msgspec.Struct, frozen=True, gc=False):
    """A link to the caller's span; ids in hex."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: Attributes = ()


class Span(msgspec.Struct, frozen=True, gc=False):
    """A finished span. Ids are lower-case hex, times nanoseconds since 1970.

    Attributes:
        name: `<operation_kind> <pattern_id>` of a run, `<stage> <pattern_id>` of a stage.
        trace_id: 32 digits.
        span_id: 16 digits.
        parent_span_id: 16 digits; empty for a root.
        parent_is_remote: Whether the parent is in another process.
        trace_state: As in the header `tracestate`.
        kind: `INTERNAL`, `SERVER` or `CLIENT`, with the numbers of OTLP.
        start_unix_nano: When it began.
        end_unix_nano: When it ended, never before it began.
        attributes: Pairs of key and value.
        events: Its span events, in order.
        links: Links to the caller's span.
        failed: Whether its status is ERROR; else it is UNSET.
        status_description: Why it failed; empty unless it did.
        closing_event_id: The event that made the span final.
    """

    name: str
    trace_id: str
    span_id: str
    parent_span_id: str
    parent_is_remote: bool
    trace_state: str
    kind: SpanKind
    start_unix_nano: int
    end_unix_nano: int
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    links: tuple[SpanLink, ...]
    failed: bool
    status_description: str
    closing_event_id: str


class RunTrace(msgspec.Struct, frozen=True, gc=False):
    """What a run's prefix projects to.

    Attributes:
        run_id: The run.
        job_id: Its job, from the first event in journal order.
        trace_id: 32 hex digits.
        resource: Attributes of the resource that wrote the run's first event.
        sampled: What the sampler decided when the run began.
        native: A backend has the run's spans by another way: its program exported them, or an event was imported
            from a trace. It is never sent.
        is_whole: Whether it has all spans that the run will ever have.
        root: The run's span; None until the run has ended.
        stages: Spans of the stages that have ended, in the order of their ends.
        marker: The `run started` span of a run that has not ended; None afterwards.
    """

    run_id: str
    job_id: str
    trace_id: str
    resource: Attributes
    sampled: bool
    native: bool
    is_whole: bool
    root: Span | None
    stages: tuple[Span, ...]
    marker: Span | None

    @property
    def spans(self) -> Iterator[Span]:
        """Every span there is to send: the root first, then stages, or the marker before its stages."""
        if self.root is not None:
            yield self.root
        if self.marker is not None:
            yield self.marker
        yield from self.stages


class EncodedSpan(msgspec.Struct, frozen=True, gc=False):
    """A finished span as OTLP sends it.

    Attributes:
        span_id: 16 hex digits.
        name: Its name.
        data: The `Span` of OTLP, as protobuf bytes.
    """

    span_id: str
    name: str
    data: bytes


class EncodedRun(msgspec.Struct, frozen=True, gc=False):
    """A `RunTrace` as OTLP sends it: its parts mean the same, with resource and spans as protobuf bytes."""

    run_id: str
    resource: bytes
    sampled: bool
    native: bool
    is_whole: bool
    root: EncodedSpan | None
    stages: tuple[EncodedSpan, ...]
    marker: EncodedSpan | None

    @property
    def spans(self) -> list[EncodedSpan]:
        """Every span there is to send, in the order of `RunTrace.spans`."""
        return [*filter(None, (self.root, self.marker)), *self.stages]

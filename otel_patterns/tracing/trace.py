"""The trace of a run as plain frozen values: no SDK type, no clock, nothing that is not in the run's events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

AttributeValue = str | bool | int | float | tuple[str, ...] | tuple[bool, ...] | tuple[int, ...] | tuple[float, ...]
Attributes = tuple[tuple[str, AttributeValue], ...]


class SpanKind(IntEnum):
    """Kinds of span, with the numbers of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


@dataclass(frozen=True)
class SpanEvent:
    """A span event: the copy of a pattern event on a span, or an exception."""

    name: str
    time_unix_nano: int
    attributes: Attributes


@dataclass(frozen=True)
class SpanLink:
    """A link to the caller's span; ids in hex."""

    trace_id: str
    span_id: str
    trace_state: str
    attributes: Attributes = ()


@dataclass(frozen=True)
class Span:
    """A finished span. Ids are lower-case hex, times nanoseconds since 1970, `parent_span_id` is empty for a root.

    `closing_event_id` is the event that made the span final; `status_description` is set only when `failed`.
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


@dataclass(frozen=True)
class RunTrace:
    """What a run's prefix projects to.

    Attributes:
        run_id: The run.
        job_id: Its job, from the first event in journal order.
        trace_id: 32 hex digits.
        resource: Attributes of the resource that wrote the run's first event.
        sampled: What the sampler decided when the run began.
        native: The run's spans were exported by the program itself; it is never sent.
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

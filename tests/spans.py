"""Ended spans with fixed ids and times, as an SDK hands them to a processor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags
from opentelemetry.trace.span import TraceState

from otel_patterns.testing import START_UNIX_NANO

SPAN_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
# The trace id as a ULID.
SPAN_ULID = "2BZ4QKAXXK9PKA7KMJKM70WHSP"
SECOND = 1_000_000_000


def ended_span(
    *events: tuple[str, Mapping[str, Any]],
    name: str = "nightly scan",
    attributes: Mapping[str, Any] | None = None,
    scope: str = "app",
    sampled: bool = True,
    trace_state: Iterable[tuple[str, str]] = (),
    span_id: str = SPAN_ID,
) -> ReadableSpan:
    """Return a span whose events come a second apart, the first one a second after its start."""
    return ReadableSpan(
        name,
        context=SpanContext(
            int(SPAN_TRACE_ID, 16),
            int(span_id, 16),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT),
            trace_state=TraceState(list(trace_state)),
        ),
        resource=Resource({"service.name": "scanner"}),
        attributes=attributes,
        events=[
            Event(event_name, given, timestamp=START_UNIX_NANO + number * SECOND)
            for number, (event_name, given) in enumerate(events, 1)
        ],
        start_time=START_UNIX_NANO,
        end_time=START_UNIX_NANO + 60 * SECOND,
        instrumentation_scope=InstrumentationScope(scope),
    )

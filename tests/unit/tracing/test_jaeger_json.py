"""Jaeger's own JSON, which its UI saves."""

from __future__ import annotations

from typing import Any

import pytest

from otel_patterns import InvalidTraceError
from otel_patterns.tracing.decode import read_trace
from otel_patterns.tracing.trace import SpanLink


def tag(key: str, value: object, kind: str = "string") -> dict[str, Any]:
    """Return a tag as Jaeger writes it."""
    return {"key": key, "type": kind, "value": value}


def document(**changes: Any) -> dict[str, Any]:
    """Return a saved trace of one span with members of it changed."""
    span = {
        "traceID": "1" * 32,
        "spanID": "2" * 16,
        "operationName": "scan",
        "references": [
            {"refType": "CHILD_OF", "traceID": "1" * 32, "spanID": "3"},
            {"refType": "FOLLOWS_FROM", "traceID": "4" * 32, "spanID": "5" * 16},
        ],
        "startTime": 1_000_001,
        "duration": 5,
        "tags": [
            tag("a", "text"),
            tag("b", value=True, kind="bool"),
            tag("c", 1, "int64"),
            tag("d", "9223372036854775807", "int64"),
            tag("e", 2, "float64"),
            tag("span.kind", "internal"),
            tag("otel.scope.name", "otel_patterns"),
            tag("w3c.tracestate", "x=y"),
            tag("error", value=True, kind="bool"),
            tag("otel.status_code", "ERROR"),
        ],
        "logs": [{"timestamp": 1_000_002, "fields": [tag("event", "note"), tag("n", 1, "int64")]}],
        "processID": "p1",
        "warnings": None,
        **changes,
    }
    processes = {"p1": {"serviceName": "engine", "tags": [tag("host.name", "h")]}}
    return {"data": [{"traceID": "1" * 32, "spans": [span], "processes": processes}], "total": 0, "errors": None}


def test_span_of_jaeger_is_read_with_all_its_parts() -> None:
    """Tags have their types, what Jaeger makes tags of is where it belongs, and times are nanoseconds."""
    (span,) = read_trace(document()).spans
    assert (span.trace_id, span.span_id, span.parent_span_id) == ("1" * 32, "2" * 16, "3".rjust(16, "0"))
    assert (span.name, span.is_internal, span.trace_state) == ("scan", True, "x=y")
    assert (span.start_unix_nano, span.end_unix_nano) == (1_000_001_000, 1_000_006_000)
    assert repr(span.attributes) == "{'a': 'text', 'b': True, 'c': 1, 'd': 9223372036854775807, 'e': 2.0}"
    assert span.resource == {"service.name": "engine", "host.name": "h"}
    assert span.links == (SpanLink("4" * 32, "5" * 16, ""),)
    assert [(event.name, event.time_unix_nano, event.attributes) for event in span.events] == [
        ("note", 1_000_002_000, {"n": 1})
    ]


def test_span_of_jaeger_without_references_and_process_is_read() -> None:
    """A root has no reference, and a process may be missing."""
    (span,) = read_trace(document(references=None, processID="p9")).spans
    assert (span.parent_span_id, span.links, span.resource) == ("", (), {})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"startTime": "soon"}, "data.0.spans.0.startTime"),
        ({"tags": [tag("a", 1)]}, "data.0.spans.0.tags.0.value"),
        ({"tags": [tag("a", "x", "int64")]}, "data.0.spans.0.tags.0.value"),
        ({"logs": 1}, "data.0.spans.0.logs"),
    ],
)
def test_span_that_jaeger_does_not_write_is_refused(changes: dict[str, Any], field: str) -> None:
    """The error names the place."""
    with pytest.raises(InvalidTraceError) as raised:
        read_trace(document(**changes))
    assert raised.value.field == field

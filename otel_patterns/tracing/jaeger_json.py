"""Reading Jaeger's own JSON, `{"data": [{"traceID": …, "spans": […], "processes": {…}}]}`.

Its UI saves it ("Trace JSON", "Download Results"), and `/api/traces` answers it. Times are cut to microseconds there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from .reading import Node, ReadEvent, ReadSpan, Status
from .trace import AttributeValue, SpanLink

_NANOSECONDS: Final = 1000
_CHILD_OF: Final = "CHILD_OF"
_KIND: Final = "span.kind"
_TRACE_STATE: Final = "w3c.tracestate"
_STATUS: Final = "otel.status_code"
_STATUSES: Final[Mapping[object, Status]] = {"OK": "OK", "ERROR": "ERROR"}
# What Jaeger makes tags of, besides those that begin with `otel.`; none of them was an attribute.
_MADE: Final = frozenset({_KIND, _TRACE_STATE, "error", "internal.span.format"})


def spans_of_jaeger(node: Node) -> Iterator[ReadSpan]:
    """Yield the spans of a document.

    Raises:
        InvalidTraceError: A part of it is not what Jaeger writes.
    """
    for trace in node.items("data"):
        processes = trace.get("processes")
        for span in trace.items("spans"):
            yield _span(span, processes.get(span.text("processID")))


def _span(node: Node, process: Node) -> ReadSpan:
    tags = _tags(node, "tags")
    resource = {} if process.value is None else {"service.name": process.text("serviceName"), **_tags(process, "tags")}
    references = [(reference.text("refType"), reference) for reference in node.items("references")]
    parents = [reference.id("spanID", 8) for kind, reference in references if kind == _CHILD_OF]
    start = node.natural("startTime") * _NANOSECONDS
    return ReadSpan(
        trace_id=node.id("traceID", 16),
        span_id=node.id("spanID", 8),
        parent_span_id=parents[0] if parents else "",
        trace_state=str(tags.get(_TRACE_STATE, "")),
        name=node.text("operationName"),
        is_internal=tags.get(_KIND) == "internal",
        start_unix_nano=start,
        end_unix_nano=start + node.natural("duration") * _NANOSECONDS,
        attributes={key: tag for key, tag in tags.items() if key not in _MADE and not key.startswith("otel.")},
        events=tuple(_event(log) for log in node.items("logs")),
        links=tuple(
            SpanLink(reference.id("traceID", 16), reference.id("spanID", 8), "")
            for kind, reference in references
            if kind != _CHILD_OF
        ),
        resource=resource,
        status=_STATUSES.get(tags.get(_STATUS), "UNSET"),
    )


def _event(node: Node) -> ReadEvent:
    fields = _tags(node, "fields")
    name = str(fields.pop("event", ""))
    return ReadEvent(name, node.natural("timestamp") * _NANOSECONDS, fields)


def _tags(node: Node, key: str) -> dict[str, AttributeValue]:
    return {tag.text("key"): _value(tag) for tag in node.items(key)}


def _value(tag: Node) -> AttributeValue:
    kind, value = tag.text("type"), tag.get("value").value
    if kind == "int64":
        # Written as text beyond what a float can hold.
        return tag.integer("value")
    if kind == "float64" and isinstance(value, (int, float)):
        return float(value)
    return value if kind == "bool" and isinstance(value, bool) else tag.text("value")

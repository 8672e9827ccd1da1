"""Reading a trace in the forms in which people have one: OTLP as JSON or protobuf, and what Jaeger and Tempo answer.

| form | where it comes from |
|---|---|
| `{"resourceSpans": …}`, or one such object a line | OTLP as JSON, the collector's file exporter |
| `{"result": {"resourceSpans": …}}` | Jaeger's `/api/v3/traces/{id}` |
| `{"data": [{"spans": …, "processes": …}]}` | Jaeger's UI and `/api/traces/{id}`: `jaeger_json` |
| `{"trace": {"resourceSpans": …}}` | Tempo's `/api/v2/traces/{id}` |
| `{"batches": …}` | Tempo's `/api/traces/{id}` |
| protobuf | a request of OTLP |
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import shorten
from ..model.values import as_list
from .jaeger_json import spans_of_jaeger
from .reading import Node, ReadEvent, ReadSpan, Status
from .trace import AttributeValue, SpanLink

_SPANS: Final = ("resourceSpans", "batches")
_OTHER_SIGNALS: Final = frozenset({"resourceLogs", "resourceMetrics", "resourceProfiles"})
_INTERNAL: Final = (1, "SPAN_KIND_INTERNAL")
_STATUSES: Final[Mapping[Any, Status]] = {
    1: "OK",
    2: "ERROR",
    "STATUS_CODE_OK": "OK",
    "STATUS_CODE_ERROR": "ERROR",
}
_NO_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FIX: Final = "Pass OTLP as JSON or protobuf, not compressed, or what Jaeger or Tempo answers for a trace."


@dataclass
class ReadTrace:
    """The spans of a trace in the order of the file. `notes` is what the backend said about their completeness."""

    spans: list[ReadSpan] = field(default_factory=list[ReadSpan])
    notes: list[str] = field(default_factory=list[str])


def read_trace(trace: Mapping[str, Any] | str | bytes) -> ReadTrace:
    """Return the spans of a trace in any of the forms of this module.

    Raises:
        InvalidTraceError: It is none of them; the error names the place, the value, the rule and the fix.
    """
    read = ReadTrace()
    for document in _documents(trace):
        _read_document(document, read)
    return read


def _documents(trace: Mapping[str, Any] | str | bytes) -> Iterator[Node]:
    if isinstance(trace, Mapping):
        yield Node(dict(trace))
        return
    if isinstance(trace, str):
        yield from _documents_of_text(trace)
        return
    is_text = trace.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    # A newline is also how a request in protobuf begins, and the byte behind it may be any.
    if not is_text or (trace[:1] == b"\n" and _request_of(trace)):
        document = _request_of(trace)
        if not document:
            Node(trace).fail("it must be a trace", _FIX)
        yield Node(document)
        return
    try:
        text = trace.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        Node(trace[error.start : error.start + 8]).fail(f"it must be UTF-8: byte {error.start} is not", "Convert it.")
    yield from _documents_of_text(text)


def _request_of(data: bytes) -> dict[str, Any]:
    """Return a request in protobuf as OTLP's JSON, which is empty when there is no span in it."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415  # JSON needs no protobuf
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.trace.v1.trace_pb2 import TracesData  # noqa: PLC0415

    try:
        return MessageToDict(TracesData.FromString(data))
    except (DecodeError, UnicodeDecodeError):
        return {}


def _documents_of_text(text: str) -> Iterator[Node]:
    if not text.strip():
        Node(text).fail("it must be a trace, and it is empty", _FIX)
    try:
        value = _parse(text)
    except ValueError as whole:
        # A line ends at `\n` alone: U+2028 and its like may stand inside a string.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        if len(lines) == 1 or not _is_json(lines[0][1]):
            Node(shorten(text, 60)).fail(f"it must be JSON: {whole}", "Save the trace again.")
        yield from (_document_of_line(number, line) for number, line in lines)
        return
    items = as_list(value)
    if items is None:
        yield Node(value)
    for index, item in enumerate(items or ()):
        yield Node(item, f"/{index}")


def _document_of_line(number: int, line: str) -> Node:
    try:
        return Node(_parse(line), f"/line {number}")
    except ValueError as error:
        Node(shorten(line, 60), f"/line {number}").fail(f"it must be JSON: {error}", "Remove the line.")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _is_json(text: str) -> bool:
    try:
        return isinstance(_parse(text), dict)
    except ValueError:
        return False


def _read_document(node: Node, read: ReadTrace) -> None:
    document = node.object()
    if "data" in document:
        if document["data"] is None:
            Node(document.get("errors"), f"{node.pointer}/errors").fail("it must hold a trace", "Ask for one that is.")
        read.spans.extend(spans_of_jaeger(node))
        return
    if document.get("status") == "PARTIAL":
        read.notes.append(f"Tempo returned only a part of the trace: {node.text('message') or 'it does not say why'}")
    for wrapper in ("result", "trace"):
        if wrapper in document:
            # Of a trace that it does not have, Tempo gives an empty one.
            read.spans.extend(_spans(node.get(wrapper)))
            return
    if not document.keys() & {*_SPANS, *_OTHER_SIGNALS}:
        node.fail("it must have resourceSpans, batches, result, trace or data", _FIX)
    read.spans.extend(_spans(node))


def _spans(node: Node) -> Iterator[ReadSpan]:
    for group in node.items(*_SPANS):
        resource_node = group.get("resource")
        resource = {} if resource_node.value is None else _attributes(resource_node)
        for scope in group.items("scopeSpans", "instrumentationLibrarySpans"):
            for span in scope.items("spans"):
                yield _span(span, resource)


def _span(node: Node, resource: Mapping[str, AttributeValue]) -> ReadSpan:
    return ReadSpan(
        trace_id=node.id("traceId", 16),
        span_id=node.id("spanId", 8),
        parent_span_id=node.id("parentSpanId", 8),
        trace_state=node.text("traceState"),
        name=node.text("name"),
        is_internal=node.get("kind").value in _INTERNAL,
        start_unix_nano=node.natural("startTimeUnixNano"),
        end_unix_nano=node.natural("endTimeUnixNano"),
        attributes=_attributes(node),
        events=tuple(
            ReadEvent(
                event.text("name"),
                event.natural("timeUnixNano"),
                _attributes(event),
                event.natural("droppedAttributesCount"),
            )
            for event in node.items("events")
        ),
        links=tuple(
            SpanLink(link.id("traceId", 16), link.id("spanId", 8), link.text("traceState"))
            for link in node.items("links")
        ),
        resource=resource,
        dropped=node.natural("droppedAttributesCount") + node.natural("droppedEventsCount"),
        status=_status(node.get("status")),
    )


def _status(node: Node) -> Status:
    code = None if node.value is None else node.get("code").value
    return _STATUSES.get(code, "UNSET") if isinstance(code, (int, str)) else "UNSET"


def _attributes(node: Node) -> dict[str, AttributeValue]:
    pairs = ((pair.text("key"), _value(pair.get("value"))) for pair in node.items("attributes"))
    # What Jaeger's query has to say about a span is none of it.
    return {key: value for key, value in pairs if value is not None and not key.startswith("@jaeger@")}


def _value(node: Node) -> AttributeValue | None:
    """Return a value that a projection can have made; None for bytes, maps and arrays of several types."""
    kinds = {} if node.value is None else node.object()
    if "stringValue" in kinds:
        return node.text("stringValue")
    if "boolValue" in kinds:
        return kinds["boolValue"] is True
    if "intValue" in kinds:
        return node.integer("intValue")
    if "doubleValue" in kinds:
        return _double(node.get("doubleValue"))
    if "arrayValue" in kinds:
        array = node.get("arrayValue")
        values = [] if array.value is None else [_value(item) for item in array.items("values")]
        for kind in (str, bool, int, float):
            if all(type(value) is kind for value in values):
                return tuple(values)  # pyright: ignore[reportReturnType]  # one kind, checked
    return None


def _double(node: Node) -> float:
    value = _NO_NUMBERS.get(node.value, node.value) if isinstance(node.value, str) else node.value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        node.fail("it must be a number", 'Write digits, or "NaN" or "Infinity".')
    try:
        return float(value)
    except OverflowError:
        node.fail("it must be a number of 64 bits", "Write a smaller one.")

"""Spans as the back ends give them back, in one shape."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

AttributeValue: TypeAlias = "str | bool | int | float | bytes | list[AttributeValue] | dict[str, AttributeValue] | None"
Attributes: TypeAlias = dict[str, AttributeValue]
Json: TypeAlias = dict[str, Any]

SPAN_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS_CODES = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendEvent:
    """A span event."""

    name: str
    time_unix_nano: int
    attributes: Attributes = field(default_factory=dict[str, AttributeValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLink:
    """A span link."""

    trace_id: str
    span_id: str
    attributes: Attributes = field(default_factory=dict[str, AttributeValue])


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpan:
    """A span with ids in lower-case hex.

    Attributes:
        parent_span_id: Empty for a root span.
        kind: One of `SPAN_KINDS`.
        status_code: One of `STATUS_CODES`.
        events: In the order of the answer, which for Jaeger is not the order sent.
        resource: Attributes of the resource that the span came with.
    """

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    name: str
    kind: str
    start_unix_nano: int
    end_unix_nano: int
    attributes: Attributes = field(default_factory=dict[str, AttributeValue])
    events: list[BackendEvent] = field(default_factory=list[BackendEvent])
    links: list[BackendLink] = field(default_factory=list[BackendLink])
    status_code: str = "UNSET"
    status_message: str = ""
    resource: Attributes = field(default_factory=dict[str, AttributeValue])


def spans_from_otlp(resource_spans: list[Json]) -> list[BackendSpan]:
    """Return the spans of a decoded OTLP JSON list, in its order.

    Ids may be hex (as the OTLP specification says) or base64 (plain protobuf JSON, as Tempo writes), enumerations
    numbers or names.
    """
    return list(_iterate_otlp(resource_spans))


def spans_from_otlp_lines(text: str) -> list[BackendSpan]:
    """Return the spans of the collector's JSON lines, without other signals and without an unfinished last line."""
    complete, _, _ = text.rpartition("\n")
    documents: list[Json] = [json.loads(line) for line in complete.splitlines()]
    return [span for document in documents for span in spans_from_otlp(document.get("resourceSpans", []))]


def spans_from_jaeger_v1(traces: list[Json]) -> list[BackendSpan]:
    """Return the spans of the ``data`` list of Jaeger's v1 API, in its order.

    Times are cut to microseconds there. Tags that Jaeger makes of kind, status and scope are not in `attributes`.
    """
    return [_span_from_jaeger_v1(span, trace["processes"]) for trace in traces for span in trace["spans"]]


def hex_id(text: str, size: int) -> str:
    """Return an id of `size` bytes as lower-case hex.

    Base64 is known by its padding, which ids of 8 and 16 bytes always have. Tempo's search leaves out the leading zeros
    of hex.
    """
    if text.endswith("="):
        return base64.b64decode(text, validate=True).hex()
    return bytes.fromhex(text.rjust(2 * size, "0")).hex()


def attributes_from_otlp(pairs: list[Json]) -> Attributes:
    """Return a decoded list of OTLP key-values as a dictionary."""
    return {pair["key"]: _otlp_value(pair.get("value", {})) for pair in pairs}


def _iterate_otlp(resource_spans: list[Json]) -> Iterator[BackendSpan]:
    for group in resource_spans:
        resource = attributes_from_otlp(group.get("resource", {}).get("attributes", []))
        for scope in group.get("scopeSpans", []):
            for span in scope.get("spans", []):
                yield _span_from_otlp(span, resource)


def _span_from_otlp(span: Json, resource: Attributes) -> BackendSpan:
    parent = span.get("parentSpanId", "")
    status = span.get("status", {})
    return BackendSpan(
        trace_id=hex_id(span["traceId"], 16),
        span_id=hex_id(span["spanId"], 8),
        parent_span_id=hex_id(parent, 8) if parent else "",
        name=span.get("name", ""),
        kind=_otlp_enum(span.get("kind", 0), SPAN_KINDS, "SPAN_KIND_"),
        start_unix_nano=int(span.get("startTimeUnixNano", 0)),
        end_unix_nano=int(span.get("endTimeUnixNano", 0)),
        attributes=attributes_from_otlp(span.get("attributes", [])),
        events=[
            BackendEvent(
                name=event.get("name", ""),
                time_unix_nano=int(event.get("timeUnixNano", 0)),
                attributes=attributes_from_otlp(event.get("attributes", [])),
            )
            for event in span.get("events", [])
        ],
        links=[
            BackendLink(
                trace_id=hex_id(link["traceId"], 16),
                span_id=hex_id(link["spanId"], 8),
                attributes=attributes_from_otlp(link.get("attributes", [])),
            )
            for link in span.get("links", [])
        ],
        status_code=_otlp_enum(status.get("code", 0), STATUS_CODES, "STATUS_CODE_"),
        status_message=status.get("message", ""),
        resource=resource,
    )


def _otlp_enum(value: int | str, names: tuple[str, ...], prefix: str) -> str:
    return names[value] if isinstance(value, int) else value.removeprefix(prefix)


def _otlp_value(value: Json) -> AttributeValue:
    match value:
        case {"stringValue": text}:
            return str(text)
        case {"boolValue": flag}:
            return bool(flag)
        case {"intValue": number}:
            return int(number)
        case {"doubleValue": number}:
            # Whole numbers are written without a fraction.
            return float(number)
        case {"bytesValue": encoded}:
            return base64.b64decode(encoded, validate=True)
        case {"arrayValue": array}:
            return [_otlp_value(item) for item in array.get("values", [])]
        case {"kvlistValue": pairs}:
            return attributes_from_otlp(pairs.get("values", []))
        case _:
            return None


def _span_from_jaeger_v1(span: Json, processes: Json) -> BackendSpan:
    tags = _jaeger_v1_tags(span["tags"])
    kind = str(tags.pop("span.kind", "unspecified")).upper()
    status_code = str(tags.pop("otel.status_code", "UNSET"))
    status_message = str(tags.pop("otel.status_description", ""))
    if status_code == "ERROR":
        tags.pop("error", None)
    for made_up in ("otel.scope.name", "otel.scope.version"):
        tags.pop(made_up, None)
    references: list[Json] = span.get("references", [])
    parents = [reference["spanID"] for reference in references if reference["refType"] == "CHILD_OF"]
    process = processes[span["processID"]]
    return BackendSpan(
        trace_id=hex_id(span["traceID"], 16),
        span_id=hex_id(span["spanID"], 8),
        parent_span_id=hex_id(parents[0], 8) if parents else "",
        name=span["operationName"],
        kind=kind,
        start_unix_nano=span["startTime"] * 1000,
        end_unix_nano=(span["startTime"] + span["duration"]) * 1000,
        attributes=tags,
        events=[_event_from_jaeger_v1(log) for log in span["logs"]],
        links=[
            BackendLink(trace_id=hex_id(reference["traceID"], 16), span_id=hex_id(reference["spanID"], 8))
            for reference in references
            if reference["refType"] != "CHILD_OF"
        ],
        status_code=status_code,
        status_message=status_message,
        resource={"service.name": process["serviceName"], **_jaeger_v1_tags(process["tags"])},
    )


def _event_from_jaeger_v1(log: Json) -> BackendEvent:
    fields = _jaeger_v1_tags(log["fields"])
    name = str(fields.pop("event", ""))
    return BackendEvent(name=name, time_unix_nano=log["timestamp"] * 1000, attributes=fields)


def _jaeger_v1_tags(tags: list[Json]) -> Attributes:
    return {tag["key"]: _jaeger_v1_value(tag["type"], tag["value"]) for tag in tags}


def _jaeger_v1_value(kind: str, value: Any) -> AttributeValue:
    match kind:
        case "int64":
            # Written as text beyond what a float can hold.
            return int(value)
        case "float64":
            return float(value)
        case "binary":
            return base64.b64decode(value, validate=True)
        case _:
            return value

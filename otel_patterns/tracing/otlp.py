"""Encoding a trace as OTLP, and reading what the receiver answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from ..model import names

if TYPE_CHECKING:
    from .trace import Attributes, AttributeValue, Span

CONTENT_TYPE: Final = "application/x-protobuf"
# OTLP span flags: bit 8 says that bit 9 is meaningful, bit 9 that the parent is in another process.
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def encode(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest with these spans. The same values give the same bytes.

    Requests may be joined by joining their bytes: protobuf merges repeated fields. So a run's bytes are the same in
    whatever batch they travel.
    """
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(schema_url=names.SCHEMA_URL)
    group.resource.attributes.extend(_attributes(resource))
    scope = group.scope_spans.add(schema_url=names.SCHEMA_URL)
    scope.scope.name = names.SCOPE_NAME
    scope.scope.version = names.SCOPE_VERSION
    scope.spans.extend(_span(span) for span in spans)
    return request.SerializeToString(deterministic=True)


def _span(span: Span) -> trace_pb2.Span:
    message = trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        trace_state=span.trace_state,
        parent_span_id=bytes.fromhex(span.parent_span_id),
        flags=_HAS_IS_REMOTE | (_IS_REMOTE if span.parent_is_remote else 0),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.ValueType(span.kind.value),
        start_time_unix_nano=span.start_unix_nano,
        end_time_unix_nano=span.end_unix_nano,
        attributes=_attributes(span.attributes),
        events=[
            trace_pb2.Span.Event(
                name=event.name, time_unix_nano=event.time_unix_nano, attributes=_attributes(event.attributes)
            )
            for event in span.events
        ],
        links=[
            trace_pb2.Span.Link(
                trace_id=bytes.fromhex(link.trace_id),
                span_id=bytes.fromhex(link.span_id),
                trace_state=link.trace_state,
                attributes=_attributes(link.attributes),
            )
            for link in span.links
        ],
    )
    if span.failed:
        message.status.code = trace_pb2.Status.STATUS_CODE_ERROR
        message.status.message = span.status_description
    return message


def _attributes(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes]


def _value(value: AttributeValue) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_value(item) for item in value]))


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        kind: `acknowledged`: the receiver took every span. `rejected`: it took some and named how many it did not.
            `retry`: it could not be reached, or asked to come back. `misconfigured`: what answers there is no OTLP
            receiver, or it does not let us in. `refused`: it understood the request and does not want it.
        message: What it said, for people.
        rejected_spans: How many spans were rejected.
        retry_after_seconds: When to come back, if it said so.
    """

    kind: Literal["acknowledged", "rejected", "retry", "misconfigured", "refused"]
    message: str = ""
    rejected_spans: int = 0
    retry_after_seconds: float | None = None


_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_NOT_ALLOWED: Final = frozenset({401, 403, 404, 405, 407})
_REDIRECTS: Final = range(300, 400)
_SUCCESSES: Final = range(200, 300)


def read_answer(status: int, content_type: str, body: bytes, retry_after: str | None = None) -> Answer:
    """Return what an HTTP response means (OTLP specification, OTLP/HTTP response).

    Only a 2xx with a decodable body that rejects nothing is an acknowledgement: a redirect, a login page with
    status 200 and a partial success are reported as success by stock exporters, and the spans are gone.
    """
    if status in _SUCCESSES:
        return _read_success(status, content_type, body)
    if status in _RETRYABLE:
        return Answer("retry", f"HTTP {status}", retry_after_seconds=_seconds(retry_after))
    if status in _REDIRECTS:
        return Answer("misconfigured", f"HTTP {status}, a redirect: set the endpoint to where it leads")
    if status in _NOT_ALLOWED:
        return Answer("misconfigured", f"HTTP {status}: check the endpoint and OTEL_EXPORTER_OTLP_HEADERS")
    return Answer("refused", f"HTTP {status}")


def _read_success(status: int, content_type: str, body: bytes) -> Answer:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != CONTENT_TYPE and (body or media_type):
        return Answer("misconfigured", f"HTTP {status} with {media_type or 'no content type'}: no OTLP receiver")
    try:
        response = ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return Answer("misconfigured", f"HTTP {status} with a body that is no OTLP response")
    partial = response.partial_success
    if partial.rejected_spans:
        return Answer("rejected", partial.error_message, rejected_spans=partial.rejected_spans)
    return Answer("acknowledged", partial.error_message)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None

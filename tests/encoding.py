"""The slow twin of `otel_patterns.tracing.wire`: the same spans as objects of the protobuf library."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from otel_patterns.model import names
from otel_patterns.tracing.trace import Attributes, AttributeValue, Span


def encode_by_library(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest with these spans, serialized by the protobuf library."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(schema_url=names.SCHEMA_URL)
    group.resource.attributes.extend(_attributes(resource))
    scope = group.scope_spans.add(schema_url=names.SCHEMA_URL)
    scope.scope.name = names.SCOPE_NAME
    scope.scope.version = names.SCOPE_VERSION
    scope.spans.extend(_span(span) for span in spans)
    return request.SerializeToString(deterministic=True)


def _span(span: Span) -> trace_pb2.Span:
    flags = trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    if span.parent_is_remote:
        flags |= trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    message = trace_pb2.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        trace_state=span.trace_state,
        parent_span_id=bytes.fromhex(span.parent_span_id),
        flags=flags,
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

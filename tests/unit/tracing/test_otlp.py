"""Encoding."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project
from tests.streams import TRACE_ID, failed_run, semgrep_run


def test_encode_a_run_gives_its_spans_with_resource_scope_and_flags() -> None:
    """A request holds one resource with the recorded attributes, our scope, and the spans with ids and status."""
    trace = project(failed_run(exit_code=3, error_type="tool_error", error_message="bad"))
    assert trace is not None
    request = ExportTraceServiceRequest.FromString(encode(trace.resource, trace.spans))
    (group,) = request.resource_spans
    assert {item.key: item.value.string_value for item in group.resource.attributes}["service.name"] == "engine"
    (scope,) = group.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("otel_patterns", "1")
    root, stage = scope.spans
    assert root.trace_id.hex() == TRACE_ID
    assert (root.flags, root.kind, stage.parent_span_id) == (0x100, trace_pb2.Span.SPAN_KIND_SERVER, root.span_id)
    assert (root.status.code, root.status.message) == (trace_pb2.Status.STATUS_CODE_ERROR, "bad")
    assert not root.dropped_events_count


def test_encode_success_leaves_the_status_unset() -> None:
    """On success the status stays UNSET, as the conventions demand."""
    trace = project(semgrep_run())
    assert trace is not None
    spans = ExportTraceServiceRequest.FromString(encode(trace.resource, trace.spans)).resource_spans[0].scope_spans
    assert {span.status.code for span in spans[0].spans} == {trace_pb2.Status.STATUS_CODE_UNSET}


def test_encode_joined_bytes_are_one_request_of_both() -> None:
    """Requests join by joining their bytes, so a run's bytes do not depend on its batch."""
    trace = project(semgrep_run())
    assert trace is not None
    one = encode(trace.resource, trace.spans)
    joined = ExportTraceServiceRequest.FromString(one + one)
    assert len(joined.resource_spans) == 2
    assert joined.resource_spans[0] == joined.resource_spans[1]

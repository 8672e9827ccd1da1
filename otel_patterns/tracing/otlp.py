"""Encoding a trace as OTLP, and taking a request apart into its spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .wire import encode_request

if TYPE_CHECKING:
    from .trace import Attributes, Span


def encode(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest with these spans. The same values give the same bytes.

    Requests may be joined by joining their bytes: protobuf merges repeated fields. So a run's bytes are the same in
    whatever batch they travel.
    """
    return encode_request(resource, spans)


def single_spans(request: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each span of an encoded request: its id, and a request with this span alone, all other bytes the same."""
    # Rare, so the library may take its time; it is not loaded before.
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    for group in ExportTraceServiceRequest.FromString(request).resource_spans:
        for scope in group.scope_spans:
            for span in scope.spans:
                alone = ExportTraceServiceRequest()
                resource_spans = alone.resource_spans.add(resource=group.resource, schema_url=group.schema_url)
                resource_spans.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url, spans=[span])
                yield span.span_id.hex(), alone.SerializeToString(deterministic=True)

"""A run as OTLP: its spans encoded, and a request taken apart into its spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

from ..compiled import compiled
from . import wire
from .projection import project
from .trace import EncodedRun, EncodedSpan
from .wire import encode_resource, encode_span

if TYPE_CHECKING:
    from ..model.record import Event
    from .trace import Attributes, RunTrace, Span


def encode(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest with these spans. The same values give the same bytes.

    Requests may be joined by joining their bytes: protobuf merges repeated fields. So a run's bytes are the same in
    whatever batch they travel.

    Raises:
        ValueError: A text has no UTF-8 form, an integer has more than 64 bits, or an id is not hex.
    """
    return wire.join_request(encode_resource(resource), map(encode_span, spans))


def encode_trace(trace: RunTrace) -> EncodedRun:
    """Return a trace with its spans encoded.

    Raises:
        ValueError: As `encode`.
    """
    root, marker = trace.root, trace.marker
    return EncodedRun(
        run_id=trace.run_id,
        resource=encode_resource(trace.resource),
        sampled=trace.sampled,
        native=trace.native,
        is_whole=trace.is_whole,
        root=None if root is None else _encoded(root),
        stages=tuple([_encoded(span) for span in trace.stages]),
        marker=None if marker is None else _encoded(marker),
    )


def _encoded(span: Span) -> EncodedSpan:
    return EncodedSpan(span.span_id, span.name, encode_span(span))


def encode_run_plainly(events: Iterable[Event], *, closed_by: AbstractSet[str] | None = None) -> EncodedRun | None:
    """Return `project` of a run's events with its spans encoded; None when there is no event.

    `encode_run` is this one, or where the package is compiled its twin, which takes a third of the time.

    Args:
        events: The run's events in journal order.
        closed_by: Make only the spans that these events made final; None makes all.

    Raises:
        ValueError: As `encode`.
    """
    trace = project(events, closed_by=closed_by)
    return None if trace is None else encode_trace(trace)


encode_run: Final = compiled("tracing._otlp", "encode_run", encode_run_plainly)
join_request: Final = compiled("tracing._otlp", "join_request", wire.join_request)


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

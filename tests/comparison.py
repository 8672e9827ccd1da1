"""Two tellings of one trace, compared span by span and field by field: as it was played, and as OTLP sends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan

from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.trace import RunTrace

# What the stock encoder tells about a link depends on its version, and an OtlpSink says nothing.
_UNTOLD_OF_LINKS: Final = ("flags", "trace_state", "dropped_attributes_count")
FIELDS: Final[Mapping[str, Callable[[Span], object]]] = {
    "ids": lambda span: (span.trace_id.hex(), span.span_id.hex()),
    "parent": lambda span: (span.parent_span_id.hex(), span.flags),
    "state": lambda span: span.trace_state,
    "name": lambda span: span.name,
    "kind": lambda span: span.kind,
    "times": lambda span: (span.start_time_unix_nano, span.end_time_unix_nano),
    "attributes": lambda span: [*span.attributes, span.dropped_attributes_count],
    "events": lambda span: [*span.events, span.dropped_events_count],
    "links": lambda span: [*map(_link, span.links), span.dropped_links_count],
    "status": lambda span: (span.status.code, span.status.message),
}


def _link(link: Span.Link) -> bytes:
    told = Span.Link()
    told.CopyFrom(link)
    for field in _UNTOLD_OF_LINKS:
        told.ClearField(field)
    return told.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class Row:
    """What a span of a run became; `differing` are the fields that are not the same."""

    name: str
    span_id: str
    counts: tuple[int, int, int]
    differing: tuple[str, ...]


def sent_spans(traces: Iterable[RunTrace]) -> list[Span]:
    """Return the spans as an OtlpSink sends them, decoded."""
    return [span for trace in traces for span in decoded(encode(trace.resource, trace.spans))]


def decoded(body: bytes) -> list[Span]:
    """Return the spans of an OTLP request."""
    groups = ExportTraceServiceRequest.FromString(body).resource_spans
    return [span for group in groups for scope in group.scope_spans for span in scope.spans]


def exported_spans(spans: Sequence[ReadableSpan]) -> list[Span]:
    """Return spans as the stock OTLP exporter sends them."""
    return decoded(encode_spans(spans).SerializeToString())


def compare(sent: Iterable[Span], played: Iterable[Span], *, ignored_prefix: str | None = None) -> list[Row]:
    """Return a row for each span that either side has.

    Args:
        sent: The spans of OTLP.
        played: The spans that the application's processors saw; one that came twice has to be the same twice.
        ignored_prefix: Attributes that begin so are not compared: the application's processors added them.
    """
    others: dict[bytes, list[Span]] = {}
    for span in played:
        others.setdefault(span.span_id, []).append(_without(span, ignored_prefix))
    rows: list[Row] = []
    for span in sent:
        found = others.pop(span.span_id, [])
        differing = {
            field for other in found for field, value_of in FIELDS.items() if value_of(other) != value_of(span)
        }
        rows.append(_row(span, tuple(sorted(differing)) if found else ("not played",)))
    rows += [_row(span, ("not sent",)) for spans in others.values() for span in spans]
    return rows


def _row(span: Span, differing: tuple[str, ...]) -> Row:
    return Row(span.name, span.span_id.hex(), (len(span.attributes), len(span.events), len(span.links)), differing)


def _without(span: Span, prefix: str | None) -> Span:
    kept = Span()
    kept.CopyFrom(span)
    if prefix is not None:
        del kept.attributes[:]
        kept.attributes.extend(item for item in span.attributes if not item.key.startswith(prefix))
    return kept


def differences(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of spans that are not the same."""
    return [row for row in rows if row.differing]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text: a line a span, and what differs."""
    cells = [("span", "span id", "attributes", "events", "links", "compared with OTLP")]
    cells += [
        (
            row.name,
            row.span_id,
            *map(str, row.counts),
            f"differs: {', '.join(row.differing)}" if row.differing else "same",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([*lines, f"fields compared: {', '.join(FIELDS)}"])

"""A request of OTLP in the forms in which files and backends have it."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project

Json = dict[str, Any]


def request_of(*runs: list[PatternEvent]) -> bytes:
    """Return the request that a replay of these runs would send."""
    traces = [trace for run in runs if (trace := project(run)) is not None]
    return b"".join(encode(trace.resource, trace.spans) for trace in traces)


def with_base64_ids(request: bytes) -> Json:
    """Return a request as protobuf's own JSON: ids in base64, enumerations by name. So does Tempo."""
    return MessageToDict(ExportTraceServiceRequest.FromString(request))


def with_hex_ids(request: bytes) -> Json:
    """Return a request as OTLP's JSON: ids in hex."""
    document = with_base64_ids(request)
    for span in spans_of(document):
        for part in (span, *span.get("links", [])):
            for key in ("traceId", "spanId", "parentSpanId"):
                if key in part:
                    part[key] = base64.b64decode(part[key]).hex()
    return document


def spans_of(document: Json) -> list[Json]:
    """Return the spans of a document, to be read or changed."""
    return [
        span for group in document.get("resourceSpans", []) for scope in group["scopeSpans"] for span in scope["spans"]
    ]


def as_lines(document: Json) -> str:
    """Return a document as the collector's file exporter writes: a line for each batch, here for each span."""
    lines: list[str] = []
    for group in document.get("resourceSpans", []):
        for scope in group["scopeSpans"]:
            for span in scope["spans"]:
                one = {**group, "scopeSpans": [{**scope, "spans": [span]}]}
                lines.append(json.dumps({"resourceSpans": [one]}) + "\n")
    return "".join(lines)

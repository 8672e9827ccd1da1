"""A program that only speaks OpenTelemetry: its runs are span events, and the journal has them all the same.

Everything below `set_up` is plain OpenTelemetry. Three runs go to `state/events/pattern_events.jsonl`; with
`OTEL_EXPORTER_OTLP_ENDPOINT` set the same spans are exported by OTLP over HTTP too. Look with `otel-patterns runs`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode

from otel_patterns import JsonlSpanProcessor

tracer = trace.get_tracer("otel_native")


def set_up() -> TracerProvider:
    """Return the provider of the program: its spans go to the journal, and to a collector when one is named."""
    provider = TracerProvider()
    provider.add_span_processor(JsonlSpanProcessor())
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider


def run_step(step_id: str, pattern_id: str, operation_kind: str, work: Callable[[], dict[str, int]]) -> str:
    """Run one step as a span of its own trace, and return the trace id. Its pattern events make it a run."""
    attributes = {
        "pattern.id": pattern_id,
        "pattern.job.id": "JOB-NATIVE",
        "pattern.step.id": step_id,
        "pattern.operation_kind": operation_kind,
    }
    with tracer.start_as_current_span(f"{operation_kind} {pattern_id}", attributes=attributes) as span:
        began = time.perf_counter()
        span.add_event("pattern.execution.started", {"executor": "python", "command": work.__name__})
        try:
            found = work()
        except ArithmeticError as error:
            span.set_status(StatusCode.ERROR, str(error))
            span.add_event(
                "pattern.execution.failed",
                {"exit_code": 1, "error_type": type(error).__name__, "error_message": str(error)},
            )
        else:
            details: dict[str, object] = {
                "exit_code": 0,
                "duration_seconds": time.perf_counter() - began,
                "result_summary": found,
                "artifacts": [],
            }
            # Details that are not flat go as JSON into one attribute.
            span.add_event("pattern.execution.completed", {"pattern.details": json.dumps(details)})
        return f"{span.get_span_context().trace_id:032x}"


def count_primes() -> dict[str, int]:
    """Return how many primes there are below a thousand."""
    return {"primes": sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, 1000))}


def sum_squares() -> dict[str, int]:
    """Return a sum."""
    return {"sum": sum(n * n for n in range(100))}


def divide() -> dict[str, int]:
    """Fail as a step may."""
    return {"quotient": 1 // len("")}


def main() -> None:
    """Make three runs, of which one fails."""
    provider = set_up()
    for step_id, pattern_id, operation_kind, work in (
        ("STEP-1", "PAT-PRIMES-001", "count", count_primes),
        ("STEP-2", "PAT-SQUARES-001", "sum", sum_squares),
        ("STEP-3", "PAT-QUOTIENT-001", "divide", divide),
    ):
        print(run_step(step_id, pattern_id, operation_kind, work))
    provider.shutdown()


if __name__ == "__main__":
    main()

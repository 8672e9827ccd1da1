"""Runs about to begin, and what is asked of them."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace

from otel_patterns import PatternEventEmitter, pattern_run
from otel_patterns.runner import Run
from otel_patterns.tracing.trace import RunTrace, Span
from tests.streams import JOB_ID, PATTERN_ID


def start(emitter: PatternEventEmitter, **more: Any) -> Run:
    """Return a run about to begin."""
    arguments: dict[str, Any] = {"job_id": JOB_ID, "operation_kind": "demo", **more}
    return pattern_run(PATTERN_ID, emitter=emitter, **arguments)


def root_of(run_trace: RunTrace) -> Span:
    """Return the root of a run that has ended."""
    assert run_trace.root is not None
    return run_trace.root


def ids_of_current() -> tuple[str, str]:
    """Return trace and span id of the current span, in hex."""
    current = trace.get_current_span().get_span_context()
    return f"{current.trace_id:032x}", f"{current.span_id:016x}"

"""Programs that only speak OpenTelemetry: their traces and their journal tell the same, and what cannot be promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import AlwaysRecordSampler, ParentBased, TraceIdRatioBased

from otel_patterns import JsonlSpanProcessor, PatternEvent, PatternEventEmitter, PatternRunAggregator, fold
from otel_patterns.model import ids, names
from otel_patterns.model.events import check_strict
from tests.backends.polling import wait_for
from tests.backends.servers import CollectorServer
from tests.backends.spans import BackendSpan
from tests.integration.test_examples import run_example
from tests.schemas import STRICT_EVENT

JOB_ID = "JOB-NATIVE-1"
PATTERN_ID = "PAT-SCAN-001"
COMPLETED = {
    "exit_code": 0,
    "duration_seconds": 0.5,
    "result_summary": {"findings": 3, "by_severity": {"high": 1}},
    "artifacts": ["report.json"],
}


def command_line(journal: Path, *argv: str) -> str:
    """Return what a command prints about a journal."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-m", "otel_patterns", argv[0], "--journal", str(journal), *argv[1:]],
        env={**inherited, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout + done.stderr


def spans_of(collector: CollectorServer, trace_id: str) -> list[BackendSpan]:
    """Return the spans of a trace as soon as the collector has any."""
    return wait_for(lambda: [span for span in collector.exported_spans() if span.trace_id == trace_id])


def test_native_run_is_the_same_in_trace_journal_fold_and_command_line(
    collector: CollectorServer, tmp_path: Path
) -> None:
    """Beside a stock exporter the processor keeps the journal: both have the events, with the same times and ids."""
    journal = tmp_path / "pattern_events.jsonl"
    provider = TracerProvider(resource=Resource({"service.name": "native-engine"}), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.otlp_http_endpoint}/v1/traces"))
    )
    provider.add_span_processor(JsonlSpanProcessor(journal))
    attributes = {
        names.ATTR_JOB_ID: JOB_ID,
        names.ATTR_PATTERN_ID: PATTERN_ID,
        names.ATTR_OPERATION_KIND: "scan",
    }
    with provider.get_tracer("engine").start_as_current_span("scan", attributes=attributes) as span:
        span.add_event(names.SELECTION_STARTED, {"operation_kind": "scan", "candidate_patterns": [PATTERN_ID]})
        span.add_event(names.EXECUTION_STARTED, {"executor": "python", "command": "scan src"})
        span.add_event(names.EXECUTION_COMPLETED, {names.ATTR_DETAILS: json.dumps(COMPLETED)})
    trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()

    (exported,) = spans_of(collector, trace_id)
    emitter = PatternEventEmitter(tmp_path)
    events = emitter.get_events()
    assert [event.name for event in exported.events] == [event.event_type for event in events]
    assert [event.time_unix_nano // 1000 for event in exported.events] == [
        event.time_unix_nano // 1000 for event in events
    ]
    assert events[0].otel["resource"] == exported.resource

    (run,) = PatternRunAggregator(emitter).rebuild_from_events(JOB_ID)
    assert run == fold(events)[run.pattern_run_id]
    assert (run.status, run.operation_kind, run.pattern_id) == ("success", "scan", PATTERN_ID)
    assert run.outputs["by_severity"] == {"high": 1}
    assert ids.trace_id(run.job_id, run.pattern_run_id) == trace_id

    shown = json.loads(command_line(journal, "run", run.pattern_run_id, "--json"))
    assert (shown["trace_id"], shown["status"], shown["events"]) == (trace_id, "success", run.events)
    assert trace_id in shown["links"]["jaeger"]
    assert "spans are exported by the program itself" in command_line(journal, "run", run.pattern_run_id)
    assert run.pattern_run_id in command_line(journal, "runs", "--job", JOB_ID, "--status", "success")
    listed = [json.loads(line) for line in command_line(journal, "events", "--job", JOB_ID, "--json").splitlines()]
    assert [event["event_id"] for event in listed] == run.events


def test_native_run_is_never_replayed(tmp_path: Path) -> None:
    """A replay leaves it to the program that exported it, and says so; nothing is owed."""
    journal = tmp_path / "pattern_events.jsonl"
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(JsonlSpanProcessor(journal))
    with provider.get_tracer("engine").start_as_current_span("scan") as span:
        span.add_event(names.EXECUTION_COMPLETED, {names.ATTR_DETAILS: json.dumps(COMPLETED)})
    for options in ((), ("--force",), ("--unsampled",)):
        assert "0 runs delivered (0 spans), 1 exported by their own program" in command_line(
            journal, "replay", *options
        )


# What cannot be promised.


@pytest.mark.parametrize("always", [False, True], ids=["sampler", "AlwaysRecordSampler"])
def test_native_runs_that_are_not_sampled_need_the_sampler_that_records(tmp_path: Path, *, always: bool) -> None:
    """Of spans that are not recorded the journal has nothing; `AlwaysRecordSampler` shows it all of them."""
    sampler = ParentBased(TraceIdRatioBased(0.1))
    provider = TracerProvider(sampler=AlwaysRecordSampler(sampler) if always else sampler, shutdown_on_exit=False)
    provider.add_span_processor(JsonlSpanProcessor(tmp_path / "pattern_events.jsonl"))
    tracer = provider.get_tracer("engine")
    sampled = 0
    for _ in range(200):
        with tracer.start_as_current_span("scan") as span:
            span.add_event(names.EXECUTION_COMPLETED, {names.ATTR_DETAILS: json.dumps(COMPLETED)})
        sampled += span.get_span_context().trace_flags.sampled
    events = PatternEventEmitter(tmp_path).get_events()
    assert 0 < sampled < 100
    assert len(events) == (200 if always else sampled)
    assert sum(event.otel["sampled"] for event in events) == sampled
    if always:
        left_out = next(event for event in events if not event.otel["sampled"])
        assert "its program has not exported it" in command_line(
            tmp_path / "pattern_events.jsonl", "run", left_out.pattern_run_id
        )


# The example.


def test_example_without_a_collector_leaves_three_runs(tmp_path: Path) -> None:
    """The journal needs no collector: two runs succeed, one fails, every event is strictly valid."""
    example = run_example("otel_native.py", tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="")
    assert example.exit_code == 0, example.stderr
    assert [(run.pattern_id, run.status) for run in example.runs] == [
        ("PAT-PRIMES-001", "success"),
        ("PAT-SQUARES-001", "success"),
        ("PAT-QUOTIENT-001", "failed"),
    ]
    assert (example.runs[0].outputs["primes"], example.runs[2].error) == (
        168,
        {"type": "ZeroDivisionError", "message": "integer division or modulo by zero", "exit_code": 1},
    )
    assert [problem for event in example.events for problem in check_strict(event)] == []
    assert [problem for event in example.events for problem in STRICT_EVENT.problems(event.to_dict())] == []
    assert example.stdout.split() == [run.trace_id for run in example.runs]


def test_example_with_a_collector_exports_the_same_runs(collector: CollectorServer, tmp_path: Path) -> None:
    """With an endpoint the stock exporter sends the spans, under the ids that the journal has."""
    example = run_example(
        "otel_native.py",
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_http_endpoint,
        OTEL_SERVICE_NAME="native-example",
    )
    assert example.exit_code == 0, example.stderr
    for run in example.runs:
        (span,) = spans_of(collector, run.trace_id)
        assert span.resource["service.name"] == "native-example"
        assert span.attributes[names.ATTR_PATTERN_ID] == run.pattern_id
        assert (span.status_code == "ERROR") == (run.status == "failed")
        assert [event.name for event in span.events] == [
            event.event_type for event in events_of(example.events, run.trace_id)
        ]


def events_of(events: list[PatternEvent], trace_id: str) -> list[PatternEvent]:
    """Return the events of a trace's run."""
    return [event for event in events if ids.trace_id(event.job_id, event.pattern_run_id) == trace_id]

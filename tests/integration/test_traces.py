"""Runs in real backends: looked up by id and by `pattern.run.id`, while they run and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_patterns import PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.clock import Clock
from otel_patterns.runner import Run
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.replay import Selection, replay, traces_of
from otel_patterns.tracing.sink import OtlpSink
from tests.backends.clients import JaegerClient, TempoClient
from tests.backends.polling import wait_for
from tests.backends.servers import CollectorServer, JaegerServer, TempoServer
from tests.backends.spans import BackendSpan

SERVICE = "engine"
PATTERN_ID = "PAT-SEMGREP-001"
# Tempo cuts a trace into its searchable block a few seconds after its last span.
SEARCH_SECONDS = 40


@dataclass(frozen=True)
class Backend:
    """A backend as the tests see it: where to send, and how to look up."""

    name: str
    endpoint: str
    trace: Callable[[str], list[BackendSpan]]
    find_runs: Callable[[str], list[str]]


def jaeger_backend(server: JaegerServer) -> Backend:
    """Return Jaeger: by id through v3, by attribute through the v1 search (v3 of 2.13 ignores attributes)."""
    client = JaegerClient(server.query_url)

    def find(run_id: str) -> list[str]:
        return sorted({span.trace_id for span in client.find_by_run_id(SERVICE, run_id)})

    return Backend("jaeger", server.otlp_http_endpoint, client.trace, find)


def tempo_backend(server: TempoServer) -> Backend:
    """Return Tempo: by id, and by TraceQL."""
    client = TempoClient(server.query_url)

    def find(run_id: str) -> list[str]:
        now = int(time.time())
        return sorted({trace.trace_id for trace in client.find_by_run_id(run_id, now - 3600, now + 60)})

    return Backend("tempo", server.otlp_http_endpoint, client.trace, find)


@pytest.fixture(params=["jaeger", "tempo"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Yield each backend that is on this machine."""
    server = request.getfixturevalue(str(request.param))
    return jaeger_backend(server) if isinstance(server, JaegerServer) else tempo_backend(server)


@pytest.fixture
def emitter(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PatternEventEmitter]:
    """Yield an emitter that is configured by the standard variables alone."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", SERVICE)
    yield configure(journal=tmp_path / "pattern_events.jsonl")
    shutdown()


def start_run(emitter: PatternEventEmitter) -> Run:
    """Return a run that is about to begin."""
    return pattern_run(
        PATTERN_ID,
        job_id="JOB-TEST-001",
        operation_kind="semgrep_scan",
        inputs={"target": "src", "jobs": 2},
        emitter=emitter,
    )


def absent_run_id() -> str:
    """Return a run id that no run has."""
    return f"PRUN-{Clock().new_ulid()}"


def is_span_called(name: str) -> Callable[[list[BackendSpan]], bool]:
    """Return a predicate that looks for a span of that name."""
    return lambda spans: any(span.name == name for span in spans)


def test_run_is_found_while_it_runs_and_after(backend: Backend, emitter: PatternEventEmitter) -> None:
    """A run is seen by its id while its execution is going on, and whole, by id and run id, after it ended."""
    with start_run(emitter) as run:
        with run.validation("preflight", ["target"]):
            pass
        with run.execution(["semgrep", "scan"]) as execution:
            spans = wait_for(lambda: backend.trace(run.trace_id), is_span_called("run started"))
            assert {span.name for span in spans} == {"run started", f"validation {PATTERN_ID}"}
            execution.exit_code = 0
            execution.result_summary["finding_count"] = 3
    assert emitter.flush(10)
    root_name = f"semgrep_scan {PATTERN_ID}"
    spans = wait_for(lambda: backend.trace(run.trace_id), is_span_called(root_name))
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {root_name, "run started", f"validation {PATTERN_ID}", f"execution {PATTERN_ID}"}
    root = by_name.pop(root_name)
    assert {span.parent_span_id for span in by_name.values()} == {root.span_id}
    assert (root.kind, root.status_code, root.resource["service.name"]) == ("SERVER", "UNSET", SERVICE)
    assert root.attributes["pattern.run.id"] == run.pattern_run_id
    assert root.attributes["pattern.output.finding_count"] == 3
    assert sorted(event.name for event in root.events) == sorted(
        event.event_type for event in emitter.get_events(pattern_run_id=run.pattern_run_id)
    )
    found = wait_for(lambda: backend.find_runs(run.pattern_run_id), timeout_seconds=SEARCH_SECONDS)
    assert found == [run.trace_id]


def test_run_that_does_not_exist_is_not_found(backend: Backend, emitter: PatternEventEmitter) -> None:
    """The look-ups can come back empty: an id that no run has finds nothing, by id or by attribute."""
    with start_run(emitter) as run:
        pass
    assert emitter.flush(10)
    assert wait_for(lambda: backend.find_runs(run.pattern_run_id), timeout_seconds=SEARCH_SECONDS) == [run.trace_id]
    absent = absent_run_id()
    assert backend.find_runs(absent) == []
    assert backend.trace(f"{Clock().random_bits():032x}") == []


def test_run_that_failed_is_an_error_in_the_backend(backend: Backend, emitter: PatternEventEmitter) -> None:
    """A failure has status ERROR with its message on root and stage, `error.type`, and the exception."""
    run = start_run(emitter)
    with pytest.raises(ValueError, match="boom"), run:
        raise ValueError("boom")
    assert emitter.flush(10)
    (run_trace,) = traces_of(emitter.global_log, Selection(run_id=run.pattern_run_id))
    spans = wait_for(lambda: backend.trace(run_trace.trace_id), is_span_called(f"semgrep_scan {PATTERN_ID}"))
    assert [(span.status_code, span.status_message) for span in spans] == [("ERROR", "boom")] * 2
    assert [span.attributes["error.type"] for span in spans] == ["ValueError"] * 2
    assert all("exception" in [event.name for event in span.events] for span in spans)


def test_run_missed_is_replayed_and_replaying_twice_shows_it_once(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run emitted while nothing listened appears once after a replay; forcing another adds nothing but copies."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", SERVICE)
    emitter = configure(journal=tmp_path / "pattern_events.jsonl", endpoint="http://127.0.0.1:1/v1/traces")
    with start_run(emitter) as run:
        pass
    emitter.flush(5)
    shutdown()
    assert backend.trace(run.trace_id) == []
    sink = OtlpSink(Endpoint(f"{backend.endpoint}/v1/traces"))
    assert replay(emitter.global_log, sink, Selection()).sent == 1
    spans = wait_for(lambda: backend.trace(run.trace_id))
    assert len(spans) == 2
    assert replay(emitter.global_log, sink, Selection()).sent == 0
    assert replay(emitter.global_log, sink, Selection(), force=True).sent == 1
    sink.close()
    again = backend.trace(run.trace_id)
    # Jaeger drops identical copies; Tempo shows them until it compacts its blocks.
    assert len(again) == 2 or backend.name == "tempo"
    assert all(span in spans for span in again)


def test_run_through_the_collector_reaches_the_backend(
    jaeger: JaegerServer,
    start_backend: Callable[[CollectorServer], CollectorServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Engine to collector to Jaeger: the collector's answer acknowledges, and the trace arrives unchanged."""
    (tmp_path / "collector").mkdir()
    collector = start_backend(CollectorServer(tmp_path / "collector", forward_http_to=jaeger.otlp_http_endpoint))
    monkeypatch.setenv("OTEL_SERVICE_NAME", SERVICE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.otlp_http_endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    emitter = configure(journal=tmp_path / "pattern_events.jsonl")
    with start_run(emitter) as run:
        pass
    assert emitter.flush(10)
    shutdown()
    spans = wait_for(lambda: JaegerClient(jaeger.query_url).trace(run.trace_id), lambda found: len(found) == 2)
    (trace,) = traces_of(emitter.global_log, Selection())
    assert {span.span_id for span in spans} == {span.span_id for span in trace.spans}
    assert emitter.destination is not None
    assert DeliveryRecord(emitter.global_log, emitter.destination).load().whole == {run.pattern_run_id}

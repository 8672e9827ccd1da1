"""Journal to backend to journal, with real backends and the real command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_patterns import PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.journal.read import read_events
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.runner import Run
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.trace import RunTrace
from tests.backends.polling import wait_for
from tests.backends.servers import JaegerServer, TempoServer
from tests.integration.print_backend_table import JAEGER_V1, JAEGER_V3, TEMPO, Ask, jaeger_asks, page, tempo_asks
from tests.pages import DOCS

WAYS = {JAEGER_V3: "jaeger", JAEGER_V1: "jaeger", TEMPO: "tempo"}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, Ask, str]:
    """Yield each way to ask a backend for a trace: the endpoint to send to, how to ask, and its name."""
    name = str(request.param)
    server: JaegerServer | TempoServer = request.getfixturevalue(WAYS[name])
    asks = jaeger_asks(server) if isinstance(server, JaegerServer) else tempo_asks(server)
    return server.otlp_http_endpoint, asks[name], name


@pytest.fixture
def emitter(
    way: tuple[str, Ask, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PatternEventEmitter]:
    """Yield an emitter that sends to the backend."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", way[0])
    monkeypatch.setenv("OTEL_SERVICE_NAME", "engine")
    yield configure(journal=tmp_path / "there" / "pattern_events.jsonl")
    shutdown()


def run_all_stages(emitter: PatternEventEmitter) -> Run:
    """Make a run with all four stages."""
    candidates = ["PAT-SEMGREP-001", "PAT-BANDIT-002"]
    with pattern_run(
        "PAT-SEMGREP-001",
        job_id="JOB-1",
        step_id="STEP-1",
        operation_kind="semgrep_scan",
        inputs={"target": "src", "deep": {"jobs": 2, "rules": ["a", "é"]}},
        candidate_patterns=candidates,
        emitter=emitter,
    ) as run:
        with run.selection() as selection:
            selection.choose("PAT-SEMGREP-001")
        with run.template(template_version="1.2.0") as template:
            template.generated_artifacts.append("semgrep.yml")
        with run.validation("preflight", ["target"]):
            pass
        with run.execution(["semgrep", "scan"], tool_version="1.100") as execution:
            execution.exit_code = 0
            execution.result_summary["finding_count"] = 3
    return run


def saved_answer(ask: Ask, run: Run, path: Path) -> Path:
    """Save what the backend answers for a run once it has its root."""
    answer = wait_for(lambda: ask(run.trace_id), lambda data: b"pattern.events.emitted" in data)
    path.write_bytes(answer)
    return path


def import_trace(saved: Path, journal: Path) -> subprocess.CompletedProcess[str]:
    """Call the command as a user does."""
    command = [sys.executable, "-m", "otel_patterns", "import-trace", "--journal", str(journal), str(saved)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def without_otel(event: PatternEvent) -> dict[str, object]:
    """Return an event without what is ours."""
    details = {key: value for key, value in event.details.items() if key != names.OTEL}
    return {**event.to_dict(), "details": details}


def trace_of(journal: Path) -> RunTrace:
    """Return the trace of a journal with one run."""
    trace = project(list(read_events(journal)))
    assert trace is not None
    return trace


def test_journal_comes_back_from_the_backend(
    way: tuple[str, Ask, str], emitter: PatternEventEmitter, tmp_path: Path
) -> None:
    """Every event that fitted is the same, in the same order; importing again changes nothing."""
    run = run_all_stages(emitter)
    assert emitter.flush(10)
    saved = saved_answer(way[1], run, tmp_path / "trace.json")
    back = tmp_path / "back" / "pattern_events.jsonl"
    done = import_trace(saved, back)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{run.pattern_run_id}  7 events imported\n"
    there = emitter.get_events()
    assert [without_otel(event) for event in read_events(back)] == [without_otel(event) for event in there]
    before = back.read_bytes()
    again = import_trace(saved, back)
    assert (again.returncode, back.read_bytes()) == (0, before)
    assert "7 in the journal before" in again.stdout

    # And its trace is the same but for what backends do to order and arrays.
    first, second = trace_of(emitter.global_log), trace_of(back)
    assert (second.trace_id, second.native) == (first.trace_id, True)
    for one, other in zip(first.spans, second.spans, strict=True):
        assert (one.span_id, one.name, one.kind, one.start_unix_nano, one.end_unix_nano) == (
            other.span_id,
            other.name,
            other.kind,
            other.start_unix_nano,
            other.end_unix_nano,
        )
        assert dict(one.attributes) == dict(other.attributes)
        assert sorted((event.name, sorted(event.attributes)) for event in one.events) == sorted(
            (event.name, sorted(event.attributes)) for event in other.events
        )


def test_event_that_did_not_fit_is_named(
    way: tuple[str, Ask, str], emitter: PatternEventEmitter, tmp_path: Path
) -> None:
    """Details over 2,000 bytes leave their scalars and their digest, and what Tempo cuts is told."""
    run = pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan", emitter=emitter)
    with pytest.raises(ValueError, match="boom"), run:
        raise ValueError("boom " + "y" * 3000)
    assert emitter.flush(10)
    saved = saved_answer(way[1], run, tmp_path / "trace.json")
    back = tmp_path / "back" / "pattern_events.jsonl"
    done = import_trace(saved, back)
    assert done.returncode == 1
    there, here = emitter.get_events(), list(read_events(back))
    assert [event.event_id for event in here] == [event.event_id for event in there]
    failed = there[-1]
    assert f"not whole: {run.pattern_run_id} {failed.event_id}: only scalars are left" in done.stderr
    assert here[-1].otel["truncated"]["bytes"] > 2000
    assert ("Tempo cuts texts at 2048" in done.stderr) == (way[2] == TEMPO)
    assert [without_otel(event) for event in here[:-1]] == [without_otel(event) for event in there[:-1]]


def test_exception_comes_back_as_it_was(
    way: tuple[str, Ask, str], emitter: PatternEventEmitter, tmp_path: Path
) -> None:
    """What `pattern_run` records of a failure beside the events is in `details.otel` again."""
    run = pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan", emitter=emitter)
    with pytest.raises(ValueError, match="boom"), run:
        raise ValueError("boom")
    assert emitter.flush(10)
    back = tmp_path / "back" / "pattern_events.jsonl"
    done = import_trace(saved_answer(way[1], run, tmp_path / "trace.json"), back)
    assert (done.returncode, done.stderr) == (0, "")
    there, here = emitter.get_events(), list(read_events(back))
    assert here[-1].otel["span"] == there[-1].otel["span"]
    assert here[0].otel["span"] == there[0].otel["span"]
    assert here[0].otel["resource"]["service.name"] == "engine"


def test_run_that_is_going_on_has_no_events_yet(
    way: tuple[str, Ask, str], emitter: PatternEventEmitter, tmp_path: Path
) -> None:
    """A trace without a root has stages and no events, and the command says so."""
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan", emitter=emitter) as run:
        with run.validation("preflight", ["target"]):
            pass
        assert emitter.flush(10)
        has_stage: Callable[[bytes], bool] = lambda data: b"pattern.stage" in data  # noqa: E731  # its type is needed
        saved = tmp_path / "trace.json"
        saved.write_bytes(wait_for(lambda: way[1](run.trace_id), has_stage))
        done = import_trace(saved, tmp_path / "back.jsonl")
    assert done.returncode == 1
    assert "there are only the stages validation" in done.stderr
    assert not (tmp_path / "back.jsonl").exists()


def test_backends_page_is_what_backends_answer(jaeger: JaegerServer, tempo: TempoServer) -> None:
    """`python -m tests.integration.print_backend_table > docs/reference/backends.md` writes the page anew."""
    assert (DOCS / "reference" / "backends.md").read_text(encoding="utf-8") == page(jaeger, tempo)

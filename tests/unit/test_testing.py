"""`otel_patterns.testing`: what a test captures, and that nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

import otel_patterns
from otel_patterns import (
    InvalidEventError,
    JobStateStore,
    OtelPatternsError,
    PatternEvent,
    PatternEventEmitter,
    PatternRun,
    configure,
    emit_pattern_event,
    pattern_run,
    shutdown,
    testing,
)
from otel_patterns.cli import main
from otel_patterns.clock import SYSTEM_CLOCK
from otel_patterns.model import names
from otel_patterns.testing import START_UNIX_NANO, CapturedRuns, CaptureError, FakeClock, capture_runs
from tests.descriptors import opened_below
from tests.streams import JOB_ID, PATTERN_ID, RUN_ID

ROOT = Path(__file__).parents[2]


def work(operation: str = "demo", **more: str) -> str:
    """Make a run of the process's own emitter, as an engine does, and return its id."""
    with pattern_run(PATTERN_ID, job_id=JOB_ID, operation_kind=operation, command="true", **more) as run:  # pyright: ignore[reportArgumentType]  # by name
        pass
    return run.pattern_run_id


def failing_run(clock: FakeClock) -> None:
    """Make a run with two stages, the second of which has a run inside and fails."""
    with pattern_run(PATTERN_ID, job_id=JOB_ID, operation_kind="demo", candidate_patterns=[PATTERN_ID]) as run:
        clock.advance(1)
        with run.selection() as selection:
            selection.choose("PAT-B")
        clock.advance(0.25)
        with run.execution("make all"):
            clock.advance(2)
            work("inner")
            raise ValueError("boom \x1b[2J")


def work_and_shut_down() -> None:
    """Make a run, shut the package down, and fail."""
    work()
    shutdown()
    raise KeyError


def run_program(code: str, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with this package alone on its path."""
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=True,
    )


def test_exports_exist() -> None:
    """Every name of `__all__` is there."""
    assert [name for name in testing.__all__ if not hasattr(testing, name)] == []


def test_import_needs_no_pytest_and_no_sdk() -> None:
    """Whoever tests with something else has no pytest, and nothing is sent, so nothing is needed for it."""
    code = (
        "import sys, otel_patterns.testing as t\nwith t.capture_runs(): pass\n"
        "print([m for m in ('pytest', 'opentelemetry.sdk', 'urllib3') if m in sys.modules])"
    )
    assert run_program(code).stdout == "[]\n"


# The clock.


def test_fake_clock_gives_the_same_ids_in_the_same_order() -> None:
    """Ids follow from the time and from how many there were."""
    first, second = FakeClock(), FakeClock()
    assert [first.new_ulid(), first.new_monotonic_ulid()] == [second.new_ulid(), second.new_monotonic_ulid()]
    assert first.new_ulid() != first.new_ulid()
    assert first.new_monotonic_ulid() < first.new_monotonic_ulid()


def test_fake_clock_moves_when_told() -> None:
    """Both clocks stand still, go on together, and the wall clock may go back."""
    clock = FakeClock()
    assert (clock.now_unix_nano(), clock.monotonic()) == (START_UNIX_NANO, 0.0)
    clock.advance(1.5)
    assert (clock.now_unix_nano(), clock.monotonic()) == (START_UNIX_NANO + 1_500_000_000, 1.5)
    clock.unix_nano -= 10
    assert clock.now_unix_nano() == START_UNIX_NANO + 1_499_999_990


def test_fake_clock_in_a_forked_child_makes_other_ids() -> None:
    """A child that went on with its parent's ids would have its events dropped as duplicates."""
    code = """
import os
from otel_patterns import pattern_run
from otel_patterns.testing import capture_runs
def work():
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="demo"): pass
with capture_runs() as captured:
    work()
    child = os.fork()
    work()
    if child:
        os.waitpid(child, 0)
        ids = {event.event_id for event in captured.events}
        print(len(captured.runs), len(ids), captured.emitter.global_log.exists())
"""
    assert run_program(code).stdout == "3 9 True\n"


# What is captured.


def test_capture_has_events_runs_and_traces(pattern_runs: CapturedRuns) -> None:
    """What the process's own emitter takes is there as events, as runs and as traces, with fixed ids and times."""
    run_id = work()
    assert [event.event_type for event in pattern_runs.events] == [
        names.SELECTION_RESOLVED,
        names.EXECUTION_STARTED,
        names.EXECUTION_COMPLETED,
    ]
    assert run_id == "PRUN-01M819EKE00000000000000001"
    assert pattern_runs.events[0].timestamp == "2026-11-22T09:30:00.000000Z"
    assert pattern_runs.run == pattern_runs.runs[run_id]
    assert pattern_runs.trace == pattern_runs.traces[run_id]
    assert pattern_runs.trace.sampled
    assert pattern_runs.spans == list(pattern_runs.trace.spans)
    assert pattern_runs.attributes(f"demo {PATTERN_ID}")["pattern.run.id"] == run_id
    assert pattern_runs.span(f"execution {PATTERN_ID}").parent_span_id == pattern_runs.spans[0].span_id


def test_capture_is_the_same_every_time() -> None:
    """Two captures of the same work are equal to the byte, whatever they were captured in."""
    captures: list[CapturedRuns] = []
    for _ in range(2):
        with capture_runs() as captured, pytest.raises(ValueError, match="boom"):
            failing_run(captured.clock)
        captures.append(captured)
    first, second = captures
    assert first.events == second.events
    assert first.traces == second.traces
    assert first.tree() == second.tree()


def test_events_are_as_emitted_and_the_emitter_has_what_was_recorded(pattern_runs: CapturedRuns) -> None:
    """`details.otel` has host and process in it, which no test can compare with."""
    emitted = emit_pattern_event(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", {"executor": "x"})
    assert pattern_runs.events == [emitted]
    assert pattern_runs.emitter.get_events()[0].otel["writer"]["pid"] == os.getpid()


def test_guide_style_code_gets_fixed_ids_and_times_too(pattern_runs: CapturedRuns) -> None:
    """`PatternRun.create` and `PatternEvent.create` are called without a clock in the guide's code."""
    run = PatternRun.create(PATTERN_ID, JOB_ID, "demo")
    event = PatternEvent.create(names.EXECUTION_STARTED, JOB_ID, run.pattern_run_id, PATTERN_ID, "in_progress", {})
    PatternEventEmitter().emit(event)
    assert (run.pattern_run_id, run.started_at) == ("PRUN-01M819EKE00000000000000001", "2026-11-22T09:30:00.000000Z")
    assert pattern_runs.events == [event]
    assert event.event_id == "EVT-01M819EKE00000000000000002"


def test_tree_shows_spans_events_and_errors(pattern_runs: CapturedRuns) -> None:
    """The tree has names, kinds, times and errors, no ids, and no text that a terminal obeys."""
    with pytest.raises(ValueError, match="boom"):
        failing_run(pattern_runs.clock)
    assert pattern_runs.tree().splitlines() == [
        r"demo PAT-B SERVER +0s 3.25s ERROR boom \x1b[2J",
        "  · pattern.selection.started +0s",
        "  · pattern.selection.resolved +1s",
        "  · pattern.execution.started +1.25s",
        "  · pattern.execution.failed +3.25s",
        "  · exception +3.25s",
        "  selection PAT-B +0s 1s",
        r"  execution PAT-B CLIENT +1.25s 2s ERROR boom \x1b[2J",
        "    · exception +3.25s",
        f"    inner {PATTERN_ID} +3.25s 0s",
        "      · pattern.selection.resolved +3.25s",
        "      · pattern.execution.started +3.25s",
        "      · pattern.execution.completed +3.25s",
        f"      execution {PATTERN_ID} CLIENT +3.25s 0s",
    ]


def test_tree_shows_the_attributes_that_are_asked_for(pattern_runs: CapturedRuns) -> None:
    """A key shows one attribute, a key with a dot at its end all below it, on spans and span events."""
    details = {"command": 'say "hi"', "executor": "x\u2028y", "n": 1}
    emit_pattern_event(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", details)
    assert pattern_runs.tree() == "run started +0s 0s"
    emit_pattern_event(names.EXECUTION_COMPLETED, JOB_ID, RUN_ID, PATTERN_ID, "success", {"exit_code": 0})
    assert pattern_runs.tree("pattern.status", "pattern.detail.", "pattern").splitlines() == [
        f"unknown {PATTERN_ID} SERVER +0s 0s",
        '  pattern.status="success"',
        "  · pattern.execution.started +0s",
        r'    pattern.detail.command="say \"hi\""',
        r'    pattern.detail.executor="x\u2028y"',
        "    pattern.detail.n=1",
        "  · pattern.execution.completed +0s",
        "    pattern.detail.exit_code=0",
        f"  execution {PATTERN_ID} +0s 0s",
    ]


def test_tree_of_nothing_is_empty(pattern_runs: CapturedRuns) -> None:
    """A block that emits nothing has no events, runs, spans, and an empty tree."""
    assert (pattern_runs.events, pattern_runs.runs, pattern_runs.spans, pattern_runs.tree()) == ([], {}, [], "")


def test_one_run_or_span_that_is_not_there_says_what_is(pattern_runs: CapturedRuns) -> None:
    """No run, two runs and a wrong name are assertions that fail with what there is instead."""
    with pytest.raises(CaptureError, match=r"^there is no run$"):
        _ = pattern_runs.run
    runs = [work("one"), work("two")]
    for look in (lambda: pattern_runs.run, lambda: pattern_runs.trace):
        with pytest.raises(AssertionError, match=f"more than one run; there are:\n  {runs[0]}\n  {runs[1]}") as caught:
            look()
        assert isinstance(caught.value, CaptureError)
        assert list(caught.value.found) == runs
    with pytest.raises(CaptureError, match=f"no spans have the name 'three'; there are:\n  one {PATTERN_ID}\n"):
        pattern_runs.span("three")
    with pytest.raises(CaptureError, match="2 spans have the name"):
        pattern_runs.attributes(f"execution {PATTERN_ID}")


def test_capture_with_the_real_clock_has_real_times() -> None:
    """`SYSTEM_CLOCK` gives times and ids as in production; there is no clock to move then."""
    with capture_runs(SYSTEM_CLOCK) as captured:
        work()
    assert captured.events[0].time_unix_nano > 0
    assert captured.run.started_at != "2026-11-22T09:30:00.000000Z"
    with pytest.raises(CaptureError, match=r"another clock than a FakeClock; there are:\n  Clock$"):
        _ = captured.clock


def test_capture_takes_settings() -> None:
    """Strict validation, links and per-job logs can be asked for, and a bad value is told."""
    with capture_runs(validation="strict"), pytest.raises(InvalidEventError):
        emit_pattern_event(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", {})
    with capture_runs(job_scoped=True) as captured:
        work()
        assert (captured.emitter.events_dir / "jobs" / JOB_ID / "pattern_events.jsonl").exists()
    with capture_runs(run_url="https://ci/{run_id}") as captured:
        run_id = work()
    root = f"demo {PATTERN_ID}"
    assert captured.attributes(root)["cicd.pipeline.run.url.full"] == f"https://ci/{run_id}"
    with pytest.raises(otel_patterns.ConfigurationError), capture_runs(join="none"):
        raise AssertionError("not reached")
    with capture_runs(join="link") as captured:
        work()
    assert captured.run.status == "success"


# What is around.


def test_capture_is_there_for_readers_of_the_journal(
    pattern_runs: CapturedRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store and the command line read the captured journal without being told where it is."""
    run_id = work()
    assert [run["pattern_run_id"] for run in JobStateStore().get_pattern_runs(JOB_ID)] == [run_id]
    assert main(["runs", "--json"]) == 0
    assert run_id in capsys.readouterr().out
    assert pattern_runs.emitter.counts == {}


def test_capture_has_the_events_of_child_processes(pattern_runs: CapturedRuns) -> None:
    """A program that is started by the tested code writes to the same journal, and sends nothing either."""
    code = "from otel_patterns import *\nwith pattern_run('PAT-C', job_id='JOB-1', operation_kind='child'): pass\n"
    variables = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    run_program(f"{code}print(PatternEventEmitter().destination)", **variables)
    assert pattern_runs.run.operation_kind == "child"


def test_capture_has_the_events_of_all_threads(pattern_runs: CapturedRuns) -> None:
    """Threads lose nothing, and no id is given twice."""
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pattern_runs.runs) == 8
    assert len({event.event_id for event in pattern_runs.events}) == 24


def test_capture_survives_that_the_tested_code_configures(pattern_runs: CapturedRuns) -> None:
    """`configure()` and `shutdown()` of the tested program lead to the same journal, still without network."""
    assert configure().destination is None
    work("configured")
    shutdown()
    work("shut down")
    assert [run.operation_kind for run in pattern_runs.runs.values()] == ["configured", "shut down"]
    assert len(pattern_runs.events) == 6


def test_capture_inside_a_capture_takes_its_own_block() -> None:
    """Each event is in the innermost capture, and the outer one goes on afterwards."""
    with capture_runs() as outer:
        work("before")
        with capture_runs() as inner:
            work("inside")
        work("after")
    assert [run.operation_kind for run in outer.runs.values()] == ["before", "after"]
    assert inner.run.operation_kind == "inside"
    assert inner.run.pattern_run_id == next(iter(outer.runs))


def test_capture_in_a_second_thread_is_refused(pattern_runs: CapturedRuns) -> None:
    """The configuration is the process's: two threads would take each other's events, so one is told."""
    raised: list[Exception] = []

    def second() -> None:
        try:
            with capture_runs():
                work()
        except OtelPatternsError as error:
            raised.append(error)

    thread = threading.Thread(target=second)
    thread.start()
    thread.join()
    assert "another thread of this process is capturing" in str(raised[0])
    assert pattern_runs.events == []


def test_capture_does_not_depend_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's endpoint, sampler and settings change nothing, and are as they were afterwards."""
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_TRACES_SAMPLER": "always_off",
        "OTEL_SERVICE_NAME": "mine",
        "OTEL_PATTERNS_VALIDATION": "strict",
        "OTEL_PATTERNS_JOURNAL": "elsewhere.jsonl",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before = {name: os.environ[name] for name in os.environ if name.startswith("OTEL_")}
    with capture_runs() as captured:
        work()
        os.environ["OTEL_PATTERNS_JAEGER_URL"] = "http://jaeger"
        assert PatternEventEmitter().destination is None
    assert (captured.trace.sampled, captured.trace.resource) == (True, (("service.name", "unknown_service"),))
    assert {name: os.environ[name] for name in os.environ if name.startswith("OTEL_")} == before


def test_capture_leaves_the_former_configuration(tmp_path: Path) -> None:
    """After the block the process's own emitter is the former one, also when the block raised or shut it down."""
    former = configure(journal=tmp_path / "j.jsonl", export="off")
    with pytest.raises(KeyError), capture_runs():
        work_and_shut_down()
    assert PatternEventEmitter().channel is former.channel
    run_id = work()
    assert {event.pattern_run_id for event in former.get_events()} == {run_id}
    assert not run_id.endswith("0000001")
    assert vars(SYSTEM_CLOCK).keys() == vars(type(SYSTEM_CLOCK)()).keys()
    shutdown()


def test_capture_forgets_what_was_configured_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that the tested code configures gets no events that come after the block, and sends no more."""
    monkeypatch.chdir(tmp_path)
    others = set(threading.enumerate())
    with capture_runs():
        inside = configure(
            journal=tmp_path / "inside.jsonl",
            endpoint="http://127.0.0.1:1/v1/traces",
            export="otlp",
            durability="os",
        )
        work()
        assert [thread.name for thread in set(threading.enumerate()) - others] == ["otel-patterns-delivery"]
    assert set(threading.enumerate()) <= others
    assert inside.counts["owed"] > 0
    assert PatternEventEmitter().global_log == tmp_path / "state" / "events" / "pattern_events.jsonl"
    shutdown()


def test_capture_leaves_other_journals_as_they_were(tmp_path: Path) -> None:
    """Emitters of a directory that were there before are there again, those that came inside are forgotten."""
    before = PatternEventEmitter(tmp_path / "before").channel
    with capture_runs():
        shutdown()
        inside = PatternEventEmitter(tmp_path / "inside").channel
    assert PatternEventEmitter(tmp_path / "before").channel is before
    assert PatternEventEmitter(tmp_path / "inside").channel is not inside
    shutdown()


def test_capture_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no descriptor, no folder; what was captured can be looked at all the same."""
    monkeypatch.chdir(tmp_path)
    with capture_runs() as captured:
        work()
        folder = captured.emitter.events_dir.parent
        assert folder.is_dir()
    assert captured.run.status == "success"
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
    assert opened_below(folder) == []


def test_capture_without_a_file_system_in_memory_uses_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no `/dev/shm` the journal is a file that is removed."""
    monkeypatch.setattr("otel_patterns.testing.capture._MEMORY", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with capture_runs() as captured:
        work()
        assert captured.emitter.events_dir.parent.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_emitter_that_is_kept_beyond_the_block_loses_its_events(caplog: pytest.LogCaptureFixture) -> None:
    """A cached emitter must not bring the removed folder back; that its events are lost is counted and said."""
    with capture_runs() as captured:
        kept = captured.emitter
    event = PatternEvent.create(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", {})
    assert kept.emit(event, job_scoped=True).state == "lost"
    assert kept.counts["lost"] == 1
    assert "the journal has ended" in caplog.text
    assert not kept.events_dir.parent.exists()
    assert captured.events == []


def test_child_that_leaves_the_block_leaves_the_journal_to_its_parent() -> None:
    """A forked child that ends inside the block by an exception does not remove what the parent looks at."""
    code = """
import os
from otel_patterns import pattern_run
from otel_patterns.testing import capture_runs
with capture_runs() as captured:
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="demo"): pass
    child = os.fork()
    if not child:
        raise SystemExit
    os.waitpid(child, 0)
    print(captured.run.status)
"""
    assert run_program(code).stdout == "success\n"


def test_fixture_in_a_users_project_works(tmp_path: Path) -> None:
    """A conftest of one line brings the fixture; tests share nothing, and nothing is written or sent."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["otel_patterns.testing.pytest_plugin"]\n')
    (tmp_path / "test_engine.py").write_text("""
from otel_patterns import pattern_run

def scan():
    with pattern_run("PAT-SCAN", job_id="JOB-1", operation_kind="scan") as run:
        run.result_summary["findings"] = 2

def test_scan_succeeds(pattern_runs):
    scan()
    assert pattern_runs.run.outputs["findings"] == 2

def test_scan_is_traced(pattern_runs):
    scan()
    assert pattern_runs.attributes("scan PAT-SCAN")["pattern.output.findings"] == 3
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "assert 2 == 3" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conftest.py", "test_engine.py"]

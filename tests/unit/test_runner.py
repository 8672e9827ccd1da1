"""`pattern_run`: the right events in the right order."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from otel_patterns import (
    InvalidEventError,
    PatternEvent,
    PatternEventEmitter,
    fold_run,
    pattern_run,
)
from otel_patterns.model import names
from otel_patterns.model.details import check_details
from otel_patterns.model.fold import find_anomalies
from otel_patterns.runner import Run
from otel_patterns.testing import CapturedRuns
from otel_patterns.tracing.outcome import result_of
from tests.streams import JOB_ID, PATTERN_ID


@pytest.fixture
def emitter(pattern_runs: CapturedRuns) -> PatternEventEmitter:
    """Return an emitter that sends nothing."""
    return pattern_runs.emitter


def start(emitter: PatternEventEmitter, **more: object) -> Run:
    """Return a run about to begin."""
    arguments = {"job_id": JOB_ID, "operation_kind": "demo", "inputs": {"a": 1}, **more}
    return pattern_run(PATTERN_ID, emitter=emitter, **arguments)  # pyright: ignore[reportArgumentType]  # by name


def types(emitter: PatternEventEmitter) -> list[str]:
    """Return the types of all events, without their prefix."""
    return [event.event_type.removeprefix("pattern.") for event in emitter.get_events()]


def test_body_without_stages_is_the_execution(pattern_runs: CapturedRuns) -> None:
    """A block that opens no stage is the execution, from its begin to its end."""
    emitter = pattern_runs.emitter
    with start(emitter) as run:
        assert types(emitter) == ["selection.resolved"]
        pattern_runs.clock.advance(2)
        run.result_summary["n"] = 3
        run.artifacts.append("out.txt")
    assert types(emitter) == ["selection.resolved", "execution.started", "execution.completed"]
    folded = pattern_runs.run
    assert (folded.status, folded.duration_seconds, folded.inputs) == ("success", 2.0, {"a": 1})
    assert (folded.outputs["n"], folded.artifacts, folded.operation_kind) == (3, ["out.txt"], "demo")


def test_body_that_is_described_starts_on_entry(emitter: PatternEventEmitter) -> None:
    """With a command the run is in progress from its begin, for everybody to see."""
    with start(emitter, command=["semgrep", "scan", "my dir"]):
        assert types(emitter) == ["selection.resolved", "execution.started"]
    assert emitter.get_events()[1].details["command"] == "semgrep scan 'my dir'"


def test_stages_emit_their_events_in_order(emitter: PatternEventEmitter) -> None:
    """Each stage emits what opens and what closes it; every event has the details the guide's table requires."""
    with start(emitter, candidate_patterns=["PAT-A", PATTERN_ID], step_id="STEP-1") as run:
        with run.selection() as selection:
            selection.choose("PAT-A")
        with run.template(template_version="1.0") as template:
            template.variables_resolved = 2
        with run.validation("preflight", ["c1", "c2"]) as validation:
            validation.warnings.append("slow disk")
        with run.execution("make all", tool_name="make", timeout_seconds=5) as execution:
            execution.exit_code = 0
    assert types(emitter) == [
        "selection.started",
        "selection.resolved",
        "template.expanded",
        "validation.started",
        "validation.completed",
        "execution.started",
        "execution.completed",
    ]
    events = emitter.get_events()
    assert [list(check_details(event.event_type, event.details)) for event in events] == [[]] * 7
    assert find_anomalies(events) == []
    assert {event.step_id for event in events} == {"STEP-1"}
    folded = fold_run(events)
    assert (folded.pattern_id, folded.pattern_version, folded.status) == ("PAT-A", "1.0", "success")
    assert folded.tool_metadata == {"executor": "subprocess", "command": "make all", "tool_name": "make"}


def test_exception_ends_the_run_as_failed_and_is_raised_again(emitter: PatternEventEmitter) -> None:
    """An exception becomes `execution.failed` with type, message and stack trace, and goes on its way."""
    with pytest.raises(ValueError, match="boom"), start(emitter):
        raise ValueError("boom")
    last = emitter.get_events()[-1]
    assert (last.event_type, last.status) == (names.EXECUTION_FAILED, "failed")
    assert (last.details["error_type"], last.details["error_message"]) == ("ValueError", "boom")
    (recorded,) = last.otel["span"]["stage"]["events"]
    assert "raise ValueError" in recorded["attributes"]["exception.stacktrace"]
    assert list(check_details(last.event_type, last.details)) == []


def test_exception_whose_text_raises_still_ends_the_run(emitter: PatternEventEmitter) -> None:
    """Not even an exception that cannot be printed keeps the run from ending, or is replaced by another."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(UnprintableError), start(emitter):
        raise UnprintableError
    assert emitter.get_events()[-1].details["error_message"] == "UnprintableError"


@pytest.mark.parametrize(
    ("interrupt", "exit_code", "result"),
    [
        (KeyboardInterrupt(), None, "cancellation"),
        (asyncio.CancelledError(), None, "cancellation"),
        (SystemExit(3), 3, "failure"),
        (SystemExit(143), 143, "cancellation"),
        (SystemExit("no config"), 1, "failure"),
        (TimeoutError(), None, "timeout"),
        (ValueError("x"), None, "error"),
        (subprocess.TimeoutExpired("x", 1), None, "timeout"),
    ],
)
def test_interrupt_ends_the_run_with_its_result(
    emitter: PatternEventEmitter, interrupt: BaseException, exit_code: int | None, result: str
) -> None:
    """A run that is interrupted has an end that says by what, and the result of the CI/CD conventions."""
    with pytest.raises(type(interrupt)), start(emitter):
        raise interrupt
    ending = emitter.get_events()[-1]
    assert (ending.details["error_type"], ending.details["exit_code"]) == (type(interrupt).__name__, exit_code)
    assert result_of(ending) == result
    assert list(check_details(ending.event_type, ending.details)) == []


@pytest.mark.parametrize("done", [SystemExit(), SystemExit(0)])
def test_exit_with_zero_is_a_completed_run(emitter: PatternEventEmitter, done: SystemExit) -> None:
    """A program that ends itself because it is done has not failed."""
    with pytest.raises(SystemExit), start(emitter):
        raise done
    ending = emitter.get_events()[-1]
    assert (ending.event_type, ending.status, ending.details["exit_code"]) == (names.EXECUTION_COMPLETED, "success", 0)


@pytest.mark.parametrize(
    ("error", "result"), [(KeyboardInterrupt(), "cancellation"), (TimeoutError(), "timeout"), (KeyError("a"), "error")]
)
@pytest.mark.parametrize("stage", ["selection", "validation"])
def test_interrupt_inside_a_stage_ends_the_run_with_its_result(
    emitter: PatternEventEmitter, stage: str, error: BaseException, result: str
) -> None:
    """Whatever ends a stage, it is no verdict of a check."""
    run = start(emitter, candidate_patterns=["PAT-A"])
    with pytest.raises(type(error)), run, run.selection() if stage == "selection" else run.validation("preflight"):
        raise error
    (ending,) = [event for event in emitter.get_events() if event.is_terminal]
    assert (ending.stage, result_of(ending)) == (stage, result)


def test_exception_in_an_explicit_stage_ends_the_run_once(emitter: PatternEventEmitter) -> None:
    """An exception inside a stage gives one terminal event, of the stage that has one."""
    with pytest.raises(ValueError), start(emitter) as run, run.execution():  # noqa: PT011  # any
        raise ValueError
    with pytest.raises(ValueError), start(emitter) as run, run.validation("v", ["c"]):  # noqa: PT011  # any
        raise ValueError
    with pytest.raises(ValueError), start(emitter) as run, run.template():  # noqa: PT011  # any
        raise ValueError
    with (
        pytest.raises(ValueError),  # noqa: PT011  # any
        start(emitter, candidate_patterns=[]) as run,
        run.selection(),
    ):
        raise ValueError
    ends = [event.event_type for event in emitter.get_events() if event.is_terminal]
    assert ends == [names.EXECUTION_FAILED, names.VALIDATION_FAILED, names.EXECUTION_FAILED, names.SELECTION_FAILED]


def test_failed_check_ends_the_run_without_an_exception(emitter: PatternEventEmitter) -> None:
    """A failed check ends the run as failed; what the block does after it emits nothing more."""
    with start(emitter) as run, run.validation("preflight", ["a", "b"]) as validation:
        validation.fail("a", "missing")
        assert not validation.passed
    last = emitter.get_events()[-1]
    assert last.event_type == names.VALIDATION_FAILED
    assert last.details["failed_checks"] == [{"check": "a", "error": "missing"}]
    assert (last.details["checks_passed"], last.details["checks_failed"]) == (1, 1)


def test_selection_that_finds_nothing_ends_the_run(emitter: PatternEventEmitter) -> None:
    """`selection.fail` ends the run with its reason and what was tried."""
    with start(emitter, candidate_patterns=["PAT-A"]) as run, run.selection() as selection:
        selection.fail("none fits")
    last: PatternEvent = emitter.get_events()[-1]
    assert (last.details["reason"], last.details["attempted_patterns"]) == ("none fits", ["PAT-A"])


def test_process_result_gives_exit_code_lines_and_previews(emitter: PatternEventEmitter) -> None:
    """`record` takes what a finished process left; a non-zero exit code makes the run fail with its stderr."""
    code = "import sys; print('1\\n2'); sys.stderr.buffer.write(b'bad \\xff'); sys.exit(3)"
    with start(emitter) as run, run.execution(["python"]) as execution:
        execution.record(subprocess.run([sys.executable, "-c", code], capture_output=True, check=False))
    details = emitter.get_events()[-1].details
    assert (details["exit_code"], details["stdout_lines"], details["stderr_lines"]) == (3, 2, 1)
    assert (details["error_type"], details["error_message"]) == ("tool_error", "bad \\xff")


def test_process_error_gives_what_the_process_left(emitter: PatternEventEmitter) -> None:
    """`subprocess.run(check=True)` raises; exit code and output are in the event all the same."""
    code = "import sys; print('out'); sys.stderr.write('bad'); sys.exit(3)"
    with pytest.raises(subprocess.CalledProcessError), start(emitter) as run, run.execution(["python"]):
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    details = emitter.get_events()[-1].details
    assert (details["exit_code"], details["error_type"]) == (3, "CalledProcessError")
    assert (details["stdout_preview"], details["stderr_preview"]) == ("out\n", "bad")


def test_status_set_by_hand_overrules_the_exit_code(emitter: PatternEventEmitter) -> None:
    """A tool that exits with 1 because it found something has done its work."""
    with start(emitter) as run, run.execution(["semgrep"]) as execution:
        execution.exit_code, execution.status = 1, "warning"
    folded = fold_run(emitter.get_events())
    assert (folded.status, folded.outputs["exit_code"]) == ("warning", 1)


def test_bad_id_raises_on_entry(emitter: PatternEventEmitter) -> None:
    """A wrong id is the caller's mistake and is told before the block runs."""
    entered = False
    with pytest.raises(InvalidEventError), start(emitter, job_id="42"):
        entered = True
    assert not entered


def test_run_knows_its_trace_and_where_it_was_called(emitter: PatternEventEmitter) -> None:
    """The handle has run id and trace id, and the call site is recorded for the root span."""
    with start(emitter) as run:
        pass
    assert len(run.trace_id) == 32
    attributes = emitter.get_events()[0].otel["span"]["run"]["attributes"]
    assert attributes["code.function.name"] == "start"
    assert attributes["code.file.path"] == __file__


def test_results_assigned_are_recorded_whatever_they_are(emitter: PatternEventEmitter) -> None:
    """Assigning summary and artifacts is as good as changing them, and odd values never turn success into failure."""
    with start(emitter) as run:
        run.result_summary = {"n": 1}
        run.artifacts = ["a"]
    with start(emitter, inputs=["a"]) as run, run.execution() as execution:
        execution.result_summary = ["n"]  # pyright: ignore[reportAttributeAccessIssue]  # what callers without types do
        execution.artifacts = Path("report.xml")  # pyright: ignore[reportAttributeAccessIssue]
    first, second = (event for event in emitter.get_events() if event.is_terminal)
    assert (first.details["result_summary"], first.details["artifacts"]) == ({"n": 1}, ["a"])
    assert (second.event_type, second.details["result_summary"]) == (names.EXECUTION_COMPLETED, ["n"])
    assert second.details["artifacts"] == ["report.xml"]


def test_exception_with_a_huge_message_still_ends_the_run(emitter: PatternEventEmitter) -> None:
    """A message over the line limit is cut; the terminal event must be one that readers take."""
    with pytest.raises(ValueError, match="x"), start(emitter):
        raise ValueError("x" * 1_200_000)
    assert emitter.get_events()[-1].event_type == names.EXECUTION_FAILED

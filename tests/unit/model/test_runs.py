"""`PatternRun`: made and marked by a caller, read from a document."""

import json
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.errors import MISSING, InvalidRunError
from otel_patterns.model.runs import PatternRun, check_run
from otel_patterns.testing import FakeClock
from tests.documents import JOB_ID, PATTERN_ID, run_document


def created(clock: FakeClock, **changes: Any) -> PatternRun:
    """Create a run as the guide does."""
    arguments: dict[str, Any] = {"pattern_id": PATTERN_ID, "job_id": JOB_ID, "operation_kind": "semgrep_scan"}
    return PatternRun.create(**{**arguments, **changes}, clock=clock)


def test_created_run_is_pending_and_its_id_is_its_trace_id() -> None:
    """PRUN-<ULID> is the trace id in hex; a version that is not known is left out."""
    run = created(FakeClock())
    assert run.to_dict() == {
        "pattern_run_id": "PRUN-01M819EKE00000000000000001",
        "pattern_id": PATTERN_ID,
        "job_id": JOB_ID,
        "operation_kind": "semgrep_scan",
        "status": "pending",
        "started_at": "2026-11-22T09:30:00.000000Z",
        "step_id": None,
        "finished_at": None,
        "duration_seconds": None,
        "inputs": {},
        "outputs": {},
        "artifacts": [],
        "events": [],
        "metrics": {},
        "tool_metadata": {},
        "error": None,
    }
    assert run.trace_id == f"{1_795_339_800_000:012x}" + "0" * 19 + "1"


def test_created_runs_have_ids_that_do_not_follow_each_other() -> None:
    """Each run id has random bits of its own, also within one millisecond: samplers look at them."""
    clock = FakeClock()
    assert len({created(clock).pattern_run_id for _ in range(10)}) == 10


def test_created_run_with_step_and_version_has_them() -> None:
    """Both are optional and positional, as in the guide."""
    run = PatternRun.create(PATTERN_ID, JOB_ID, "semgrep_scan", "STEP-1", "1.2.0", clock=FakeClock())
    assert (run.step_id, run.pattern_version) == ("STEP-1", "1.2.0")
    assert run.to_dict()["pattern_version"] == "1.2.0"


@pytest.mark.parametrize(
    ("changes", "field", "fix"),
    [
        ({"pattern_id": "PAT-semgrep"}, "pattern_id", "Write it like PAT-SEMGREP-001."),
        ({"job_id": "1"}, "job_id", "Use JOB-<ULID>, or JOB- and an id of your own."),
        ({"job_id": None}, "job_id", "Use JOB-<ULID>, or JOB- and an id of your own."),
        ({"step_id": "3"}, "step_id", "Use STEP-<ULID>, STEP- and an id of your own, or null."),
        ({"operation_kind": None}, "operation_kind", "Correct it."),
    ],
)
def test_create_with_a_wrong_argument_raises_field_and_fix(changes: dict[str, Any], field: str, fix: str) -> None:
    """A caller's mistake is told with field, value and what to do."""
    with pytest.raises(InvalidRunError) as caught:
        created(FakeClock(), **changes)
    assert (caught.value.field, caught.value.value, caught.value.fix) == (field, changes[field], fix)


def test_run_marked_started_and_completed_has_times_of_the_clock() -> None:
    """Started now, finished now, and the duration between."""
    clock = FakeClock()
    run = created(clock)
    clock.advance(1)
    run.mark_started(clock=clock)
    assert (run.status, run.started_at) == ("in_progress", "2026-11-22T09:30:01.000000Z")
    clock.advance(2.5)
    run.mark_completed({"path": Path("a"), "exit_code": 0}, ["a", "b"], clock=clock)
    assert (run.status, run.finished_at, run.duration_seconds) == ("success", "2026-11-22T09:30:03.500000Z", 2.5)
    assert run.outputs == {"path": "a", "exit_code": 0}
    assert run.artifacts == ["a", "b"]
    assert check_run(run.to_dict()) == []


def test_run_marked_completed_without_artifacts_keeps_its_own() -> None:
    """None and an empty list leave what was generated before."""
    run = PatternRun.from_document(run_document(artifacts=["generated"]))
    run.mark_completed({}, clock=FakeClock())
    run.mark_completed({}, [], clock=FakeClock())
    assert run.artifacts == ["generated"]


def test_run_marked_failed_has_the_error_without_what_is_none() -> None:
    """A missing command has no exit code, and the schema knows no null there."""
    run = created(FakeClock())
    run.mark_failed({"type": "tool_error", "message": b"bad", "exit_code": None, "stderr": None}, clock=FakeClock())
    assert run.error == {"type": "tool_error", "message": "bad"}
    assert (run.status, run.duration_seconds) == ("failed", 0.0)
    assert check_run(run.to_dict()) == []


def test_run_finished_before_its_start_has_duration_zero() -> None:
    """A clock that was set back makes no negative duration."""
    clock = FakeClock()
    run = created(clock)
    clock.unix_nano -= 10**9
    run.mark_completed({}, clock=clock)
    assert run.duration_seconds == 0.0


def test_document_read_and_written_is_the_same() -> None:
    """Numbers come back as they were written, other keys do not."""
    document = run_document(duration_seconds=3, metrics={"total_ms": 1.0, "mine": None})
    run = PatternRun.from_document({**document, "host": "a", "\ud800": 1})
    assert json.dumps(run.to_dict()) == json.dumps(document)
    assert json.loads(run.to_json()) == document
    assert run.model_extra == {"host": "a", "\ufffd": 1}


def test_check_of_an_empty_object_names_every_required_key() -> None:
    """All six are told at once."""
    problems = check_run({})
    assert [problem.field for problem in problems] == [
        "pattern_run_id",
        "pattern_id",
        "job_id",
        "operation_kind",
        "status",
        "started_at",
    ]
    assert all(problem.value is MISSING and problem.rule == "a run must have it" for problem in problems)


@pytest.mark.parametrize(
    ("changes", "pointer", "rule"),
    [
        ({"status": "done"}, "/status", "it must be one of pending, in_progress, success, failed, warning, skipped"),
        ({"started_at": "now"}, "/started_at", "it must be RFC 3339 in UTC, years 1970 to 2199"),
        ({"duration_seconds": "1"}, "/duration_seconds", "it must be a number"),
        ({"metrics": {"total_ms": True}}, "/metrics", "its total_ms must be a number"),
        ({"metrics": []}, "/metrics", "it must be an object"),
        ({"tool_metadata": {"command": ["a"]}}, "/tool_metadata", "its command must be a string"),
        ({"error": {"exit_code": None}}, "/error", "its exit_code must be an integer"),
        ({"error": {"message": 1}}, "/error", "its message must be a string"),
        ({"events": ["EVT-1", "EVT-"]}, "/events/1", None),
        ({"artifacts": [1]}, "/artifacts/0", None),
        ({"pattern_version": None}, "/pattern_version", "it must be a string"),
    ],
)
def test_check_of_one_wrong_value_points_to_it(changes: dict[str, Any], pointer: str, rule: str | None) -> None:
    """The pointer leads to the value, the rule says what it has to be."""
    (problem,) = check_run(run_document(**changes))
    assert problem.pointer == pointer
    assert rule is None or problem.rule == rule
    assert problem.fix


@pytest.mark.parametrize("document", [None, [], "text", 1])
def test_document_that_is_no_object_is_refused(document: object) -> None:
    """Anything that is not a JSON object is no run."""
    with pytest.raises(InvalidRunError, match="a run must be a JSON object"):
        PatternRun.from_document(document)

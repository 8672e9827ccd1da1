"""The fold, sentence by sentence of design section 4."""

import json
from itertools import permutations
from typing import Any

import pytest

from otel_patterns.errors import OtelPatternsError
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import fold, fold_run, in_order
from otel_patterns.model.outline import ABANDONED, order_key
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import START_UNIX_NANO
from tests.documents import DETAILS, JOB_ID, PATTERN_ID, RUN_ID, STEP_ID, event_document, make_event, make_events

S, R, SF, T, V, VC, VF, X, XC, XF = names.EVENT_TYPES
NO_TEXTS: list[str] = []


def at(seconds: float) -> str:
    """Return the timestamp so many seconds after the fake clock's start."""
    return format_timestamp(START_UNIX_NANO + round(seconds * 1e9))


def folded(*steps: tuple[Any, ...]) -> dict[str, Any]:
    """Return the run of events given as `(event_type, at_seconds)`, or with details as a third."""
    return fold_run(make_events(*steps)).to_dict()


def test_fold_of_a_whole_run_has_every_part() -> None:
    """A run with all stages and all details, as the store and the panel get it."""
    run = folded(
        *((event_type, second, DETAILS[event_type]) for second, event_type in enumerate([S, R, T, V, VC, X, XC]))
    )
    assert run == {
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "job_id": JOB_ID,
        "operation_kind": "semgrep_scan",
        "status": "success",
        "started_at": at(5),
        "pattern_version": "1.2.0",
        "step_id": None,
        "finished_at": at(6),
        "duration_seconds": 1.0,
        "inputs": {"target": "src/"},
        "outputs": {"exit_code": 0, "duration_seconds": 1.5, "finding_count": 12},
        "artifacts": ["report.json"],
        "events": [f"EVT-{number:026d}" for number in range(1, 8)],
        "metrics": {
            "selection_ms": 1000.0,
            "template_expansion_ms": 1000.0,
            "validation_ms": 1000.0,
            "execution_ms": 1000.0,
            "total_ms": 6000.0,
        },
        "tool_metadata": {
            "command": "semgrep scan src/",
            "executor": "subprocess",
            "tool_name": "semgrep",
            "tool_version": "1.100.0",
        },
        "error": None,
    }


# Order and duplicates.


def test_events_are_ordered_by_time_then_lifecycle_then_id() -> None:
    """Time counts as a number, events of one instant keep the lifecycle, and only then ids decide."""
    events = [
        make_event(X, 1.0, number=9),
        make_event(X, 1.0, number=10),
        make_event(XC, 1.0, number=1),
        make_event("deploy", 1.0, number=0),
        make_event(S, 1.1, number=2),
    ]
    for order in permutations(events):
        assert in_order(order) == events
    assert [order_key(event)[1:] for event in events[:2]] == [(7, events[0].event_id), (7, events[1].event_id)]


def test_times_are_compared_as_numbers_not_as_text() -> None:
    """`.5Z`, `.500000Z` and `+00:00` are ways to write one instant."""
    texts = ["2026-11-22T09:30:00+00:00", "2026-11-22T09:30:00.0000001Z", "2026-11-22T09:30:00.5Z"]
    texts.append("2026-11-22T09:30:00.500000001+00:00")
    events = [make_event(X, number=9 - index, timestamp=text) for index, text in enumerate(texts)]
    assert in_order(reversed(events)) == events


def test_duplicates_by_id_are_dropped() -> None:
    """At-least-once delivery and overlapping segments change nothing."""
    events = make_events((X, 0), (XC, 1))
    assert fold_run([*events, *events, events[0]]) == fold_run(events)


def test_conflicting_copies_resolve_to_the_same_one_in_any_order() -> None:
    """Of two events with one id the earlier counts, then the lower rank, then the smaller line."""
    copies = [
        make_event(XC, 1, number=1, details={"exit_code": 0}),
        make_event(XC, 1, number=1, details={"exit_code": 1}),
        make_event(XF, 1, number=1),
        make_event(XF, 2, number=1),
    ]
    for order in permutations(copies):
        assert in_order(order) == [copies[0]]


def test_conflicting_copies_that_python_calls_equal_resolve_alike() -> None:
    """1, 1.0 and true are equal to Python and differ in JSON: the run must not depend on which was read first."""
    copies = [make_event(XC, number=1, details={"exit_code": value}) for value in (1, 1.0, True)]
    assert copies[0] == copies[1] == copies[2]
    assert len({fold_run(order).to_json() for order in permutations(copies)}) == 1


def test_late_event_is_folded_as_if_it_had_come_in_time() -> None:
    """The start may arrive after the end."""
    start, end = make_events((X, 0, {"command": "make"}), (XC, 2))
    late, timely = fold_run([end, start]), fold_run([start, end])
    assert late == timely
    assert late.started_at == at(0)
    assert late.tool_metadata == {"command": "make"}


def test_fold_of_many_runs_separates_them_in_order_of_their_first_events() -> None:
    """Interleaved runs fold apart; they come by first time, then run id."""
    events = [
        make_event(X, 1, number=1, pattern_run_id="PRUN-b"),
        make_event(X, 0, number=2, pattern_run_id="PRUN-c"),
        make_event(X, 1, number=3, pattern_run_id="PRUN-a"),
        make_event(XC, 2, number=4, pattern_run_id="PRUN-c"),
    ]
    runs = fold(events)
    assert list(runs) == ["PRUN-c", "PRUN-a", "PRUN-b"]
    assert [run.status for run in runs.values()] == ["success", "in_progress", "in_progress"]
    assert runs["PRUN-c"].events == [events[1].event_id, events[3].event_id]
    assert fold([]) == {}


def test_fold_of_no_events_raises() -> None:
    """There is no run without an event."""
    with pytest.raises(OtelPatternsError, match="at least one event"):
        fold_run([])


# Operation kind and version.


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(S, 0, {"operation_kind": "a"}), (R, 1, {"operation_kind": "b"})], "a"),
        ([(S, 0), (R, 1, {"operation_kind": "b"})], "b"),
        ([(S, 0, {"operation_kind": ""}), (R, 1, {"operation_kind": "b"})], "b"),
        ([(S, 0, {"operation_kind": None}), (R, 1, {"operation_kind": ["c"]})], "unknown"),
        ([(S, 0, {"otel": {"operation_kind": "recorded"}}), (R, 1, {"operation_kind": "b"})], "b"),
        ([(X, 0), (XC, 1, {"otel": {"operation_kind": "recorded"}})], "recorded"),
        ([(X, 0, {"otel": "text"})], "unknown"),
        ([(X, 0)], "unknown"),
    ],
)
def test_operation_kind_is_the_first_named_else_the_recorded_else_unknown(
    steps: list[tuple[Any, ...]], expected: str
) -> None:
    """An event's own word counts before what the writing process recorded."""
    assert folded(*steps)["operation_kind"] == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(T, 0, {"template_version": "1"}), (X, 1, {"otel": {"pattern_version": "2"}})], "1"),
        ([(T, 0, {"template_version": 3}), (X, 1, {"otel": {"pattern_version": "2"}})], "2"),
    ],
)
def test_pattern_version_is_the_templates_else_the_recorded(steps: list[tuple[Any, ...]], expected: str) -> None:
    """The version is found like the operation kind."""
    assert folded(*steps)["pattern_version"] == expected


def test_pattern_version_that_nobody_tells_is_left_out() -> None:
    """The schema of a run has no null version."""
    assert "pattern_version" not in folded((X, 0))


# Status.


@pytest.mark.parametrize(
    ("event_types", "expected"),
    [
        ((S,), "pending"),
        ((S, R, T, V, VC), "pending"),
        (("deploy",), "pending"),
        ((S, X), "in_progress"),
        ((X, XC), "success"),
        ((XC,), "success"),
        ((X, XF), "failed"),
        ((S, SF), "failed"),
        ((V, VF), "failed"),
        ((X, XF, "pattern.execution.paused"), "failed"),
    ],
)
def test_status_follows_from_the_events(event_types: tuple[str, ...], expected: str) -> None:
    """Pending until the execution starts, in progress until a terminal event, then how it ended."""
    assert folded(*((event_type, second) for second, event_type in enumerate(event_types)))["status"] == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("success", "success"),
        ("warning", "warning"),
        ("skipped", "skipped"),
        ("failed", "failed"),
        ("in_progress", "success"),
    ],
)
def test_status_of_a_completed_run_is_what_the_event_says(said: str, expected: str) -> None:
    """A tool may have done its work with reservations; a status that is none of an end means success."""
    assert fold_run([make_event(X), make_event(XC, 1, number=1, status=said)]).status == expected


@pytest.mark.parametrize("event_type", [SF, VF, XF])
@pytest.mark.parametrize("said", names.EVENT_STATUSES)
def test_status_of_a_failed_run_is_failed_whatever_the_event_says(event_type: str, said: str) -> None:
    """The type of a failing event counts, not its status."""
    assert fold_run([make_event(event_type, status=said)]).status == "failed"


def test_last_terminal_event_ends_the_run() -> None:
    """A retry under one run id ends with its last end."""
    run = folded((X, 0), (XF, 1, {"error_type": "tool_error"}), (X, 2), (XC, 3))
    assert (run["status"], run["finished_at"], run["error"]) == ("success", at(3), None)


@pytest.mark.parametrize("own", [(XC, 1), (XF, 1, {"error_type": "tool_error"}), (SF, 1)])
@pytest.mark.parametrize("abandoned_at", [0.5, 2])
def test_own_end_counts_before_abandoned(own: tuple[Any, ...], abandoned_at: float) -> None:
    """When another process took a run for dead and it ended all the same, its own word counts."""
    run = folded((X, 0), own, (XF, abandoned_at, {"error_type": ABANDONED}))
    assert run["finished_at"] == at(1)
    assert run["error"] is None or run["error"]["type"] != ABANDONED


def test_abandoned_run_without_an_end_of_its_own_has_failed() -> None:
    """If nothing else ended it, the crash finaliser's word counts."""
    run = folded((X, 0), (XF, 5, {"error_type": ABANDONED, "error_message": "its process is gone"}))
    assert run["status"] == "failed"
    assert run["error"] == {"type": "abandoned", "message": "its process is gone"}


# Times.


def test_start_is_the_first_event_until_the_execution_starts() -> None:
    """started_at moves to execution.started when that comes."""
    assert folded((S, 0), (R, 1))["started_at"] == at(0)
    assert folded((S, 0), (R, 1), (X, 2), (X, 3))["started_at"] == at(2)


def test_times_of_a_running_run_are_open() -> None:
    """Without a terminal event there is no end, no duration and no total."""
    run = folded((S, 0), (X, 1))
    assert (run["finished_at"], run["duration_seconds"], run["error"], run["metrics"]) == (None, None, None, {})


def test_duration_is_the_difference_of_event_times() -> None:
    """The details' own duration_seconds is an output, not the run's duration."""
    run = folded((S, 0), (X, 1), (XC, 3.5, {"duration_seconds": 99}))
    assert run["duration_seconds"] == 2.5
    assert run["outputs"] == {"duration_seconds": 99}


def test_duration_is_never_negative() -> None:
    """With a skewed clock the end may lie before the start."""
    run = folded((X, 5), (XC, 2))
    assert run["duration_seconds"] == 0.0
    assert (run["started_at"], run["finished_at"]) == (at(5), at(2))
    assert run["metrics"] == {"total_ms": 0.0}


def test_metrics_add_up_repeated_stages() -> None:
    """Two validations count together, the total runs from the first event to the end."""
    run = folded((V, 0), (VC, 1), (V, 2), (VC, 2.5), (X, 3), (XC, 4), (VC, 9))
    assert run["metrics"] == {"validation_ms": 1500.0, "execution_ms": 1000.0, "total_ms": 4000.0}


def test_metrics_are_exact_below_a_millisecond() -> None:
    """Milliseconds with fractions, from nanoseconds."""
    assert folded((X, 0), (XC, 0.000_001))["metrics"] == {"execution_ms": 0.001, "total_ms": 0.001}


# What the details tell.


def test_identity_comes_from_the_events() -> None:
    """The pattern is the resolved one, the step the first that is told."""
    events = [
        make_event(S, 0, number=1, pattern_id="PAT-ANY"),
        make_event(R, 1, number=2, pattern_id="PAT-CHOSEN", step_id=STEP_ID),
        make_event(X, 2, number=3, pattern_id="PAT-OTHER", step_id="STEP-2"),
    ]
    run = fold_run(events)
    assert (run.pattern_id, run.step_id, run.job_id) == ("PAT-CHOSEN", STEP_ID, JOB_ID)
    assert fold_run(events[:1]).pattern_id == "PAT-ANY"


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(R, 0, {"inputs_preview": {"a": 1}})], {"a": 1}),
        ([(R, 0, {"inputs_preview": {"a": 1}}), (R, 1, {"inputs_preview": {"b": 2}})], {"b": 2}),
        ([(R, 0, {"inputs_preview": {"a": 1}}), (R, 1, {"inputs_preview": "text"})], {"a": 1}),
        ([(X, 0, {"inputs_preview": {"a": 1}})], {}),
    ],
)
def test_inputs_are_the_preview_of_the_resolved_selection(steps: list[tuple[Any, ...]], expected: Any) -> None:
    """The last preview that is an object counts; other types of event tell no inputs."""
    assert folded(*steps)["inputs"] == expected


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(T, 0, {"generated_artifacts": ["a"]}), (T, 1, {"generated_artifacts": ["b"]})], ["a", "b"]),
        ([(T, 0, {"generated_artifacts": ["a"]}), (XC, 1, {"artifacts": ["c"]})], ["c"]),
        ([(T, 0, {"generated_artifacts": ["a"]}), (XC, 1, {"artifacts": NO_TEXTS})], ["a"]),
        ([(T, 0, {"generated_artifacts": ["a"]}), (XC, 1, {"artifacts": None})], ["a"]),
        ([(XC, 0, {"artifacts": "one.json"})], ["one.json"]),
        ([(XC, 0, {"artifacts": ["a", None, 1, {"b": 2}]})], ["a", "1", '{"b":2}']),
        ([(XC, 0, {"artifacts": {"a": 1}})], NO_TEXTS),
        ([(XF, 0, {"artifacts": ["a"]})], NO_TEXTS),
    ],
)
def test_artifacts_are_the_generated_ones_until_the_end_lists_its_own(
    steps: list[tuple[Any, ...]], expected: list[str]
) -> None:
    """An end that lists none leaves those of the template; wrongly typed ones become text."""
    assert folded(*steps)["artifacts"] == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ((XC, 1, {"exit_code": 0, "result_summary": {"findings": 3}}), {"exit_code": 0, "findings": 3}),
        ((XC, 1, {"exit_code": 0, "result_summary": {"exit_code": 9}}), {"exit_code": 0}),
        ((XC, 1, {"result_summary": ["a"]}), {"result_summary": ["a"]}),
        ((XC, 1, {"result_summary": None}), {}),
        ((XF, 1, {"exit_code": None, "stdout_preview": "a"}), {"exit_code": None}),
        ((VF, 1, {"exit_code": 3}), {}),
        ((S, 1, {"exit_code": 3}), {}),
    ],
)
def test_outputs_are_exit_code_duration_and_summary_of_the_end(step: tuple[Any, ...], expected: dict[str, Any]) -> None:
    """Only the terminal event of the execution tells outputs; the summary never hides the exit code."""
    assert folded((X, 0), step)["outputs"] == expected


def test_tool_metadata_are_those_of_the_start() -> None:
    """Later starts replace what they tell; what is no text becomes text."""
    run = folded(
        (X, 0, {"command": "a", "executor": "subprocess", "working_dir": "/"}),
        (X, 1, {"command": ["b", "-c"], "tool_name": None, "tool_version": 2}),
        (XC, 2, {"command": "c"}),
    )
    assert run["tool_metadata"] == {"command": '["b","-c"]', "executor": "subprocess", "tool_version": "2"}


@pytest.mark.parametrize(
    ("event_type", "details", "expected"),
    [
        (
            XF,
            DETAILS[XF],
            {"type": "tool_error", "message": "bad rule", "exit_code": 2, "stdout": "", "stderr": "bad rule"},
        ),
        (XF, {}, {"type": "execution_failed"}),
        (XF, {"error_type": None, "error_message": None, "exit_code": None}, {"type": "execution_failed"}),
        (XF, {"error_message": ["a"], "exit_code": "1"}, {"type": "execution_failed", "message": '["a"]'}),
        (XF, {"exit_code": 2.0}, {"type": "execution_failed", "exit_code": 2}),
        (XF, {"exit_code": True}, {"type": "execution_failed"}),
        (XF, {"exit_code": float("inf")}, {"type": "execution_failed"}),
        (SF, DETAILS[SF], {"type": "selection_failed", "message": "none of 1 fits"}),
        (SF, {"reason": "no pattern fits"}, {"type": "selection_failed", "message": "no pattern fits"}),
        (SF, {}, {"type": "selection_failed"}),
        (VF, DETAILS[VF], {"type": "validation_failed", "message": "tool_exists: semgrep is not on PATH"}),
        (
            VF,
            {"failed_checks": [{"check": "a", "error": "b"}, "c", {"check": 1}, None]},
            {"type": "validation_failed", "message": "a: b; c; 1: None"},
        ),
        (VF, {"failed_checks": "text"}, {"type": "validation_failed", "message": "text"}),
        (VF, {"failed_checks": []}, {"type": "validation_failed"}),
        (VF, {}, {"type": "validation_failed"}),
    ],
)
def test_error_is_what_the_failing_event_tells(
    event_type: str, details: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Type, message, exit code, stdout and stderr, as far as they are told, whatever their JSON types."""
    assert folded((event_type, 1, details))["error"] == expected


def test_error_of_a_completed_run_exists_only_when_it_says_failed() -> None:
    """A tool that ran and found something bad has failed without an execution.failed."""
    failed = make_event(XC, 1, status="failed", details={"exit_code": 1, "error_message": "3 findings"})
    assert fold_run([failed]).error == {"type": "tool_error", "message": "3 findings", "exit_code": 1}
    assert fold_run([make_event(XC, 1, status="warning", details={"exit_code": 1})]).error is None


def test_fold_of_a_rebuilt_log_equals_the_fold_made_live() -> None:
    """Times come from events: folding later, from the journal's lines, gives the same bytes."""
    events = [
        make_event(event_type, second, number=second, details=DETAILS[event_type])
        for second, event_type in enumerate([S, R, T, V, VC, X, XF])
    ]
    rebuilt = [PatternEvent.from_document(json.loads(event.to_line())) for event in events]
    assert fold_run(rebuilt).to_json() == fold_run(events).to_json()


def test_fold_leaves_the_events_as_they_are() -> None:
    """What is done to a folded run never reaches the events it came from."""
    events = [
        PatternEvent.model_validate(event_document(event_type, event_id=f"EVT-{event_type}")) for event_type in (R, XC)
    ]
    lines = [event.to_line() for event in events]
    run = fold_run(events)
    run.artifacts.append("more")
    run.outputs["more"] = 1
    run.inputs["more"] = 1
    assert [event.to_line() for event in events] == lines


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": [float("inf")]}, 10**400])
def test_run_with_damaged_details_is_written_as_json(value: Any) -> None:
    """What a foreign log may hold beside JSON never makes a run unprintable."""
    text = fold_run([make_event(XC, details={"result_summary": {"value": value}})]).to_json()
    assert "value" in json.loads(text.encode("utf-8"))["outputs"]

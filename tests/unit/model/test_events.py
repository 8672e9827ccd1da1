"""`PatternEvent`: made by a caller, written as a line, read from a log."""

import copy
import json
import pickle
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from otel_patterns.errors import InvalidEventError
from otel_patterns.model import names
from otel_patterns.model.encoding import encode_json
from otel_patterns.model.events import PatternEvent, check_strict
from otel_patterns.testing import START_UNIX_NANO, FakeClock
from tests.documents import DETAILS, JOB_ID, PATTERN_ID, RUN_ID, STEP_ID, event_document, make_event


class Status(Enum):
    """An engine's own enum."""

    SUCCESS = "success"


def created(clock: FakeClock | None = None, **changes: Any) -> PatternEvent:
    """Create an event as an engine does."""
    arguments: dict[str, Any] = {
        "event_type": names.EXECUTION_STARTED,
        "job_id": JOB_ID,
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "status": "in_progress",
        **changes,
    }
    return PatternEvent.create(**arguments, clock=clock or FakeClock())


def test_created_event_has_a_fresh_id_and_the_present_time() -> None:
    """The id is a ULID of the clock's time, the timestamp has microseconds and Z, details are an empty object."""
    event = created()
    assert event.to_dict() == {
        "event_id": "EVT-01M819EKE00000000000000001",
        "event_type": "pattern.execution.started",
        "timestamp": "2026-11-22T09:30:00.000000Z",
        "job_id": JOB_ID,
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "status": "in_progress",
        "details": {},
        "step_id": None,
    }
    assert event.time_unix_nano == START_UNIX_NANO


def test_created_events_of_one_instant_have_rising_ids() -> None:
    """Event ids are monotonic within a process, also when the clock stands still or goes back."""
    clock = FakeClock()
    ids = [created(clock).event_id for _ in range(3)]
    clock.unix_nano -= 10**9
    ids.append(created(clock).event_id)
    clock.advance(2.0)
    ids.append(created(clock).event_id)
    assert ids == sorted(set(ids))


def test_created_event_of_another_time_has_that_timestamp() -> None:
    """A caller may say when it happened."""
    event = created(time_unix_nano=1_000)
    assert event.timestamp == "1970-01-01T00:00:00.000001Z"
    assert event.time_unix_nano == 1_000


def test_created_event_takes_any_python_values() -> None:
    """Details are converted, and enums may stand for the words, as engines have them."""
    event = created(status=Status.SUCCESS, details={"path": Path("a"), 1: b"\xff", "error": ValueError("bad")})
    assert event.status == "success"
    assert event.details == {"path": "a", "1": "\\xff", "error": "ValueError: bad"}


def test_created_event_does_not_share_details_with_the_caller() -> None:
    """What the engine does to its dict later does not change the event."""
    details: dict[str, Any] = {"artifacts": ["a"]}
    event = created(details=details)
    details["artifacts"].append("b")
    assert event.details == {"artifacts": ["a"]}


def test_event_is_immutable() -> None:
    """An event is a fact: no field can be set."""
    with pytest.raises(ValidationError):
        created().status = "failed"


@pytest.mark.parametrize(
    ("changes", "field", "rule", "fix"),
    [
        (
            {"details": "semgrep_scan"},
            "details",
            "it must be an object",
            'Pass a dict, like {"operation_kind": "semgrep_scan"}.',
        ),
        (
            {"details": ["a"]},
            "details",
            "it must be an object",
            'Pass a dict, like {"operation_kind": "semgrep_scan"}.',
        ),
        (
            {"event_type": "pattern.execution.complete"},
            "event_type",
            "it must be a known event type",
            "Did you mean 'pattern.execution.completed'?",
        ),
        (
            {"event_type": "deploy"},
            "event_type",
            "it must be a known event type",
            f"Use one of {', '.join(names.EVENT_TYPES)}.",
        ),
        (
            {"job_id": "TEST-001"},
            "job_id",
            "it must be JOB- and 1 to 128 of letters, digits, dot, underscore or hyphen",
            "Use JOB-<ULID>, or JOB- and an id of your own.",
        ),
        (
            {"pattern_run_id": "PRUN-../../etc"},
            "pattern_run_id",
            "it must be PRUN- and 1 to 128 of letters, digits, dot, underscore or hyphen",
            "Use PRUN-<ULID>, or PRUN- and an id of your own.",
        ),
        (
            {"step_id": ""},
            "step_id",
            "it must be STEP- and 1 to 128 of letters, digits, dot, underscore or hyphen",
            "Use STEP-<ULID>, or STEP- and an id of your own, or null.",
        ),
        (
            {"pattern_id": "PAT-semgrep"},
            "pattern_id",
            "it must be PAT- and upper-case letters, digits or hyphens",
            "Write it like PAT-SEMGREP-001.",
        ),
        (
            {"status": "sucess"},
            "status",
            "it must be one of in_progress, success, failed, warning, skipped",
            "Did you mean 'success'?",
        ),
        (
            {"status": 7},
            "status",
            "it must be one of in_progress, success, failed, warning, skipped",
            "Choose the one that fits.",
        ),
        (
            {"time_unix_nano": -1},
            "timestamp",
            "it must be RFC 3339 in UTC, years 1970 to 2199",
            "Write it like 2026-11-22T09:30:00.000000Z, with Z or +00:00.",
        ),
    ],
)
def test_create_with_a_wrong_argument_raises_field_value_rule_and_fix(
    changes: dict[str, Any], field: str, rule: str, fix: str
) -> None:
    """The caller is told what is wrong, what was found, what it has to be, and what to do about it."""
    with pytest.raises(InvalidEventError) as caught:
        created(**changes)
    error = caught.value
    assert (error.field, error.rule, error.fix) == (field, rule, fix)
    value = changes.get(field, "1969-12-31T23:59:59.999999Z")
    assert error.value == value
    assert str(error) == f"{field} is {value!r}: {rule}. {fix}"
    assert len(error.problems) == 1


def test_timestamp_without_a_zone_raises_with_the_form_to_use() -> None:
    """A time without a zone means something else on every machine."""
    with pytest.raises(InvalidEventError) as caught:
        PatternEvent.model_validate(event_document(timestamp="2026-11-22T09:30:00"))
    assert caught.value.field == "timestamp"
    assert caught.value.value == "2026-11-22T09:30:00"
    assert caught.value.rule == "it must be RFC 3339 in UTC, years 1970 to 2199"
    assert caught.value.fix == "Write it like 2026-11-22T09:30:00.000000Z, with Z or +00:00."


def test_event_with_several_mistakes_raises_them_all() -> None:
    """One error lists everything, so that a caller mends all at once."""
    with pytest.raises(InvalidEventError) as caught:
        created(job_id=None, status="done", details=3)
    assert [problem.field for problem in caught.value.problems] == ["job_id", "status", "details"]
    assert str(caught.value) == "; ".join(map(str, caught.value.problems))


@pytest.mark.parametrize("document", [None, [], "text", 1, b"{}"])
def test_document_that_is_no_object_raises_invalid_event(document: object) -> None:
    """Anything that is not a JSON object is refused by the same error."""
    with pytest.raises(InvalidEventError, match="an event must be a JSON object") as caught:
        PatternEvent.from_document(document)
    assert caught.value.field == "document"


def test_document_with_an_unknown_event_type_is_read_but_not_created() -> None:
    """Logs of newer or other writers stay readable; a caller's typo is refused."""
    document = event_document("pattern.execution.paused", details={})
    assert PatternEvent.from_document(document).event_type == "pattern.execution.paused"
    with pytest.raises(InvalidEventError):
        PatternEvent.model_validate(document)


def test_document_with_other_keys_keeps_them_but_never_writes_them() -> None:
    """Readers in the field construct objects from exactly nine keys; others are kept in memory only."""
    event = PatternEvent.from_document({"host": "a", **event_document(), "\ud800": 1})
    assert event.model_extra == {"host": "a", "\ufffd": 1}
    assert list(event.to_dict()) == list(names.EVENT_KEYS)
    assert list(json.loads(event.to_line())) == list(names.EVENT_KEYS)


def test_document_without_a_step_is_read_as_null() -> None:
    """step_id is the one key that may be left out."""
    document = event_document()
    del document["step_id"]
    assert PatternEvent.from_document(document).step_id is None


def test_line_has_the_keys_in_order_without_spaces_and_one_newline() -> None:
    """The canonical form: what is written for an event never depends on how its document was ordered."""
    document = event_document(names.EXECUTION_STARTED, step_id=STEP_ID, details={"z": 1, "a": "é"})
    event = PatternEvent.from_document(dict(reversed(document.items())))
    assert (
        event.to_line()
        == (
            '{"event_id":"EVT-01KANBQ8M00000000000000001","event_type":"pattern.execution.started",'
            '"timestamp":"2026-11-22T09:30:00.000000Z","job_id":"JOB-01KANBQ8M00000000000000003",'
            '"pattern_run_id":"PRUN-01KANBQ8M00000000000000002","pattern_id":"PAT-SEMGREP-001",'
            '"status":"in_progress","details":{"z":1,"a":"é"},"step_id":"STEP-01KANBQ8M00000000000000004"}\n'
        ).encode()
    )


@pytest.mark.parametrize("event_type", names.EVENT_TYPES)
def test_line_read_back_is_the_same_event(event_type: str) -> None:
    """to_json and from_document are inverse, for every event type."""
    event = PatternEvent.model_validate(event_document(event_type))
    again = PatternEvent.from_document(json.loads(event.to_json()))
    assert again == event
    assert again.to_json() == event.to_json()
    assert event.to_line() == f"{event.to_json()}\n".encode()


@pytest.mark.parametrize(
    "text", ["\u2028", "\u2029", "\x85", "\x9b31m", "\x80\x9f", "\x7f", "\x1b[2J", "\n\r\t\x00", "a\u2028b\x7fc\x9bd"]
)
def test_line_holds_no_raw_line_separator_or_control(text: str) -> None:
    """Readers that split at other separators see one line, and `tail` on a terminal obeys nothing in it."""
    event = created(details={"output": text, text: 1})
    line = event.to_line()
    assert len(line[:-1].decode().splitlines()) == 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in line[:-1].decode())
    assert PatternEvent.from_document(json.loads(line)) == event


@pytest.mark.parametrize("text", ["é", "\u00a0", "\u2027\u202a", "\U0001f600", "\u00c2\u00a8", "\u203a"])
def test_line_keeps_other_characters_as_they_are(text: str) -> None:
    """Only what is risky is escaped: neighbours of it in UTF-8 stay readable."""
    assert text.encode() in created(details={"output": text}).to_line()


def test_line_of_a_damaged_document_is_utf8_all_the_same() -> None:
    """Lone surrogates, infinite numbers and depth in a foreign log never make writing fail."""
    deep: Any = []
    for _ in range(1_000):
        deep = [deep]
    for value in ("\ud800", float("inf"), float("-inf"), float("nan"), 10**400, deep, {"\udfff": ["\ud800"]}):
        line = PatternEvent.from_document(event_document(details={"value": value})).to_line()
        json.loads(line.decode("utf-8"), parse_constant=pytest.fail)


def test_encode_json_is_compact_utf8() -> None:
    """No spaces, no ASCII escapes, infinities as words."""
    assert encode_json({"a": [1, "é", None, float("inf")]}) == '{"a":[1,"é",null,"Infinity"]}'.encode()
    assert encode_json({"\ud800": "\ud800"}) == '{"\ufffd":"\ufffd"}'.encode()


def test_event_properties_follow_from_its_type() -> None:
    """Rank, stage and terminal are functions of the event type; an unknown type ranks last."""
    events = [make_event(event_type) for event_type in (*names.EVENT_TYPES, "pattern.cleanup.done", "deploy")]
    assert [event.rank for event in events] == [*range(10), 10, 10]
    assert [event.stage for event in events] == [
        *["selection"] * 3,
        "template",
        *["validation"] * 3,
        *["execution"] * 3,
        "cleanup",
        "deploy",
    ]
    assert [event.event_type for event in events if event.is_terminal] == [
        "pattern.selection.failed",
        "pattern.validation.failed",
        "pattern.execution.completed",
        "pattern.execution.failed",
    ]


@pytest.mark.parametrize(("recorded", "expected"), [({"v": 1}, {"v": 1}), (None, {}), ("text", {}), ([], {})])
def test_otel_of_an_event_is_an_object_whatever_was_recorded(recorded: Any, expected: dict[str, Any]) -> None:
    """A foreign log may hold anything under `otel`; projections get an object."""
    assert make_event("deploy", details={"otel": recorded}).otel == expected
    assert make_event("deploy").otel == {}


def test_check_strict_of_a_lenient_event_tells_what_is_missing() -> None:
    """An event that emission accepts may still break the guide's table."""
    assert check_strict(PatternEvent.model_validate(event_document())) == []
    fields = [problem.field for problem in check_strict(created(details={"executor": None}))]
    assert fields == ["details.executor", "details.command"]
    assert check_strict(make_event("deploy")) == []


def test_event_can_be_copied_pickled_and_nested() -> None:
    """An event is a plain value: it goes through queues and into other models."""

    class Page(BaseModel):
        event: PatternEvent

    event = created(details=DETAILS[names.EXECUTION_STARTED])
    assert event.time_unix_nano == START_UNIX_NANO
    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event
    assert Page(event=event).event == event
    assert event.model_copy(update={"details": {}}).details == {}

"""The schema files, the traps in which a schema and a model part ways, and the seed schemas of the field."""

import json
from collections import Counter
from typing import Any

import pytest

from otel_patterns.model import names
from otel_patterns.model.details import DETAILS
from otel_patterns.model.envelope import check_event
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import fold_run
from otel_patterns.model.runs import PatternRun, check_run
from otel_patterns.testing import FakeClock
from tests import documents
from tests.contract.print_schema import REGENERATE, printed_schemas
from tests.documents import event_document, run_document
from tests.schemas import LENIENT_EVENT, RUN, SEED_EVENT, SEED_RUN, STRICT_EVENT
from tests.traps import DETAIL_VALUES, EVENT_VALUES, EXTRA, RUN_VALUES, verdicts

# (key, value, accepted), and for details the event type before.
EVENT_TRAPS = [(key, *verdict) for key, values in EVENT_VALUES.items() for verdict in verdicts(values)]
DETAIL_TRAPS = [(*key, *verdict) for key, values in DETAIL_VALUES.items() for verdict in verdicts(values)]
RUN_TRAPS = [(key, *verdict) for key, values in RUN_VALUES.items() for verdict in verdicts(values)]


@pytest.mark.parametrize(("name", "text"), printed_schemas().items())
def test_schema_file_equals_what_the_model_prints(name: str, text: str) -> None:
    """The files in schema/ are the printed form of the model's schemas, byte for byte."""
    path = documents.SCHEMA / name
    assert path.read_text(encoding="utf-8") == text, f"{path} is out of date. Run: {REGENERATE}"


def test_schema_directory_holds_the_two_contracts_only() -> None:
    """Everything in schema/ goes into the wheel, so only the two contracts are there."""
    assert sorted(path.name for path in documents.SCHEMA.iterdir()) == sorted(printed_schemas())


@pytest.mark.parametrize(("key", "value", "accepted"), EVENT_TRAPS)
def test_event_trap_is_judged_alike_by_schema_and_model(key: str, value: Any, accepted: bool) -> None:
    """A value of the envelope that is refused leniently is refused strictly too, by check and schema."""
    # Details of all types together: the strict check then asks nothing but the envelope.
    details = {name: value for known in documents.DETAILS.values() for name, value in known.items()}
    document = {**event_document(details=details), key: value}
    assert (list(check_event(document, strict=True)) == []) is accepted
    assert (list(check_event(document)) == []) is accepted
    assert STRICT_EVENT.accepts(document) is accepted
    assert LENIENT_EVENT.accepts(document) is accepted


@pytest.mark.parametrize(("event_type", "name", "value", "accepted"), DETAIL_TRAPS)
def test_detail_trap_is_judged_alike_by_schema_and_model(
    event_type: str, name: str, value: Any, accepted: bool
) -> None:
    """A wrongly typed detail fails the strict check and schema, and neither of the lenient ones."""
    document = event_document(event_type)
    document["details"][name] = value
    assert (list(check_event(document, strict=True)) == []) is accepted
    assert STRICT_EVENT.accepts(document) is accepted
    assert list(check_event(document)) == []
    assert LENIENT_EVENT.accepts(document)


@pytest.mark.parametrize(("key", "value", "accepted"), RUN_TRAPS)
def test_run_trap_is_judged_alike_by_schema_and_model(key: str, value: Any, accepted: bool) -> None:
    """Schema and check of a run give the expected verdict."""
    document = run_document(**{key: value})
    assert (check_run(document) == []) is accepted
    assert RUN.accepts(document) is accepted


@pytest.mark.parametrize("event_type", names.EVENT_TYPES)
def test_event_with_empty_details_is_accepted_leniently_only(event_type: str) -> None:
    """Every event type requires some detail, and only the strict check and schema ask for it."""
    document = event_document(event_type, details={})
    assert list(check_event(document, strict=True))
    assert not STRICT_EVENT.accepts(document)
    assert list(check_event(document)) == []
    assert LENIENT_EVENT.accepts(document)


@pytest.mark.parametrize("key", EXTRA)
def test_document_with_another_key_is_accepted_by_schema_and_model(key: str) -> None:
    """Keys of other writers do not make an event or a run invalid, whatever their names."""
    event, run = {**event_document(), key: EXTRA[key]}, {**run_document(), key: EXTRA[key]}
    assert STRICT_EVENT.accepts(event)
    assert PatternEvent.model_validate(event).to_dict() == event_document()
    assert RUN.accepts(run)
    assert PatternRun.from_document(run).to_dict() == {**run_document(), **({"error": None} if key == "error" else {})}


@pytest.mark.parametrize("document", [None, [], "text", 1, 1.5, True, [event_document()], [run_document()], {}])
def test_document_that_is_no_event_or_run_is_refused_by_schema_and_model(document: object) -> None:
    """Only an object with the required keys is an event or a run."""
    assert list(check_event(document))
    assert check_run(document)
    assert not STRICT_EVENT.accepts(document)
    assert not LENIENT_EVENT.accepts(document)
    assert not RUN.accepts(document)


@pytest.mark.parametrize("key", names.EVENT_KEYS)
def test_event_without_a_key_is_refused_unless_it_is_the_step(key: str) -> None:
    """Eight keys are required; step_id may be left out."""
    document = event_document()
    del document[key]
    accepted = key == "step_id"
    assert (list(check_event(document, strict=True)) == []) is accepted
    assert STRICT_EVENT.accepts(document) is accepted
    assert LENIENT_EVENT.accepts(document) is accepted


@pytest.mark.parametrize("key", run_document())
def test_run_without_a_key_is_refused_only_if_the_key_is_required(key: str) -> None:
    """Six keys of a run are required."""
    document = run_document()
    del document[key]
    accepted = key not in ("pattern_run_id", "pattern_id", "job_id", "operation_kind", "status", "started_at")
    assert (check_run(document) == []) is accepted
    assert RUN.accepts(document) is accepted


def test_traps_exercise_both_verdicts() -> None:
    """The lists above hold many accepted and many refused documents: neither verdict is tested by accident."""
    for traps in (EVENT_TRAPS, DETAIL_TRAPS, RUN_TRAPS):
        counts = Counter(accepted for *_, accepted in traps)
        assert min(counts[True], counts[False]) >= 40


def test_schema_has_details_for_every_event_type() -> None:
    """Every event type has an entry in the table of details, so none goes unchecked."""
    assert tuple(DETAILS) == names.EVENT_TYPES
    assert list(documents.DETAILS) == list(names.EVENT_TYPES)
    for event_type, details in DETAILS.items():
        assert {detail.name for detail in details} == set(documents.DETAILS[event_type])


@pytest.mark.parametrize("event_type", names.EVENT_TYPES)
@pytest.mark.parametrize("step", [None, "ULID"])
def test_event_with_ids_of_our_own_is_valid_under_the_seed_schema(event_type: str, step: str | None) -> None:
    """What we write by default is readable by those who validate with the schema the guide came with."""
    clock = FakeClock()
    event = PatternEvent.create(
        event_type,
        f"JOB-{clock.new_ulid()}",
        f"PRUN-{clock.new_ulid()}",
        documents.PATTERN_ID,
        "in_progress",
        documents.DETAILS[event_type],
        None if step is None else f"STEP-{clock.new_ulid()}",
        clock=clock,
    )
    # The seed lets step_id be null although its pattern is for strings: JSON Schema ignores the pattern then.
    assert SEED_EVENT.problems(json.loads(event.to_line())) == []
    assert STRICT_EVENT.problems(event.to_dict()) == []


def test_seed_schema_refuses_a_bad_event() -> None:
    """The seed schema as loaded here does check ids, statuses and times: its acceptance means something."""
    clock = FakeClock()
    event = PatternEvent.create(
        names.EXECUTION_STARTED,
        f"JOB-{clock.new_ulid()}",
        f"PRUN-{clock.new_ulid()}",
        documents.PATTERN_ID,
        "success",
        clock=clock,
    )
    for key, value in (("job_id", "JOB-TEST-001"), ("status", "pending"), ("timestamp", "2026-11-22T09:30:00")):
        assert len(SEED_EVENT.problems({**event.to_dict(), key: value})) == 1


def _created_run(clock: FakeClock) -> PatternRun:
    return PatternRun.create(
        documents.PATTERN_ID,
        f"JOB-{clock.new_ulid()}",
        "semgrep_scan",
        f"STEP-{clock.new_ulid()}",
        "1.2.0",
        clock=clock,
    )


def test_run_created_by_hand_is_valid_under_the_seed_schema_in_every_state() -> None:
    """PatternRun.create and its marks give documents that the seed schema and ours accept."""
    clock = FakeClock()
    pending, started, completed, failed = (_created_run(clock) for _ in range(4))
    for run in (started, completed, failed):
        clock.advance(0.25)
        run.mark_started(clock=clock)
    completed.mark_completed({"exit_code": 0, "path": documents.SEED}, ["report.json"], clock=clock)
    failed.mark_failed({"type": "tool_error", "message": b"bad", "exit_code": None, "stderr": None}, clock=clock)
    for run in (pending, started, completed, failed):
        document = json.loads(run.to_json())
        assert SEED_RUN.problems(document) == []
        assert RUN.problems(document) == []
        assert check_run(run.to_dict()) == []


@pytest.mark.parametrize("ends_with", [*sorted(names.TERMINAL_EVENT_TYPES), None])
def test_run_folded_is_valid_under_the_seed_schema(ends_with: str | None) -> None:
    """The fold of a run whose ids are ours is valid under the seed schema, however the run ends."""
    clock = FakeClock()
    run = _created_run(clock)
    event_types = [event_type for event_type in names.EVENT_TYPES if event_type not in names.TERMINAL_EVENT_TYPES]
    if ends_with is not None:
        event_types.append(ends_with)
    events: list[PatternEvent] = []
    for event_type in event_types:
        clock.advance(0.001)
        details = documents.DETAILS[event_type]
        events.append(
            PatternEvent.create(
                event_type,
                run.job_id,
                run.pattern_run_id,
                run.pattern_id,
                "in_progress",
                details,
                run.step_id,
                clock=clock,
            )
        )
    document = json.loads(fold_run(events).to_json())
    assert SEED_RUN.problems(document) == []
    assert RUN.problems(document) == []

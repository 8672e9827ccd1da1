"""The check of an event document: what it finds, in which order, and what it lets pass."""

from typing import Any

import pytest

from otel_patterns.errors import MISSING
from otel_patterns.model import names
from otel_patterns.model.envelope import check_event
from tests.documents import event_document


def fields(document: object, **options: bool) -> list[str]:
    """Return the fields that the check names."""
    return [problem.field for problem in check_event(document, **options)]


def test_check_of_a_good_event_finds_nothing() -> None:
    """A valid document passes every level of the check."""
    for event_type in names.EVENT_TYPES:
        assert fields(event_document(event_type), strict=True) == []


def test_check_of_an_empty_object_names_every_required_key() -> None:
    """All eight required keys are named at once, in the order in which they are written."""
    problems = list(check_event({}))
    assert [problem.field for problem in problems] == [key for key in names.EVENT_KEYS if key != "step_id"]
    for problem in problems:
        assert problem.value is MISSING
        assert str(problem) == f"{problem.field} is missing: an event must have it. Add {problem.field!r}."


@pytest.mark.parametrize("key", names.EVENT_KEYS)
@pytest.mark.parametrize("value", [7, True, 1.5, ["a"], {"a": 1}, "\n", ""])
def test_check_of_one_wrong_value_names_that_key_alone(key: str, value: Any) -> None:
    """A mistake in one key is told once, with its value and a fix."""
    if key == "details" and isinstance(value, dict):
        return
    (problem,) = check_event({**event_document(), key: value})
    assert problem.pointer == f"/{key}"
    assert problem.value == value
    assert problem.rule
    assert problem.fix.endswith((".", "?"))


@pytest.mark.parametrize("event_type", ["pattern.execution.paused", "deploy", "", "\ud800"])
def test_check_of_an_unknown_type_passes_for_readers_only(event_type: str) -> None:
    """known_types_only=False accepts any text, and asks no details of it."""
    document = event_document(event_type, details={"exit_code": "text"})
    assert fields(document) == ["event_type"]
    assert fields(document, known_types_only=False, strict=True) == []


def test_check_of_a_type_that_is_no_text_fails_for_readers_too() -> None:
    """Any text is a type, but nothing else is."""
    assert fields({**event_document(), "event_type": 1}, known_types_only=False) == ["event_type"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pattern.execution.complete", "pattern.execution.completed"),
        ("pattern.executon.started", "pattern.execution.started"),
        ("pattern.selection.start", "pattern.selection.started"),
        ("Pattern.Validation.Failed", "pattern.validation.failed"),
    ],
)
def test_check_of_a_mistyped_event_type_suggests_the_one_meant(typed: str, meant: str) -> None:
    """A typo is answered with the type it is nearest to."""
    (problem,) = check_event(event_document(typed, details={}))
    assert problem.fix == f"Did you mean {meant!r}?"


def test_check_without_strict_does_not_look_into_details() -> None:
    """Telemetry must not break the failure path it reports: wrongly typed details are no mistake of the envelope."""
    document = event_document(names.EXECUTION_FAILED, details={"error_message": None, "exit_code": "text"})
    assert fields(document) == []
    assert fields(document, strict=True) == ["details.exit_code", "details.error_type", "details.error_message"]

"""The details of each event type, against the table of the integration guide."""

from typing import Any

import pytest

from otel_patterns.errors import MISSING
from otel_patterns.model import names
from otel_patterns.model.details import DETAILS, check_details, is_integer, is_number
from tests.documents import DETAILS as GOOD
from tests.documents import guide_table
from tests.traps import DETAIL_VALUES, verdicts

GUIDE = guide_table()
REQUIRED = [(event_type, name) for event_type, required in GUIDE.items() for name in required]


def test_guide_table_has_every_event_type() -> None:
    """The table was found in the guide, and it has the ten event types in lifecycle order."""
    assert tuple(GUIDE) == names.EVENT_TYPES
    assert len(REQUIRED) == 23


@pytest.mark.parametrize("event_type", GUIDE)
def test_required_details_are_those_of_the_guide(event_type: str) -> None:
    """Strict asks for what the column "Required Details" says: no more, no less."""
    assert {detail.name for detail in DETAILS[event_type] if detail.required} == set(GUIDE[event_type])
    assert list(check_details(event_type, {name: GOOD[event_type][name] for name in GUIDE[event_type]})) == []


@pytest.mark.parametrize(("event_type", "name"), REQUIRED)
def test_missing_required_detail_is_told(event_type: str, name: str) -> None:
    """The problem names the detail, that it is missing, who requires it, and how to pass it."""
    details = {key: value for key, value in GOOD[event_type].items() if key != name}
    (problem,) = check_details(event_type, details)
    assert problem.pointer == f"/details/{name}"
    assert problem.value is MISSING
    (kind,) = (detail.kind for detail in DETAILS[event_type] if detail.name == name)
    assert problem.rule == f"{event_type} requires it, {kind.words}"
    assert problem.fix == f"Pass details={{{name!r}: …}}."


@pytest.mark.parametrize(
    ("event_type", "name"), [(event_type, name) for event_type, details in GOOD.items() for name in details]
)
def test_wrongly_typed_detail_is_told_whether_required_or_not(event_type: str, name: str) -> None:
    """Every known detail has a kind; a value of another kind is told with that kind in words."""
    wrong = True
    (problem,) = check_details(event_type, {**GOOD[event_type], name: wrong})
    assert problem.pointer == f"/details/{name}"
    assert problem.value is wrong
    assert problem.rule.removeprefix("it must be ") == problem.fix.removeprefix("Pass ").removesuffix(".")


@pytest.mark.parametrize(
    ("event_type", "name", "value", "accepted"),
    [(*key, *verdict) for key, values in DETAIL_VALUES.items() for verdict in verdicts(values)],
)
def test_detail_of_each_kind_accepts_what_it_should(event_type: str, name: str, value: Any, accepted: bool) -> None:
    """Each kind has values it accepts and values it refuses."""
    assert (list(check_details(event_type, {**GOOD[event_type], name: value})) == []) is accepted


def test_unknown_details_and_types_are_not_checked() -> None:
    """Details of an engine's own are always welcome."""
    assert list(check_details("deploy", {"exit_code": "text"})) == []
    assert list(check_details(names.EXECUTION_STARTED, {**GOOD[names.EXECUTION_STARTED], "mine": object()})) == []


@pytest.mark.parametrize(
    ("value", "number", "integer"),
    [
        (1, True, True),
        (-(10**400), True, True),
        (1.0, True, True),
        (1.5, True, False),
        (float("inf"), True, False),
        (float("nan"), True, False),
        (True, False, False),
        ("1", False, False),
        (None, False, False),
    ],
)
def test_numbers_are_those_of_json_schema(value: object, number: bool, integer: bool) -> None:
    """1.0 is an integer, true is no number."""
    assert is_number(value) is number
    assert is_integer(value) is integer

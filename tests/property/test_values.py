"""The rule of values never raises, and what comes out is JSON for every encoder."""

import json
from collections import OrderedDict, deque
from datetime import timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.values import to_json_object, to_json_value
from otel_patterns.testing import FakeClock
from tests.documents import PATTERN_ID
from tests.nasty import NASTY
from tests.property.strategies import json_values


def _nasty(index: int) -> Any:
    return NASTY[index]


_leaves: st.SearchStrategy[Any] = (
    st.integers(0, len(NASTY) - 1).map(_nasty)
    | json_values
    | st.binary(max_size=8)
    | st.floats()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.datetimes(timezones=st.none() | st.just(timezone.utc))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.ip_addresses()
)
# Not every value can be hashed, nor compared: keys come from a list of those that can.
_keys: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.sampled_from(["\ud800", (1,)])
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    mappings = st.dictionaries(_keys, inner, max_size=3)
    return (
        lists | lists.map(tuple) | lists.map(deque) | mappings | mappings.map(OrderedDict) | st.sets(_keys, max_size=4)
    )


any_values: st.SearchStrategy[Any] = st.recursive(_leaves, _containers, max_leaves=8)


@settings(max_examples=400)
@given(any_values)
def test_any_value_becomes_json(value: Any) -> None:
    """Whatever the value, json and pydantic encode what comes out alike, and the rule leaves that as it is."""
    converted = to_json_value(value)
    text = json.dumps(converted, allow_nan=False, ensure_ascii=False)
    assert json.loads(text) == json.loads(to_json(converted)) == converted
    assert json.dumps(to_json_value(converted), allow_nan=False, ensure_ascii=False) == text


@settings(max_examples=200)
@given(st.dictionaries(_keys, any_values, max_size=4))
def test_any_mapping_becomes_an_object_with_as_many_members(value: dict[Any, Any]) -> None:
    """No member is lost when keys become text, also when two of them become the same."""
    converted = to_json_object(value)
    assert len(converted) == len(value)
    assert json.loads(json.dumps(converted, allow_nan=False)) == converted


@settings(max_examples=200)
@given(st.dictionaries(_keys, any_values, max_size=4))
def test_event_with_any_details_is_one_line_of_json(details: dict[Any, Any]) -> None:
    """Details of any kind make an event whose line is UTF-8, holds one newline, and is read back as it was."""
    clock = FakeClock()
    event = PatternEvent.create(
        names.EXECUTION_COMPLETED, "JOB-1", "PRUN-1", PATTERN_ID, "success", details, clock=clock
    )
    line = event.to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    again = PatternEvent.from_document(json.loads(line))
    assert again == event
    assert again.to_line() == line

"""What is fast says the same as its slow twin."""

import copy
import json
import pickle
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from otel_patterns.clock import Clock, encode_ulid
from otel_patterns.errors import InvalidEventError
from otel_patterns.model import names
from otel_patterns.model.details import check_details, fits_details
from otel_patterns.model.encoding import encode_converted, encode_line
from otel_patterns.model.envelope import check_event, is_event, new_event_document
from otel_patterns.model.events import PatternEvent, event_of
from otel_patterns.model.times import (
    END_UNIX_NANO,
    TIMESTAMP_PATTERN,
    format_timestamp,
    parse_timestamp,
    read_timestamp,
)
from otel_patterns.model.values import as_object, to_json_object, to_json_value
from otel_patterns.testing import FakeClock
from tests.documents import event_document
from tests.property.strategies import event_documents, json_values

ENOUGH = 100


def test_is_event_says_yes_exactly_when_the_check_finds_nothing() -> None:
    """Of documents with plain values the quick look and the full check give one verdict, either way."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(event_documents())
    def check(document: dict[str, Any]) -> None:
        good = next(check_event(document, known_types_only=False), None) is None
        assert is_event(document) is good
        verdicts[good] += 1

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


@settings(max_examples=300)
@given(json_values)
def test_is_event_of_any_json_never_raises(value: Any) -> None:
    """Whatever stands where the ids belong."""
    for key in names.EVENT_KEYS:
        document = {**event_document(), key: value}
        assert not is_event(document) or next(check_event(document, known_types_only=False), None) is None


def test_fits_details_says_yes_exactly_when_the_check_finds_nothing() -> None:
    """The quick look at details and the check that makes words of it give one verdict."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(event_documents())
    def check(document: dict[str, Any]) -> None:
        event_type, details = document.get("event_type"), as_object(document.get("details"))
        if isinstance(event_type, str) and details is not None:
            good = next(check_details(event_type, details), None) is None
            assert fits_details(event_type, details) is good
            verdicts[good] += 1

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


@settings(max_examples=400)
@given(
    st.dictionaries(st.text() | st.sampled_from(["\ud800", "a"]), json_values | st.floats() | st.binary(), max_size=4)
)
def test_object_of_plain_values_is_converted_as_by_the_whole_rule(value: dict[Any, Any]) -> None:
    """The short way through details gives the very values of the long one."""
    assert repr(to_json_object(value)) == repr(to_json_value(value))


@settings(max_examples=400)
@given(json_values)
@example({"a": 1e16, "b": 1e-7, "c": -0.0, "d": 2**63 - 1})
@example({"separators": "\u2028\u2029\x85\x7f\x9f", "quotes": '"\\/\b\f\n\r\t\x00'})
def test_converted_line_holds_the_same_values_as_the_other_encoder(value: Any) -> None:
    """Both encoders write one line, escape the same characters, and mean the same."""
    document = to_json_object({"value": value})
    fast, slow = encode_converted(document), encode_line(document)
    assert repr(json.loads(fast)) == repr(json.loads(slow))
    for line in (fast, slow):
        assert line.count(b"\n") == 1
        assert not {*"\u2028\u2029\x7f\x85\x9f"} & {*line.decode()}


def test_line_that_was_changed_meanwhile_is_written_all_the_same() -> None:
    """What another thread put into details after their conversion costs no event."""
    line = encode_converted({"details": {"text": "\ud800", "number": 1}})
    assert json.loads(line) == {"details": {"text": "\ufffd", "number": 1}}


def test_event_of_a_checked_document_is_what_pydantic_makes_of_it() -> None:
    """Equality, dump, copy, pickle and the cached time of an event built directly are those of a validated one."""
    document = event_document()
    fast, slow = event_of(copy.deepcopy(document)), PatternEvent.model_validate(document)
    assert fast == slow
    assert fast.model_dump() == slow.model_dump()
    assert fast.model_dump_json() == slow.model_dump_json()
    assert fast.model_copy(update={"status": "failed"}) == slow.model_copy(update={"status": "failed"})
    assert fast.model_fields_set == slow.model_fields_set
    assert fast.model_extra == slow.model_extra == {}
    assert pickle.loads(pickle.dumps(fast)) == slow
    assert copy.deepcopy(fast) == slow
    assert repr(fast) == repr(slow)
    assert hash(fast.event_id) == hash(slow.event_id)
    assert fast.time_unix_nano == slow.time_unix_nano

    class Holder(BaseModel):
        event: PatternEvent

    assert Holder(event=fast).model_dump() == {"event": document}


@settings(max_examples=200)
@given(event_documents())
def test_new_document_is_refused_for_what_the_check_refuses(document: dict[str, Any]) -> None:
    """A new event is made of the parts of a good one, and of nothing else, whatever their types."""
    given: dict[str, Any] = {key: document.get(key) for key in names.EVENT_KEYS[1:] if key != "timestamp"}
    given["details"] = document.get("details", {})
    good = event_document()
    expected = {**good, **{key: to_json_value(value) for key, value in given.items()}}
    if not isinstance(given["details"], dict):
        # Named in the error as it was given.
        expected["details"] = {} if given["details"] is None else given["details"]
    problems = tuple(check_event(expected))
    if problems:
        with pytest.raises(InvalidEventError) as caught:
            new_event_document(good["event_id"], parse_timestamp(good["timestamp"]), **given)
        assert repr(caught.value.problems) == repr(problems)
    else:
        made = new_event_document(good["event_id"], parse_timestamp(good["timestamp"]), **given)
        assert repr(made) == repr({**expected, "timestamp": format_timestamp(parse_timestamp(good["timestamp"]))})
        assert list(made) == list(names.EVENT_KEYS)


@settings(max_examples=500)
@given(st.integers(0, END_UNIX_NANO - 1), st.integers(0, 26), st.sampled_from("0123456789-+:.TZ٣x \n"))
@example(0, 26, "z")
def test_timestamp_is_read_as_the_pattern_says(unix_nano: int, position: int, character: str) -> None:
    """The quick way through our own form accepts what the pattern accepts, however one character is changed."""
    ours = format_timestamp(unix_nano)
    for text in (
        ours,
        ours[:position] + character + ours[position + 1 :],
        ours[:position] + character + ours[position:],
    ):
        is_good = re.fullmatch(TIMESTAMP_PATTERN[1:-1], text, re.ASCII) is not None
        assert read_timestamp(text) == (parse_timestamp(text) if is_good else None)


class SteppingClock(FakeClock):
    """A clock that goes where it is told at each look, also back."""

    def __init__(self, steps: list[int]) -> None:
        super().__init__()
        self._steps = iter(steps)

    def now_unix_nano(self) -> int:
        self.unix_nano += next(self._steps, 0)
        return self.unix_nano


@given(st.lists(st.integers(-3_000_000, 3_000_000), max_size=30))
def test_monotonic_ulids_are_the_numbers_counted_up(steps: list[int]) -> None:
    """The remembered head of an id never outlives its millisecond, and the ids rise."""
    clock: Clock = SteppingClock(steps)
    made = [clock.new_monotonic_ulid() for _ in range(len(steps) + 1)]
    assert made == sorted(set(made))
    for ulid in made:
        assert encode_ulid(_number(ulid)) == ulid


def test_clock_knows_the_ulids_that_it_made_lately() -> None:
    """The last 20,000 are known, in whatever order they are asked for; older ones and those of others are not."""
    clock = FakeClock()
    made = [clock.new_ulid() for _ in range(20_500)]
    assert [clock.made(ulid) for ulid in made] == [False] * 500 + [True] * 20_000
    assert not clock.made(clock.new_monotonic_ulid())


def test_monotonic_ulid_counts_over_the_end_of_its_tail() -> None:
    """An id whose last characters overflow carries into the part that is remembered."""

    class Full(FakeClock):
        def random_bits(self) -> int:
            return (1 << 20) - 2

    clock = Full()
    first, second, third = (clock.new_monotonic_ulid() for _ in range(3))
    assert [_number(second) - _number(first), _number(third) - _number(second)] == [1, 1]
    assert third[-4:] == "0000"


def _number(ulid: str) -> int:
    number = 0
    for char in ulid:
        number = number << 5 | "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(char)
    return number

"""The rule that turns any Python value into a JSON value: each row of its table, and that it never raises."""

import json
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from unittest.mock import MagicMock, Mock
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel
from pydantic_core import to_json

from otel_patterns.model.values import (
    MAX_DEPTH,
    MAX_REPR,
    as_list,
    as_object,
    clean_keys,
    clean_text,
    to_json_object,
    to_json_value,
)
from tests.nasty import NASTY, DumpsAnother, ListsItself


class Severity(Enum):
    """An enum of text."""

    HIGH = "high"


class Level(str, Enum):
    """An enum that is text too."""

    DEBUG = "debug"


class Code(IntEnum):
    """An enum that is a number too."""

    FAILED = 2


class Nested(Enum):
    """An enum whose value is no scalar."""

    PATHS = (Path("a"), Severity.HIGH)


class Text(str):
    """Text of a library, like a marked-up string."""

    __slots__ = ()


class Number(int):
    """A number of a library."""


class Ratio(float):
    """A float of a library."""


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: Path


@dataclass
class Finding:
    """A dataclass."""

    path: Path
    lines: tuple[int, ...]


class Report(BaseModel):
    """A pydantic model."""

    severity: Severity
    when: date


class Plain:
    """An object the rule knows nothing of."""

    def __repr__(self) -> str:
        return "<plain>"


class Silent:
    """An object whose repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


NUMBER_OF_4000_DIGITS = 10**3999
NUMBER_OF_5000_DIGITS = 10**4999
BERLIN = timezone(timedelta(hours=1))

ROWS: list[tuple[object, object]] = [
    # Themselves, and their subclasses.
    (None, None),
    (True, True),
    ("text", "text"),
    (0, 0),
    (2**63 - 1, 2**63 - 1),
    (-(2**63), -(2**63)),
    (1.5, 1.5),
    (-0.0, -0.0),
    (Text("text"), "text"),
    (Number(3), 3),
    (Ratio(1.5), 1.5),
    ("a\ud800b", "a\ufffdb"),
    ("\udc80\ud83d\ude00", "\ufffd\U0001f600"),
    # What JSON has no number for.
    (float("nan"), "NaN"),
    (float("inf"), "Infinity"),
    (float("-inf"), "-Infinity"),
    (Ratio("nan"), "NaN"),
    (2**63, "9223372036854775808"),
    (-(2**63) - 1, "-9223372036854775809"),
    (Number(2**64), "18446744073709551616"),
    (NUMBER_OF_4000_DIGITS, "1" + "0" * 3999),
    (NUMBER_OF_5000_DIGITS, hex(NUMBER_OF_5000_DIGITS)),
    (-NUMBER_OF_5000_DIGITS, hex(-NUMBER_OF_5000_DIGITS)),
    # Enums.
    (Severity.HIGH, "high"),
    (Level.DEBUG, "debug"),
    (Code.FAILED, 2),
    (Nested.PATHS, ["a", "high"]),
    # Paths.
    (PurePosixPath("/srv/a"), "/srv/a"),
    (PureWindowsPath("C:\\work"), "C:\\work"),
    (PurePosixPath("caf\udce9"), "caf\ufffd"),
    # Dates and times.
    (datetime(2026, 11, 22, 10, 30, tzinfo=BERLIN), "2026-11-22T09:30:00Z"),
    (datetime(2026, 11, 22, 9, 30, 0, 5, tzinfo=timezone.utc), "2026-11-22T09:30:00.000005Z"),
    (datetime(2026, 11, 22, 9, 30), "2026-11-22T09:30:00"),  # noqa: DTZ001  # one without a zone is the case
    (date(2026, 11, 22), "2026-11-22"),
    (time(9, 30), "09:30:00"),
    (timedelta(minutes=1, milliseconds=500), 60.5),
    # Bytes.
    (b"text", "text"),
    ("é".encode(), "é"),
    (b"\xff\x00a", "\\xff\x00a"),
    (bytearray(b"ab"), "ab"),
    (memoryview(b"ab"), "ab"),
    # Objects.
    ({"a": 1}, {"a": 1}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (UserDict({"a": Path("b")}), {"a": "b"}),
    (
        {1: "a", None: "b", False: "c", 1.5: "d", (1, 2): "e"},
        {"1": "a", "null": "b", "false": "c", "1.5": "d", "[1, 2]": "e"},
    ),
    ({"1": "a", 1: "b", b"1": "c"}, {"1": "a", "1#2": "b", "1#3": "c"}),
    ({"a#2": 1, "a": 2, b"a": 3}, {"a#2": 1, "a": 2, "a#3": 3}),
    (dict.fromkeys(("\ud800", "\ud801", "\ufffd"), 1), {"\ufffd": 1, "\ufffd#2": 1, "\ufffd#3": 1}),
    ({Severity.HIGH: 1}, {"high": 1}),
    (Finding(Path("a.py"), (1, 2)), {"path": "a.py", "lines": [1, 2]}),
    (Point(1, Path("a")), {"x": 1, "y": "a"}),
    (Report(severity=Severity.HIGH, when=date(2026, 11, 22)), {"severity": "high", "when": "2026-11-22"}),
    # Arrays.
    ([1, [2]], [1, [2]]),
    ((1, "a"), [1, "a"]),
    (deque([1, 2]), [1, 2]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ({"a", 1, None, (2,)}, ["a", 1, [2], None]),
    ({"a": 1}.keys(), ["a"]),
    # numpy.
    (np.float64(1.5), 1.5),
    (np.float32(0.5), 0.5),
    (np.float64("nan"), "NaN"),
    (np.int64(3), 3),
    (np.uint64(2**64 - 1), "18446744073709551615"),
    (np.bool_(True), True),
    (np.str_("text"), "text"),
    (np.bytes_(b"text"), "text"),
    (np.array([[0, 1], [2, 3]]), [[0, 1], [2, 3]]),
    (np.array(5), 5),
    (np.array([1.5, np.inf]), [1.5, "Infinity"]),
    (np.array([{"a": Path("b")}, None], dtype=object), [{"a": "b"}, None]),
    # What is told by its text.
    (Decimal("1.10"), "1.10"),
    (Fraction(1, 3), "1/3"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (IPv4Address("127.0.0.1"), "127.0.0.1"),
    (IPv6Address("::1"), "::1"),
    # Exceptions.
    (ValueError("bad rule"), "ValueError: bad rule"),
    (ValueError(), "ValueError"),
    (KeyError("a"), "KeyError: 'a'"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    # Anything else.
    (Plain(), "<plain>"),
    (Silent(), "<Silent>"),
    (int, "<class 'int'>"),
    (Report, repr(Report)),
    (1j, "1j"),
    (..., "Ellipsis"),
]


@pytest.mark.parametrize(("value", "expected"), ROWS, ids=[str(number) for number in range(len(ROWS))])
def test_value_of_each_kind_becomes_what_the_table_says(value: object, expected: object) -> None:
    """Every row of the table in the module's docstring, with exact JSON types."""
    converted = to_json_value(value)
    assert converted == expected
    assert repr(converted) == repr(expected)


@pytest.mark.parametrize("value", [Text("a"), Number(1), Ratio(1.5), np.float64(1.5), np.str_("a"), Level.DEBUG])
def test_value_of_a_subclass_becomes_the_plain_type(value: object) -> None:
    """What comes out is exactly str, int or float, so no encoder meets a subclass."""
    assert type(to_json_value(value)) in (str, int, float)


def test_value_inside_itself_becomes_a_cycle_mark() -> None:
    """A list, dict or object that holds itself ends at the second meeting."""
    items: list[Any] = [1]
    items.append(items)
    members: dict[str, Any] = {}
    members["self"] = {"again": members}
    finding = Finding(Path("a"), ())
    finding.lines = (finding,)  # pyright: ignore[reportAttributeAccessIssue]  # what careless code does
    assert to_json_value(items) == [1, "<cycle>"]
    assert to_json_value(members) == {"self": {"again": "<cycle>"}}
    assert to_json_value(finding) == {"path": "a", "lines": ["<cycle>"]}
    assert to_json_object(members) == {"self": {"again": "<cycle>"}}


def test_value_that_turns_into_its_like_without_end_ends_at_the_limit() -> None:
    """Whatever a value says that it is, is one level deeper: no recursion of Python's is needed to stop."""

    class Arrays(ListsItself):
        def tolist(self) -> object:
            # Of another type each time: one of its own would be shown as its repr.
            return type("Arrays", (Arrays,), {})()

    assert to_json_value(DumpsAnother()) == "<too deep>"
    assert to_json_value({"a": [Arrays()]}) == {"a": ["<too deep>"]}


def test_value_met_twice_without_a_cycle_is_kept_twice() -> None:
    """Only a value inside itself is a cycle; the same value in two places is not."""
    shared = [1]
    assert to_json_value({"a": shared, "b": [shared, shared]}) == {"a": [1], "b": [[1], [1]]}


@pytest.mark.parametrize("levels", [1, MAX_DEPTH, MAX_DEPTH + 1, 5_000])
def test_value_below_64_levels_becomes_too_deep(levels: int) -> None:
    """Containers nest 64 levels; what is in the deepest is a mark, however deep the rest."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    converted = to_json_value(value)
    depth = 0
    while isinstance(converted, list) and converted:
        converted = as_list(converted[0]) if isinstance(converted[0], list) else converted[0]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # any JSON
        depth += 1
    assert depth == min(levels - 1, MAX_DEPTH)
    assert converted == ([] if levels <= MAX_DEPTH else "<too deep>")


def test_value_with_a_long_repr_is_cut() -> None:
    """A repr is kept to 2,000 characters, the last of which says that more is missing."""

    class Long:
        def __repr__(self) -> str:
            return "x" * 5_000

    converted = to_json_value(Long())
    assert len(converted) == MAX_REPR
    assert converted == "x" * (MAX_REPR - 1) + "…"


def test_generator_is_not_consumed() -> None:
    """A generator is shown by its repr: reading it would take its items from the engine."""
    numbers = (number for number in range(3))
    assert to_json_value(numbers).startswith("<generator object")
    assert list(numbers) == [0, 1, 2]


@pytest.mark.parametrize("mock", [Mock(), MagicMock(), Mock(name="engine").run()])
def test_mock_is_shown_by_its_text(mock: object) -> None:
    """A mock has every attribute, also model_dump and dtype; it is still no model and no array."""
    assert isinstance(to_json_value(mock), str)
    assert to_json_value({"mock": mock}) == {"mock": to_json_value(mock)}


def test_named_tuple_made_by_the_function_becomes_an_object() -> None:
    """Both ways of making named tuples count."""
    pair = namedtuple("pair", "a b")  # noqa: PYI024  # the untyped form is the case  # pyright: ignore[reportUntypedNamedTuple]
    assert to_json_value(pair(1, 2)) == {"a": 1, "b": 2}


@pytest.mark.parametrize("index", range(len(NASTY)), ids=[type(value).__name__ for value in NASTY])
def test_nasty_value_becomes_json(index: int) -> None:
    """Whatever an object does when it is asked, the rule does not raise, and every encoder takes the result."""
    value = NASTY[index]  # not a parameter: pytest itself would ask it things
    for converted in (to_json_value(value), to_json_value([value]), to_json_object({"nasty": value})):
        json.dumps(converted, allow_nan=False).encode("ascii")
        json.dumps(converted, allow_nan=False, ensure_ascii=False).encode("utf-8")
        to_json(converted)


def test_object_that_cannot_be_read_is_kept_as_its_repr() -> None:
    """Details that another thread changes while they are read are told as they look, not raised at."""

    class Changing(Mapping[str, int]):
        def __getitem__(self, key: str) -> int:
            raise RuntimeError("dictionary changed size during iteration")

        def __iter__(self) -> Iterator[str]:
            return iter("a")

        def __len__(self) -> int:
            return 1

        def __repr__(self) -> str:
            return "Changing()"

    assert to_json_object(Changing()) == {"value": "Changing()"}


def test_clean_text_without_surrogates_returns_the_text() -> None:
    """Text that UTF-8 can hold stays; a lone surrogate becomes one U+FFFD, a pair the character it means."""
    assert clean_text("aé\U0001f600") == "aé\U0001f600"
    assert clean_text("\ud800") == "\ufffd"
    assert clean_text("\ud83d\ude00") == "\U0001f600"
    assert type(clean_text(Text("a"))) is str


def test_clean_keys_makes_keys_that_utf8_can_hold() -> None:
    """Values stay as they are, keys become text without surrogates."""
    assert clean_keys({"\ud800": "\ud800", 1: None}) == {"\ufffd": "\ud800", "1": None}


@pytest.mark.parametrize("value", [None, 1, "text", True, (1,)])
def test_as_object_and_as_list_of_another_value_are_none(value: object) -> None:
    """Only dict is a JSON object, only list a JSON array."""
    assert as_object(value) is None
    assert as_list(value) is None
    assert as_object({"a": 1}) == {"a": 1}
    assert as_list([1]) == [1]

"""Values that do the worst when they are looked at: an engine's details may hold any of them."""

from collections import OrderedDict, UserList, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from unittest.mock import MagicMock, Mock

import numpy as np


class ReprRaises:
    """No repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class ReprRecurses:
    """A repr without end."""

    def __repr__(self) -> str:
        return repr(self)


class ReprOfSurrogates:
    """A repr that UTF-8 cannot hold."""

    def __repr__(self) -> str:
        return "\ud800" * 3


class GetattrRaises:
    """Every missing attribute raises, but not AttributeError."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class HasEverything:
    """Every attribute is a function that returns another such object."""

    def __getattr__(self, name: str) -> Any:
        return self._make

    def _make(self, *_: object) -> Any:
        return HasEverything()


class ClassRaises:
    """isinstance raises."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise RuntimeError("no class")


class ItemsRaise(Mapping[str, Any]):
    """A mapping that cannot be read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        return 1


class IterRaises(list[int]):
    """A list that cannot be read."""

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no iter")


class SetRaises(set[int]):
    """A set that cannot be read."""

    def __iter__(self) -> Iterator[int]:
        raise RuntimeError("no iter")


class PathRaises:
    """A path without a path."""

    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class PathOfNumber:
    """A path that is a number."""

    def __fspath__(self) -> Any:
        return 1


class LyingText(str):
    """Text that lies about its bytes."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        """Return nothing."""
        return b""

    def __str__(self) -> str:
        return "\ud800"


class LyingInt(int):
    """A number that lies about its value."""

    def __int__(self) -> int:
        return 10**30

    def __le__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return True


class LyingFloat(float):
    """A number that lies about its value."""

    def __float__(self) -> float:
        return float("nan")


class NoTextError(Exception):
    """An exception whose text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class SurrogatesError(Exception):
    """An exception whose text UTF-8 cannot hold."""

    def __str__(self) -> str:
        return "\udcff"


class DumpRaises:
    """A model that cannot be dumped."""

    def model_dump(self) -> Any:
        """Raise."""
        raise RuntimeError("no dump")


class DumpsItself:
    """A model that dumps to itself."""

    def model_dump(self) -> Any:
        """Return the model."""
        return self


class DumpsAnother:
    """A model that dumps to a new model, without end."""

    def model_dump(self) -> Any:
        """Return another model."""
        return DumpsAnother()


class ListsItself:
    """An array that lists as another array, without end."""

    dtype = "any"

    def tolist(self) -> Any:
        """Return another array."""
        return ListsItself()


class OfText(str, Enum):
    """An enum of text that UTF-8 cannot hold."""

    BAD = "\ud800"


class OfObjects(Enum):
    """An enum of what JSON cannot hold."""

    REPR_RAISES = ReprRaises()
    INFINITE = float("inf")


@dataclass
class HalfMade:
    """A dataclass without one of its fields."""

    a: int = 0
    b: list[int] = field(default_factory=list[int])


def _half_made() -> HalfMade:
    value = HalfMade()
    del value.__dict__["b"]
    return value


def _deep(levels: int) -> Any:
    value: Any = {"end": ReprRaises()}
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def _cycle() -> list[Any]:
    inner: dict[str, Any] = {}
    outer: list[Any] = [inner, (inner,), deque([inner])]
    inner["outer"] = outer
    return outer


def _array_in_itself() -> Any:
    array = np.empty((), dtype=object)
    array[()] = array
    return array


def _released() -> memoryview:
    view = memoryview(b"a")
    view.release()
    return view


NASTY: list[Any] = [
    ReprRaises(),
    ReprRecurses(),
    ReprOfSurrogates(),
    GetattrRaises(),
    HasEverything(),
    ClassRaises(),
    ItemsRaise(),
    IterRaises([1]),
    SetRaises({1}),
    PathRaises(),
    PathOfNumber(),
    LyingText("\ud800"),
    LyingInt(2**70),
    LyingInt(1),
    LyingFloat(1.0),
    LyingFloat("inf"),
    NoTextError(),
    SurrogatesError(),
    DumpRaises(),
    DumpsItself(),
    DumpsAnother(),
    ListsItself(),
    OfText.BAD,
    OfObjects.REPR_RAISES,
    OfObjects.INFINITE,
    _half_made(),
    _deep(5_000),
    _cycle(),
    10**4999,
    "\ud800\udfff\udc00",
    b"\xed\xa0\x80",
    {
        "\ud800": 1,
        **dict.fromkeys(["\ud801", "\ufffd"], 2),
        1: 3,
        "1": 4,
        ReprRaises(): 5,
        (1, ReprRaises()): 6,
        float("nan"): 7,
        10**4999: 8,
    },
    {ReprRaises(), 1, "a", None},
    OrderedDict([(frozenset([1, "a"]), ItemsRaise())]),
    UserList([ReprRaises()]),
    (number for number in range(3)),
    Mock(),
    MagicMock(),
    np.longdouble(1.5),
    np.array([("a", 1)], dtype=[("text", "U1"), ("number", "i8")]),
    np.array("2026-11-22T09:30:00", dtype="datetime64[ns]"),
    np.array([1 + 2j]),
    _array_in_itself(),
    _released(),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    timedelta.max,
    Decimal("sNaN"),
    Decimal("1e999999"),
    type("Type", (), {"dtype": 1, "tolist": None, "model_dump": 2})(),
    object,
    Enum,
    lambda: None,
]

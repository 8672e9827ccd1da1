r"""The one rule that turns any Python value into a JSON value. It never raises.

| value | becomes |
|---|---|
| None, bool, str, int of 64 bits, finite float, and their subclasses | itself; a lone surrogate becomes U+FFFD |
| NaN, infinities | `"NaN"`, `"Infinity"`, `"-Infinity"` |
| larger int | its decimal digits as text; hexadecimal over 4,000 digits |
| Enum | its value |
| path | its text |
| datetime with a zone | RFC 3339 UTC; other dates and times: ISO 8601; timedelta: seconds |
| bytes | text, decoded as UTF-8, with `\xNN` for what is none |
| dict, dataclass, named tuple, pydantic model | object; keys become text, a repeated one gets `#2` |
| list, tuple, deque | array; a set becomes an array sorted by its JSON text |
| numpy scalar, array | number, array |
| Decimal, UUID, Fraction, IP address | its text |
| exception | `Type: message` |
| anything else | its repr, cut to 2,000 characters; `<Type>` when repr raises |
| a value inside itself | `"<cycle>"` |
| below 64 levels | `"<too deep>"` |
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from typing import Any, Final, cast

MAX_DEPTH: Final = 64
MAX_REPR: Final = 2000
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
# Python refuses to print integers of more than 4,300 digits; 4,000 digits are 13,288 bits.
_MAX_DECIMAL_BITS: Final = 13_288
_PLAIN_DEPTH: Final = 8
# `type`, for a type checker that knows nothing of the value; a cast would be one call more.
type_of: Final = cast("Callable[[object], object]", type)
_ODD: Final[Any] = object()
_CYCLE: Final = "<cycle>"
_TOO_DEEP: Final = "<too deep>"

# dict and list are invariant: a recursive alias would need a cast at every use.
JsonValue = Any


def to_json_value(value: object) -> JsonValue:
    """Return `value` as None, bool, int, float, str, list or dict with text keys, by the rule of this module."""
    return _convert(value, 0, ())


def to_json_object(value: Mapping[Any, Any]) -> dict[str, JsonValue]:
    """Return a mapping as a JSON object, by the rule of this module.

    One that cannot be read (it changes meanwhile, or its `items` raises) becomes `{"value": <its repr>}`.
    """
    try:
        plain = _plain(value, 0)
    except RuntimeError:
        # Another thread changes it meanwhile.
        plain = _ODD
    if plain is not _ODD:
        # Plain is only a dict: of another mapping the whole rule has more to say.
        return plain
    converted = to_json_value(value)
    members = as_object(converted)
    return {"value": converted} if members is None else members


def _plain(value: Any, depth: int) -> Any:
    """Return a copy of what most details are made of, as the whole rule would; `_ODD` when the rule has more to say.

    Every event passes here: this takes a fifth of the time of the whole rule.
    """
    kind = type_of(value)
    if depth == _PLAIN_DEPTH or (kind is not dict and kind is not list):
        return _ODD
    if kind is list:
        items: list[Any] = []
        for item in value:
            is_plain = _PLAIN_SCALARS.get(type_of(item))
            plain = item if is_plain is not None and is_plain(item) else _plain(item, depth + 1)
            if plain is _ODD:
                return _ODD
            items.append(plain)
        return items
    members: dict[str, Any] = {}
    for key, item in value.items():
        if type(key) is not str or not key.isascii():
            return _ODD
        if type(item) is str and item.isascii():
            # Most of them.
            members[key] = item
            continue
        is_plain = _PLAIN_SCALARS.get(type_of(item))
        plain = item if is_plain is not None and is_plain(item) else _plain(item, depth + 1)
        if plain is _ODD:
            return _ODD
        members[key] = plain
    return members


def _fits(value: int) -> bool:
    return _INT64_MIN <= value <= _INT64_MAX


# By its type, what tells whether a scalar is itself by the rule.
_PLAIN_SCALARS: Final[dict[object, Callable[[Any], bool]]] = {
    str: str.isascii,
    int: _fits,
    float: math.isfinite,
    bool: frozenset({False, True}).__contains__,
    type(None): frozenset({None}).__contains__,
}


def as_object(value: object) -> dict[str, Any] | None:
    """Return a JSON value that is an object as one, else None."""
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]  # a cast is a call


def as_list(value: object) -> list[Any] | None:
    """Return a JSON value that is an array as a list, else None."""
    return value if isinstance(value, list) else None  # pyright: ignore[reportUnknownVariableType]  # a cast is a call


def clean_text(text: str) -> str:
    """Return `text` as a plain str that UTF-8 can hold: each lone surrogate replaced by U+FFFD."""
    # A subclass may say anything about itself: only str's own methods are asked.
    plain = str.__str__(text)
    if plain.isascii():
        return plain
    try:
        plain.encode("utf-8")
    except UnicodeEncodeError:
        return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return plain


def clean_keys(document: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a document with keys that UTF-8 can hold: pydantic refuses a model's extra keys that it cannot."""
    return {clean_text(str(key)): value for key, value in document.items()}


def _convert(value: object, depth: int, parents: tuple[int, ...]) -> JsonValue:
    kind = type(value)
    if kind is str:
        return clean_text(cast("str", value))
    if value is None or kind is bool:
        return value
    if kind is int:
        return _integer(cast("int", value))
    if kind is float:
        return _float(cast("float", value))
    if id(value) in parents:
        return _CYCLE
    if depth >= MAX_DEPTH:
        return _TOO_DEEP
    try:
        return _convert_other(value, depth, (*parents, id(value)))
    except Exception:  # noqa: BLE001  # a caller's __iter__, __getattr__ or keys() may do anything; the rule never raises
        return _repr(value)


def _integer(value: int) -> int | str:
    if _fits(value):
        return value
    return str(value) if value.bit_length() <= _MAX_DECIMAL_BITS else hex(value)


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _convert_other(value: object, depth: int, parents: tuple[int, ...]) -> JsonValue:
    if isinstance(value, Enum):
        # One level deeper, as all that may turn into their like again and again.
        return _convert(value.value, depth + 1, parents)
    if isinstance(value, str):
        return clean_text(value)
    # The number itself, not what a subclass makes of it.
    if isinstance(value, int):
        return _integer(int.__int__(value))
    if isinstance(value, float):
        return _float(float.__float__(value))
    if isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value), depth, parents)
    if isinstance(value, (list, tuple, deque)):
        if callable(as_dict := getattr(cast("object", value), "_asdict", None)):
            return _object(cast("Mapping[Any, Any]", as_dict()), depth, parents)
        return [_convert(item, depth + 1, parents) for item in cast("Iterable[Any]", value)]
    if isinstance(value, AbstractSet):
        items = [_convert(item, depth + 1, parents) for item in cast("AbstractSet[Any]", value)]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    for kinds, rule in _RULES:
        if isinstance(value, kinds):
            return rule(value)
    if any(isinstance(value, kind) for kind in _loaded(_WRITTEN_AS_TEXT)):
        return str(value)
    return _convert_record(value, depth, parents)


def _convert_record(value: object, depth: int, parents: tuple[int, ...]) -> JsonValue:
    dataclasses = sys.modules.get("dataclasses")
    if dataclasses is not None and dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return _object({name: getattr(value, name) for name in names}, depth, parents)
    # Asked of the type: a mock has every attribute, and what its model_dump returns has one again, without end.
    kind = type(value)
    if callable(dump := getattr(kind, "model_dump", None)):
        return _convert(dump(value), depth + 1, parents)
    if hasattr(kind, "dtype") and callable(to_list := getattr(kind, "tolist", None)):
        listed = to_list(value)
        # A long double has no Python number: it lists as itself.
        return _repr(value) if type(listed) is kind else _convert(listed, depth + 1, parents)
    return _repr(value)


def _path(value: os.PathLike[Any]) -> JsonValue:
    return _convert(os.fspath(value), 0, ())


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return bytes(value).decode("utf-8", "backslashreplace")


def _datetime(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _exception(value: BaseException) -> str:
    message = clean_text(str(value))
    return f"{type(value).__name__}: {message}" if message else type(value).__name__


_RULES: Final[tuple[tuple[tuple[type, ...], Callable[[Any], JsonValue]], ...]] = (
    ((os.PathLike,), _path),
    ((bytes, bytearray, memoryview), _bytes),
    ((datetime,), _datetime),
    ((date, time), lambda value: value.isoformat()),
    ((timedelta,), lambda value: value.total_seconds()),
    ((BaseException,), _exception),
)


# Not imported here: together they load longer than many a process takes, and without them nobody has such a value.
_WRITTEN_AS_TEXT: Final = (
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
    ("fractions", "Fraction"),
    ("ipaddress", "IPv4Address"),
    ("ipaddress", "IPv6Address"),
)


class _Nothing:
    """Stands for a type of a module that is being loaded just now."""


def _loaded(names: Iterable[tuple[str, str]]) -> Iterator[type]:
    for module, name in names:
        if module in sys.modules:
            yield getattr(sys.modules[module], name, _Nothing)


def _object(value: Mapping[Any, Any], depth: int, parents: tuple[int, ...]) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {}
    for key, item in value.items():
        name = clean_text(key) if type(key) is str else _key(key)
        if name in result:
            number = 2
            while f"{name}#{number}" in result:
                number += 1
            name = f"{name}#{number}"
        result[name] = _convert(item, depth + 1, parents)
    return result


def _key(key: object) -> str:
    value = _convert(key, MAX_DEPTH - 1, ())
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _repr(value: object) -> str:
    try:
        text = clean_text(repr(value))
    except Exception:  # noqa: BLE001  # a caller's __repr__ may do anything
        return f"<{type(value).__name__}>"
    return text if len(text) <= MAX_REPR else f"{text[: MAX_REPR - 1]}…"

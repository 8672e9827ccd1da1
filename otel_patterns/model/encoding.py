"""JSON as it is written: compact UTF-8, and never a failure because of what a value holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import msgspec

from .values import to_json_value

# Line separators that some readers split at, C1 controls that a terminal obeys: legal in JSON, escaped all the same.
_RISKY: Final = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2[\x80-\x9f]|\x7f")
_encode_converted: Final = msgspec.json.Encoder().encode


def encode_converted(document: Mapping[str, object]) -> bytes:
    """Return a document as one line like `encode_line`, for one whose values were converted by `to_json_value`.

    An infinite number, which the conversion leaves no trace of, would be written as null. What cannot be encoded
    after all, because another thread changed it meanwhile, is converted again.
    """
    try:
        return _as_line(_encode_converted(document))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return encode_line(document)


def encode_line(document: Mapping[str, object]) -> bytes:
    """Return a document as one line: what a terminal obeys or a reader may split at is escaped."""
    return _as_line(encode_json(document))


def encode_json(value: object) -> bytes:
    """Return a JSON value as compact UTF-8; what a damaged log may hold beside JSON is converted, never raised at."""
    try:
        text = _encode_converted(value)
        # NaN and infinities would be null there, and large integers and lone surrogates are refused.
        if b"null" not in text:
            return text
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    to_json = _to_json()
    try:
        return to_json(value, inf_nan_mode="strings")
    except ValueError:
        # Lone surrogates, written as escapes by other programs, have no UTF-8 form.
        return to_json(to_json_value(value))


@cache
def _to_json() -> Callable[..., bytes]:
    # Loaded when somebody needs it: it doubles the start of a process that only writes events.
    from pydantic_core import to_json  # noqa: PLC0415

    return to_json


def _as_line(line: bytes) -> bytes:
    if not line.isascii() or b"\x7f" in line:
        line = _RISKY.sub(_escape, line)
    return line + b"\n"


def _escape(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match.group().decode('utf-8')):04x}".encode()

"""Spans as they are read from a trace, and a JSON document that is read with the place of each value in mind."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NoReturn

from ..errors import InvalidTraceError, Problem
from ..model.values import as_list, as_object, clean_text
from .trace import AttributeValue, SpanLink

_INTEGER: Final = re.compile("-?[0-9]{1,20}")
_HEX: Final = re.compile("[0-9A-Fa-f]+")
_UINT64_END: Final = 2**64

Status = Literal["UNSET", "OK", "ERROR"]


@dataclass(frozen=True)
class ReadEvent:
    """A span event. `dropped` is how many of its attributes somebody on the way has dropped."""

    name: str
    time_unix_nano: int
    attributes: Mapping[str, AttributeValue]
    dropped: int = 0


@dataclass(frozen=True)
class ReadSpan:
    """A span as a file or a backend gives it; ids in lower-case hex, `dropped` counts attributes and events."""

    trace_id: str
    span_id: str
    parent_span_id: str
    trace_state: str
    name: str
    is_internal: bool
    start_unix_nano: int
    end_unix_nano: int
    attributes: Mapping[str, AttributeValue]
    events: tuple[ReadEvent, ...]
    links: tuple[SpanLink, ...]
    resource: Mapping[str, AttributeValue]
    dropped: int = 0
    status: Status = "UNSET"


@dataclass(frozen=True)
class Node:
    """A JSON value and where it stands. What is absent or null reads as the empty value of its kind."""

    value: Any
    pointer: str = ""

    def fail(self, rule: str, fix: str) -> NoReturn:
        """Refuse the value.

        Raises:
            InvalidTraceError: Always.
        """
        raise InvalidTraceError([Problem(self.pointer, self.value, rule, fix)])

    def object(self) -> dict[str, Any]:
        """Return the members of an object."""
        members = as_object(self.value)
        if members is None:
            self.fail("it must be an object", "Save the trace again, as the backend gives it.")
        return members

    def get(self, key: str) -> Node:
        """Return a member of an object."""
        return Node(self.object().get(key), f"{self.pointer}/{key}")

    def items(self, *keys: str) -> Iterator[Node]:
        """Yield the items of the array that has one of these keys; nothing when it has none."""
        for key in keys:
            node = self.get(key)
            if node.value is None:
                continue
            items = as_list(node.value)
            if items is None:
                node.fail("it must be an array", "Save the trace again, as the backend gives it.")
            for index, item in enumerate(items):
                yield Node(item, f"{node.pointer}/{index}")

    def text(self, key: str) -> str:
        """Return a member that is text."""
        node = self.get(key)
        if node.value is None:
            return ""
        if not isinstance(node.value, str):
            node.fail("it must be a string", "Write it in quotes.")
        return clean_text(node.value)

    def integer(self, key: str) -> int:
        """Return a member that is an integer, written as a number or, as OTLP does with 64 bits, as text."""
        node = self.get(key)
        value = 0 if node.value is None else node.value
        is_whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
        if not is_whole and not (isinstance(value, str) and _INTEGER.fullmatch(value)):
            node.fail("it must be an integer", "Write its decimal digits.")
        return int(value)

    def natural(self, key: str) -> int:
        """Return a member that is an unsigned integer of 64 bits, like a time in nanoseconds."""
        number = self.integer(key)
        if not 0 <= number < _UINT64_END:
            self.get(key).fail("it must be from 0 to 2^64-1", "Write nanoseconds since 1970.")
        return number

    def id(self, key: str, size: int) -> str:
        """Return an id of `size` bytes in lower-case hex, empty when there is none.

        It is hex in OTLP and base64 in what protobuf's own JSON makes of it (Tempo). Base64 of 8 and of 16 bytes
        always ends with `=`. Old programs leave out the leading zeros of hex.
        """
        text = self.text(key)
        if text.endswith("="):
            try:
                decoded = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                decoded = b""
            # Whole, unlike hex: Python 3.10 reads also what is cut.
            text = decoded.hex() if len(decoded) == size else "="
        text = text and text.rjust(2 * size, "0")
        if text and (len(text) > 2 * size or not _HEX.fullmatch(text)):
            self.get(key).fail(f"it must be an id of {size} bytes", f"Write {2 * size} hex digits, or base64.")
        return text.lower()

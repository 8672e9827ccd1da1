"""Text from events, made fit for a terminal.

What a tool printed or a foreign log holds is data: it must not move the cursor, set a title, fill a clipboard or
turn the direction of what stands beside it. `safe` is the one place that sees to it; `Output` calls it on everything.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from ..model.values import as_list

# C0, DEL and C1; line and paragraph separator; what changes the direction of text; lone surrogates.
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BYTE: Final = 0x100
_ELLIPSIS: Final = "…"


def safe(text: str) -> str:
    r"""Return text in one line that no terminal obeys: each unsafe character is shown as `\xNN` or `\uNNNN`."""
    return text if text.isprintable() else _UNSAFE.sub(_show, text)


def safe_json(text: str) -> str:
    r"""Return a JSON text in one line with the same characters escaped as `\uNNNN`, which means the same in JSON."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def _show(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < _BYTE else f"\\u{number:04x}"


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_width_of_character(character) for character in text)


def _width_of_character(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int, ellipsis: str = _ELLIPSIS) -> str:
    """Return text of at most `width` columns, with an ellipsis where something was cut off."""
    if width_of(text) <= width:
        return text
    room = width - len(ellipsis)
    if room < 0:
        return ""
    used = 0
    for index, character in enumerate(text):
        used += _width_of_character(character)
        if used > room:
            return text[:index] + ellipsis
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return text filled with spaces to `width` columns; `right` puts it at the right end."""
    spaces = " " * (width - width_of(text))
    return spaces + text if right else text + spaces


def first_line(text: str, ellipsis: str = _ELLIPSIS) -> str:
    """Return the first line of a text that is not blank, with an ellipsis when more follows."""
    lines = text.strip().split("\n")
    return lines[0].strip() + (f" {ellipsis}" if len(lines) > 1 else "")


def plain(value: object) -> str:
    """Return a JSON value as people write it: texts without quotes, arrays of scalars with commas, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    items = as_list(value)
    if items is not None and not any(isinstance(item, (list, dict)) for item in items):
        return ", ".join(plain(item) for item in items)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        # Nested as deeply as the reader just allowed.
        return "{…}" if isinstance(value, Mapping) else "[…]"


def counted(number: int, word: str) -> str:
    """Return a number and its word, in the plural when there is not one."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def show_bytes(number: int) -> str:
    """Return a size as people read it: `12.3 MiB`."""
    size = float(number)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:  # noqa: PLR2004  # what a KiB is
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"

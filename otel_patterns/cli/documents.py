"""JSON documents in whatever way they come: one, an array of them, or one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import MISSING, Problem
from ..model.values import as_list

_RULE = "it must be JSON"


@dataclass(frozen=True)
class Document:
    """A JSON value and where it stands; with a problem instead when there is none."""

    place: str
    value: Any = None
    problem: Problem | None = None


def read_documents_of(name: str, data: bytes) -> Iterator[Document]:
    """Yield the documents of a file: the members of an array, the lines of JSONL, or the one there is."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = data[error.start : error.start + 8]
        yield Document(name, problem=Problem("", bad, f"it must be UTF-8: byte {error.start} is not", "Convert it."))
        return
    if not text.strip():
        yield Document(name, problem=Problem("", MISSING, "there must be a document", "Pass one JSON object."))
        return
    whole = _parse(name, text)
    if whole.problem is None:
        yield from _members(name, whole.value)
        return
    # A line ends at `\n` alone: U+2028 and its like may stand inside a string.
    lines = [
        _parse(f"{name}: line {number}", line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    ]
    objects = sum(isinstance(line.value, dict) for line in lines)
    # A broken document of several lines may have one or the other line that is an object by itself.
    if len(lines) > 1 and (isinstance(lines[0].value, dict) or 2 * objects >= len(lines)):
        yield from lines
    else:
        yield whole


def _members(name: str, value: Any) -> Iterator[Document]:
    if (items := as_list(value)) is None:
        yield Document(name, value)
        return
    if not items:
        yield Document(name, problem=Problem("", [], "there must be a document", "Put one into the array."))
    for index, item in enumerate(items):
        yield Document(f"{name}: item {index}", item)


def _parse(place: str, text: str) -> Document:
    try:
        return Document(place, json.loads(text, parse_constant=_refuse))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        shown = text[max(0, error.pos - 20) : error.pos + 20]
        problem = Problem("", shown, f"{_RULE}: {error.msg} at {where}", "Correct it there.")
    except RecursionError:
        problem = Problem("", text[:40], f"{_RULE} of reasonable depth", "Nest it less deeply.")
    except ValueError as error:
        problem = Problem("", text[:40], f"{_RULE}: {error}", "Write it as a string.")
    return Document(place, problem=problem)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")

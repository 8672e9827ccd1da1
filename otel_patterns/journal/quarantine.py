"""Copies of a journal's bad lines: each once, with where it stood and why it is bad."""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import Any

from ..errors import JournalError
from ..model.names import MAX_LINE_BYTES
from ..model.values import as_object
from .append import Journal
from .lines import open_to_read, read_lines


class Quarantine:
    """The directory `quarantine/` beside a journal, with a file for each segment that had bad lines. For one thread."""

    def __init__(self, journal_path: str | os.PathLike[str]) -> None:
        self._directory = os.path.join(os.path.dirname(os.path.abspath(journal_path)), "quarantine")
        self._offsets: dict[str, set[Any]] = {}

    def has(self, segment: str, offset: int) -> bool:
        """Tell whether the line at that place is here.

        Raises:
            JournalError: The file of the segment cannot be read.
        """
        if segment not in self._offsets:
            self._offsets[segment] = set(_offsets_in(self._path_of(segment)))
        return offset in self._offsets[segment]

    def keep(self, segment: str, offset: int, data: bytes, reason: str, *, length: int | None = None) -> bool:
        """Copy a bad line, unless it is here, and tell whether it was new.

        Args:
            segment: The file it stands in, as cursors name it; one without a whole line has only its name.
            offset: The byte in it.
            data: The line, or its beginning.
            reason: Why it is bad.
            length: How long it is, when that is not all of it.

        Raises:
            JournalError: The file cannot be read or written.
        """
        if self.has(segment, offset):
            return False
        entry = {
            "segment": segment,
            "offset": offset,
            "length": len(data) if length is None else length,
            "reason": reason,
            "data_base64": base64.b64encode(data[:MAX_LINE_BYTES]).decode(),
        }
        file = Journal(self._path_of(segment), spool_lines=0)
        try:
            if file.append(json.dumps(entry).encode() + b"\n").state != "journaled":
                raise JournalError(file.path, "cannot be written")
        finally:
            file.close()
        self._offsets[segment].add(offset)
        return True

    def _path_of(self, segment: str) -> str:
        return os.path.join(self._directory, f"{segment}.jsonl")


def _offsets_in(path: str) -> list[Any]:
    """Return where the lines stood that a file of the quarantine has."""
    file = open_to_read(path)
    if file is None:
        return []
    found: list[Any] = []
    with file:
        for line in read_lines(file):
            # Of a line that was torn the copy is made again.
            with suppress(ValueError):
                found.append((as_object(json.loads(line.data)) or {}).get("offset"))
    return found

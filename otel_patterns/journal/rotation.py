"""Sealing the active file of a journal: when it is due, and the rename itself, both under the journal's lock.

Killed at any moment it leaves a journal that reads right. Before the rename only a number was passed over; after it the
active file is missing, which is how a journal begins.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from math import inf
from typing import Final

from ..errors import JournalError
from ..model.values import as_list
from .segments import INDEXED_BYTES, path_of_number, sealed_segments
from .state import JournalState

# After a rotation failed, writing goes on in the file that is there; the next try is due after so much more.
_RETRY_BYTES: Final = 1024 * 1024
_RETRY_SECONDS: Final = 60.0
_SEALED: Final = "sealed"
_BEGUN_AT: Final = "begun_at"
LOST: Final = "lost"
GAPS: Final = "gaps"
_REMEMBERED_GAPS: Final = 20
FAILED_SYNCS: Final = "failed_syncs"
LAST_FAILED_SYNC: Final = "last_failed_sync"


class Rotation:
    """When a journal's active file is to be sealed, and how.

    Args:
        path: The journal.
        max_bytes: Above this size; zero: at no size.
        max_seconds: When so much time has passed since it was begun; zero: at no age.

    Attributes:
        asked_above: `is_due` says no of every size up to this one: nobody has to ask.
    """

    def __init__(self, path: str, max_bytes: int = 0, max_seconds: float = 0) -> None:
        self._path = path
        self._state = JournalState(path)
        self._max_bytes = max_bytes or inf
        self._max_seconds = max_seconds
        self._due_bytes = self.asked_above = self._max_bytes
        self._due_at = inf
        self._sealed_path = ""

    def opened(self, *, is_new: bool) -> None:
        """Begin to watch over the file that was opened just now.

        Raises:
            OSError: The state cannot be written.
        """
        self._due_bytes = self.asked_above = self._max_bytes
        if not self._max_seconds:
            return
        self.asked_above = 0
        self._due_at = time.time() + self._max_seconds
        state = self._state.load()
        begun_at = state.get(_BEGUN_AT)
        if not is_new and isinstance(begun_at, (int, float)):
            self._due_at = min(self._due_at, begun_at + self._max_seconds)
        else:
            self._state.save({**state, _BEGUN_AT: time.time()})

    def is_due(self, size: int) -> bool:
        """Tell whether a file that is about to have this size is to be sealed first."""
        return size > self._due_bytes or (self._due_at != inf and time.time() >= self._due_at)

    def put_off(self, size: int) -> None:
        """Try again later: it did not work."""
        self._due_bytes = size + _RETRY_BYTES
        if self._due_at == inf:
            self.asked_above = self._due_bytes
        else:
            self._due_at = time.time() + _RETRY_SECONDS

    def failed_sync(self, segment: str, reason: str) -> None:
        """Put on record that a segment's data may not be on disk; what can be done about it was done.

        Raises:
            OSError: The state cannot be written.
        """
        state = self._state.load()
        failed = self._state.number(FAILED_SYNCS) + 1
        last = {"at_unix_seconds": int(time.time()), "segment": segment, "error": reason}
        self._state.save({**state, FAILED_SYNCS: failed, LAST_FAILED_SYNC: last})

    def gap(self, lines: int) -> None:
        """Put on record that so many lines were lost until now.

        Raises:
            OSError: The state cannot be written.
        """
        state = self._state.load()
        gaps = state.get(GAPS)
        gap = {"until_unix_seconds": int(time.time()), "lines": lines}
        latest = [*(as_list(gaps) or []), gap][-_REMEMBERED_GAPS:]
        self._state.save({**state, LOST: self._state.number(LOST) + lines, GAPS: latest})

    def remember_numbers(self) -> None:
        """Put on record which numbers are given, before segments are deleted.

        Raises:
            OSError: The state cannot be written.
        """
        self._state.save({**self._state.load(), _SEALED: self._last_number()})

    def _last_number(self) -> int:
        return max(self._state.number(_SEALED), 0, *(segment.number for segment in sealed_segments(self._path)))

    def seal(self) -> None:
        """Rename the active file to the next numbered segment.

        Raises:
            OSError: The state cannot be written, or the file cannot be renamed.
        """
        state = self._state.load()
        number = self._last_number() + 1
        # Written first: a number is never given twice, also when its segment is deleted before the next rotation.
        self._state.save({**state, _SEALED: number})
        self._sealed_path = path_of_number(self._path, number)
        os.rename(self._path, self._sealed_path)

    def index_sealed(self) -> None:
        """Have an index made of what was sealed last, in a thread of its own; whoever needs it makes it otherwise."""
        sealed, self._sealed_path = self._sealed_path, ""
        # A small segment is none worth a thread.
        if sealed and _size_of(sealed) >= INDEXED_BYTES:

            def index() -> None:
                # Loaded in the thread: no line waits for that.
                from .index import index_sealed  # noqa: PLC0415

                with suppress(OSError, JournalError):
                    index_sealed(self._path, sealed)

            with suppress(RuntimeError):
                # At the end of the interpreter no thread is begun any more.
                threading.Thread(target=index, name="otel-patterns-index", daemon=True).start()


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0

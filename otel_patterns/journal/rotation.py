"""Sealing the active file of a journal: when it is due, and the rename itself, both under the journal's lock.

Killed at any moment it leaves a journal that reads right. Before the rename only a number was passed over; after it the
active file is missing, which is how a journal begins.
"""

from __future__ import annotations

import os
import time
from math import inf
from typing import Final

from .segments import path_of_number, sealed_segments
from .state import JournalState

# After a rotation failed, writing goes on in the file that is there; the next try is due after so much more.
_RETRY_BYTES: Final = 1024 * 1024
_RETRY_SECONDS: Final = 60.0
_SEALED: Final = "sealed"
_BEGUN_AT: Final = "begun_at"


class Rotation:
    """When a journal's active file is to be sealed, and how.

    Args:
        path: The journal.
        max_bytes: Above this size; zero: at no size.
        max_seconds: When so much time has passed since it was begun; zero: at no age.
    """

    def __init__(self, path: str, max_bytes: int = 0, max_seconds: float = 0) -> None:
        self._path = path
        self._state = JournalState(path)
        self._max_bytes = max_bytes or inf
        self._max_seconds = max_seconds
        self.due_bytes = self._max_bytes
        self.due_at = inf

    def opened(self, *, is_new: bool) -> None:
        """Begin to watch over the file that was opened just now.

        Raises:
            OSError: The state cannot be written.
        """
        self.due_bytes = self._max_bytes
        if not self._max_seconds:
            return
        self.due_at = time.time() + self._max_seconds
        state = self._state.load()
        begun_at = state.get(_BEGUN_AT)
        if not is_new and isinstance(begun_at, (int, float)):
            self.due_at = min(self.due_at, begun_at + self._max_seconds)
        else:
            self._state.save({**state, _BEGUN_AT: time.time()})

    def is_due(self, size: int) -> bool:
        """Tell whether a file that is about to have this size is to be sealed first."""
        return size > self.due_bytes or (self.due_at != inf and time.time() >= self.due_at)

    def put_off(self, size: int) -> None:
        """Try again later: it did not work."""
        self.due_bytes = size + _RETRY_BYTES
        if self.due_at != inf:
            self.due_at = time.time() + _RETRY_SECONDS

    def seal(self) -> str:
        """Rename the active file to the next numbered segment, and return that one's path.

        Raises:
            OSError: The state cannot be written, or the file cannot be renamed.
        """
        state = self._state.load()
        number = max(self._state.number(_SEALED), *(segment.number for segment in sealed_segments(self._path)), 0) + 1
        # Written first: a number is never given twice, also when its segment is deleted before the next rotation.
        self._state.save({**state, _SEALED: number})
        sealed = path_of_number(self._path, number)
        os.rename(self._path, sealed)
        return sealed

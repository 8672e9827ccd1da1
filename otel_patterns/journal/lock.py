"""The lock between processes: `flock` on a separate file that is never renamed, with a deadline.

`flock` belongs to the open file: it is freed when a process dies, and a forked child must open its own.
POSIX record locks would be dropped by closing any descriptor of the file (facts: durability 2.5).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Generator
from contextlib import contextmanager
from math import inf

from ..errors import JournalError
from .descriptor import Descriptor

_FIRST_WAIT_SECONDS = 0.00005
_LONGEST_WAIT_SECONDS = 0.005
_TRY = fcntl.LOCK_EX | fcntl.LOCK_NB
# How long it may stay unnoticed that the lock file was moved or removed. Until then two writers may hold two locks:
# their lines are whole all the same, because each is one write at the end of the file. Looking costs more than locking.
_SECONDS_BETWEEN_LOOKS = 0.02


class FileLock:
    """An exclusive lock on `path`. One object is used by one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = Descriptor(path)
        self._looked_at = -inf

    def acquire(self, timeout_seconds: float) -> None:
        """Take the lock.

        Raises:
            JournalError: Another process held it until the deadline, or no regular file stands at the path.
            OSError: The lock file cannot be opened.
        """
        if time.monotonic() - self._looked_at < _SECONDS_BETWEEN_LOOKS:
            # Nearly always, and every event waits for it.
            try:
                fcntl.flock(self._file.number, _TRY)
            except OSError:
                pass
            else:
                return
        self._acquire_slowly(timeout_seconds)

    def _acquire_slowly(self, timeout_seconds: float) -> None:
        deadline = 0.0
        wait = _FIRST_WAIT_SECONDS
        while True:
            now = time.monotonic()
            is_look_due = now - self._looked_at >= _SECONDS_BETWEEN_LOOKS
            if is_look_due and self._file.status() is None:
                self._file.open()
            try:
                fcntl.flock(self._file.number, _TRY)
            except BlockingIOError:
                deadline = deadline or now + timeout_seconds
                if now >= deadline:
                    raise JournalError(self._path, f"locked by another process for {timeout_seconds} s") from None
                time.sleep(min(wait, deadline - now))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                self.look_again()
                continue
            except OSError:
                if is_look_due:
                    raise
                # Somebody has closed all descriptors.
                self.look_again()
                continue
            if not is_look_due:
                return
            if self._file.status_at_path() is not None:
                self._looked_at = now
                return
            # Somebody moved or removed the lock file: two writers under different locks would interleave.
            self.close()

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        # Without a flag: an interrupt may come between the lock and the flag.
        if self._file.number >= 0:
            fcntl.flock(self._file.number, fcntl.LOCK_UN)

    def look_again(self) -> None:
        """Look at the path at the next `acquire`: something there has been moved."""
        self._looked_at = -inf

    def close(self) -> None:
        """Close the lock file, which also gives the lock back."""
        self.look_again()
        self._file.close()


@contextmanager
def locked(path: str, timeout_seconds: float) -> Generator[None, None, None]:
    """Hold the lock on `path` for a block.

    Raises:
        JournalError: As `FileLock.acquire`.
        OSError: The lock file cannot be opened.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout_seconds)
        yield
    finally:
        # Which also gives the lock back.
        lock.close()

"""The lock between processes: `flock` on a separate file that is never renamed, with a deadline.

`flock` belongs to the open file: it is freed when a process dies, and a forked child must open its own.
POSIX record locks would be dropped by closing any descriptor of the file (facts: durability 2.5).
"""

from __future__ import annotations

import fcntl
import time

from ..errors import JournalError
from .descriptor import Descriptor

_FIRST_WAIT_SECONDS = 0.00005
_LONGEST_WAIT_SECONDS = 0.005


class FileLock:
    """An exclusive lock on `path`. One object is used by one thread at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = Descriptor(path)

    def acquire(self, timeout_seconds: float) -> None:
        """Take the lock.

        Raises:
            JournalError: Another process held it until the deadline, or no regular file stands at the path.
            OSError: The lock file cannot be opened.
        """
        deadline = 0.0
        wait = _FIRST_WAIT_SECONDS
        while True:
            if self._file.status() is None:
                self._file.open()
            try:
                fcntl.flock(self._file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                deadline = deadline or now + timeout_seconds
                if now >= deadline:
                    raise JournalError(self._path, f"locked by another process for {timeout_seconds} s") from None
                time.sleep(min(wait, deadline - now))
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                continue
            if self._file.is_at_path():
                return
            # Somebody removed or replaced the lock file: two writers under different locks would interleave.
            self._file.close()

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        # Without a flag: an interrupt may come between the lock and the flag.
        if self._file.number >= 0:
            fcntl.flock(self._file.number, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock file, which also gives the lock back."""
        self._file.close()

"""Waiting for a directory to change: inotify where it exists, else only the time-out.

inotify merges and drops events and sees nothing that other hosts do, so it may only shorten a wait, never replace
the look at the file (facts: durability 2.9).
"""

from __future__ import annotations

import ctypes
import os
import select
import time

_IN_MODIFY = 0x2
_IN_MOVED_TO = 0x80
_IN_CREATE = 0x100
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
# A busy journal would wake us for every line; this much rest makes one wake of many.
_REST_SECONDS = 0.01


class DirectoryWatch:
    """Wakes up when a file in the directory is written, created or moved there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor = -1
        self._poll: select.poll | None = None
        self._start()

    def _start(self) -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            descriptor = int(libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
        except (OSError, AttributeError):
            return
        if descriptor < 0:
            return
        mask = _IN_MODIFY | _IN_CREATE | _IN_MOVED_TO
        if libc.inotify_add_watch(descriptor, os.fsencode(self._directory), mask) < 0:
            # The directory may not be there yet, or the user's watches are used up.
            os.close(descriptor)
            return
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def wait(self, seconds: float) -> None:
        """Return when something changed, at the latest after `seconds`."""
        if self._poll is None:
            self._start()
        if self._poll is None:
            time.sleep(seconds)
        elif self._poll.poll(seconds * 1000):
            time.sleep(_REST_SECONDS)
            try:
                while os.read(self._descriptor, 64 * 1024):
                    pass
            except BlockingIOError:
                pass

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._poll = None

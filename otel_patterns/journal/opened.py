"""Which files a process holds open: a few, however many it writes, as one that has a journal for each job."""

from __future__ import annotations

import os
import threading
from typing import Final, Protocol

MOST: Final = 32


class Closable(Protocol):
    """What opens again by itself when it is used."""

    def close_unless_busy(self) -> None:
        """Close it and call `forget`, unless it is in use. Called from any thread, and from signal handlers."""
        ...


# In the order in which they were opened.
_opened: dict[Closable, None] = {}
_closing = threading.Lock()


def remember(opened: Closable) -> None:
    """Note what was opened, and close what was opened first when there are too many."""
    _opened[opened] = None
    # Tried, not waited for: a signal handler may interrupt who holds it. The next one that is opened tries again.
    if len(_opened) <= MOST or not _closing.acquire(blocking=False):
        return
    try:
        for eldest in list(_opened)[: len(_opened) - MOST]:
            eldest.close_unless_busy()
    finally:
        _closing.release()


def forget(closed: Closable) -> None:
    """Note what was closed."""
    _opened.pop(closed, None)


def _after_fork() -> None:
    global _closing  # noqa: PLW0603  # a thread of the parent may have held it
    _closing = threading.Lock()
    _opened.clear()


os.register_at_fork(after_in_child=_after_fork)

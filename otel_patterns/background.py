"""A thread that is there as long as there is something to do: a process may have a journal for each job."""

from __future__ import annotations

import threading
from collections.abc import Callable


class BackgroundThread:
    """A daemon thread, started by whoever brings something to do, and given up by itself when nothing comes.

    Args:
        run: What it does. It returns when `gives_up` says so, or when it is to end for good.
        name: Of the thread.

    Attributes:
        thread: None while there is none. After its last return the thread stays here, and no other is started.
    """

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._name = name
        self.thread: threading.Thread | None = None
        # Held as long as there is a thread: who gets it starts one. It is tried and never waited for, so a signal
        # handler may do it wherever it interrupts.
        self._lock = threading.Lock()

    def wake(self) -> None:
        """Have a thread for what was brought before this call.

        Raises:
            RuntimeError: None can be started: the interpreter ends, or there are too many. The next call tries again.
        """
        # Not `blocking=False`: a keyword takes as long as the lock.
        if not self._lock.acquire(False):  # noqa: FBT003
            return
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._lock.release()
            raise
        self.thread = thread

    def gives_up(self, is_done: Callable[[], bool]) -> bool:
        """Called in the thread when nothing has come for a while: tell whether it has to return.

        Args:
            is_done: Whether there is nothing to do. It is asked once more, because something may come meanwhile.
        """
        self.thread = None
        self._lock.release()
        # Whoever has brought something since has started the next thread, or did not because there was this one.
        if is_done() or not self._lock.acquire(blocking=False):
            return True
        self.thread = threading.current_thread()
        return False

"""Delivery of this process's runs, live: never in `emit`, never under the journal's lock.

`emit` only puts a small note into a queue. A thread projects and sends (`worker`). What could not be sent stays in
the journal and is owed: `replay` pays it.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections import Counter

from ..clock import Clock
from ..errors import Guard
from ..journal.cursor import Cursor
from ..model.names import TERMINAL_EVENT_TYPES
from ..model.stages import is_stage_closing
from ..settings import EXIT_SECONDS
from .provider import global_provider, sdk_provider
from .sink import Sink
from .worker import Note, Worker


class Delivery:
    """Delivers this process's runs of one journal to one sink. Thread-safe; a forked child starts its own thread."""

    def __init__(self, journal_path: str, sink: Sink, *, clock: Clock, guard: Guard) -> None:
        self._journal_path = journal_path
        self._sink = sink
        self._clock = clock
        self._guard = guard
        # Spans by the answer to them, since the process began.
        self.spans: Counter[str] = Counter()
        self._worker = self._new_worker()
        _deliveries.add(self)
        _close_first()

    def _new_worker(self) -> Worker:
        return Worker(self._journal_path, self._sink, clock=self._clock, guard=self._guard, spans=self.spans)

    @property
    def waiting(self) -> int:
        """How many spans and notes of events wait for their delivery."""
        return self._worker.waiting

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do and its thread has ended."""
        return self._worker.is_idle

    @property
    def left_out(self) -> int:
        """How many spans this process leaves to a replay."""
        return self._worker.left_out

    @property
    def lag_seconds(self) -> float:
        """For how long the receiver has not taken what waits for it."""
        return self._worker.lag_seconds

    def adopt_after_fork(self) -> None:
        """Start afresh: the parent's thread, queue and unsent spans are the parent's."""
        self._worker = self._new_worker()

    @property
    def destination(self) -> str:
        """Where runs are sent, without secrets."""
        return self._sink.destination

    def notify(  # what is known of the event
        self, run_id: str, event_id: str, event_type: str, start: Cursor, end: Cursor, *, is_first: bool
    ) -> None:
        """Note an event that this process appended. Costs a queue's put; never blocks, never raises."""
        is_closing = is_stage_closing(event_type)
        is_terminal = event_type in TERMINAL_EVENT_TYPES
        if is_first or is_closing or is_terminal:
            _finalize_in_multiprocessing_child()
            self._worker.put(Note(run_id, event_id, start, end, is_first, is_closing, is_terminal))
            _close_before_provider()

    def leave_out(self, event_id: str) -> None:
        """Note an event that is not in the journal: what it would have completed is left to a replay."""
        self._worker.leave_out(1, f"event {event_id} was not journaled at once")

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything noted so far was tried, and tell whether all of it was acknowledged or pushed on."""
        return self._worker.flush(timeout_seconds)

    def close(self, timeout_seconds: float) -> None:
        """Send what can be sent within the time, and stop the thread. What is left stays owed."""
        worker, self._worker = self._worker, self._new_worker()
        worker.close(timeout_seconds)


_deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet()
_finalized_pid = 0
_closed_before: object = None


def close_all(timeout_seconds: float = EXIT_SECONDS) -> None:
    """Close every delivery of this process, in one time for all. Runs by itself at exit."""
    deadline = time.monotonic() + timeout_seconds
    for delivery in list(_deliveries):
        delivery.close(max(0.0, deadline - time.monotonic()))


def _close_first() -> None:
    """Have `close_all` called at exit before everything that is registered so far: the youngest is called first."""
    atexit.unregister(close_all)
    atexit.register(close_all)


def _close_before_provider() -> None:
    """Have deliveries closed before the application's provider, which may be younger than they are.

    A provider that was shut down drops what is played through it, and does not say so.
    """
    global _closed_before  # noqa: PLW0603  # the process has one global provider
    provider = sdk_provider(global_provider())
    if provider is not _closed_before:
        _closed_before = provider
        _close_first()


def _finalize_in_multiprocessing_child() -> None:
    """Have a child of multiprocessing close its deliveries: it ends without atexit."""
    global _finalized_pid  # noqa: PLW0603  # once per process
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _finalized_pid != os.getpid():
        _finalized_pid = os.getpid()
        util.Finalize(None, close_all, exitpriority=0)


def _after_fork() -> None:
    for delivery in list(_deliveries):
        delivery.adopt_after_fork()


os.register_at_fork(after_in_child=_after_fork)

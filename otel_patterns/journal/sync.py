"""Putting lines on disk, outside of all locks: one thread per process and journal, as long as there is something to do.

Threads that wait share one sync: it covers all that was written before it began. A sync that failed is final for its
file: the kernel may have dropped the pages and call the next one good (facts: durability 2.6). So the lines that no
good sync covers are kept in memory, and when one fails, they are written again into another file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from ..background import BackgroundThread
from ..errors import Guard
from .descriptor import sync_directory

GROUP_SECONDS: Final = 0.1
# Of the time in which a line is to be on disk, this much is for the sync itself.
_SYNC_SECONDS: Final = 0.02
# After that the thread ends.
_IDLE_SECONDS: Final = 1.0
KEPT_BYTES: Final = 16 * 1024 * 1024
_FIRST_BACKOFF_SECONDS: Final = 0.1
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_NOT_SUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOTTY})
_FULL_SYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)

# Leaves the file of this descriptor, and writes `Syncer.unsynced` into another one.
Rewrite = Callable[[int, str], None]


def sync_data(descriptor: int) -> None:
    """Put a file's data on disk.

    Raises:
        OSError: They may not be there, and syncing the same file again would not tell.
    """
    if _FULL_SYNC is not None:
        # There fsync leaves the data in the drive's cache.
        try:
            fcntl.fcntl(descriptor, _FULL_SYNC)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
        else:
            return
    getattr(os, "fdatasync", os.fsync)(descriptor)


class Syncer:
    """Puts the lines that this process writes into a journal on disk.

    Args:
        directory: Of the journal.
        guard: Where failures are counted.
        rewrite: Called in the thread when a sync has failed.
    """

    def __init__(self, directory: str, guard: Guard, rewrite: Rewrite) -> None:
        self._directory = directory
        self._guard = guard
        self._rewrite = rewrite
        # Lines are numbered from 1 on; up to here they are written, up to there on disk.
        self._written = 0
        self._synced = 0
        # Those that are not, with their numbers, as many as may be kept.
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_bytes = 0
        # Of these a sync failed, and they were not kept any more: first and last number.
        self._never: list[tuple[int, int]] = []
        # Own descriptors, because the journal may have closed its own before the sync. The last one is written to.
        self._files: list[int] = []
        self._is_open = False
        self._has_new_file = False
        # The file whose sync has failed, and why, until its lines are written again.
        self._failed: tuple[int, str] | None = None
        self._backoff = 0.0
        # Spent in waiting for the disk.
        self.seconds = 0.0
        # For what is above. A signal handler never waits for it: its lines are not written while others are.
        self._lock = threading.Lock()
        # Reentrant, unlike events: a signal handler may wait for a line wherever it interrupts.
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._is_called = False
        # Called after the next sync, whatever came of it.
        self._waiting: deque[Callable[[], object]] = deque()
        self._background = BackgroundThread(self._run, "otel-patterns-sync")
        # Else who waits does the work himself.
        self._can_start = True

    def wrote(self, descriptor: int, lines: Sequence[bytes]) -> int:
        """Note lines that were written to a file, and return the number of the last one."""
        with self._lock:
            self._note_file(descriptor)
            for line in lines:
                self._written += 1
                self._kept.append((self._written, line))
                self._kept_bytes += len(line)
            while self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popleft()[1])
            ticket = self._written
        if not self._is_called:
            self._is_called = True
            self._call(is_urgent=False)
        return ticket

    def note_file(self, descriptor: int) -> None:
        """Note the file that is written to."""
        with self._lock:
            self._note_file(descriptor)

    def _note_file(self, descriptor: int) -> None:
        if not self._is_open:
            self._files.append(os.dup(descriptor))
            self._is_open = self._has_new_file = True

    def let_go(self, *, waits: bool = True) -> bool:
        """Expect the next line in another file, or opened again; False when that would mean to wait and must not."""
        if not self._lock.acquire(blocking=waits):
            return False
        was_open, self._is_open = self._is_open, False
        self._lock.release()
        if was_open:
            # Until then its descriptor is held.
            self._call(is_urgent=True)
        return True

    def unsynced(self) -> list[bytes]:
        """Return the lines that may not be on disk, as far as they were kept."""
        with self._lock:
            first = self._kept[0][0] if self._kept else self._written + 1
            if first > self._synced + 1:
                self._never.append((self._synced + 1, first - 1))
            return [line for _, line in self._kept]

    def is_durable(self, ticket: int) -> bool:
        """Tell whether a line is on disk."""
        return 0 < ticket <= self._synced and not any(first <= ticket <= last for first, last in self._never)

    def wait(self, ticket: int, timeout_seconds: float) -> bool:
        """Have a line put on disk now, wait for it, and return whether it is there."""
        if ticket > self._synced:
            answer: SimpleQueue[None] = SimpleQueue()
            self.call_when_tried(lambda: answer.put(None))
            with contextlib.suppress(Empty):
                answer.get(timeout=timeout_seconds)
        return self.is_durable(ticket)

    def call_when_tried(self, callback: Callable[[], object]) -> None:
        """Have everything put on disk now, and call `callback`, which must not raise, when that was tried."""
        self._waiting.append(callback)
        self._call(is_urgent=True)
        if not self._can_start:
            self.sync()

    def wait_for_all(self, timeout_seconds: float) -> bool:
        """Have everything put on disk that was written so far."""
        return self._written == 0 or self.wait(self._written, timeout_seconds)

    def close_after_fork(self) -> None:
        """Close the parent's descriptors in its child."""
        for descriptor in self._files:
            os.close(descriptor)

    def _call(self, *, is_urgent: bool) -> None:
        self._calls.put(is_urgent)
        try:
            self._background.wake()
            self._can_start = True
        except RuntimeError:
            self._can_start = False

    def _run(self) -> None:
        while True:
            try:
                is_urgent = self._calls.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._background.gives_up(self._calls.empty):
                    return
                continue
            # After a failure also those wait who are in a hurry: each try costs a segment.
            due = time.monotonic() + (self._backoff or GROUP_SECONDS - _SYNC_SECONDS)
            with contextlib.suppress(Empty):
                while (not is_urgent or self._backoff) and (remaining := due - time.monotonic()) > 0:
                    is_urgent = self._calls.get(timeout=remaining)
            self.sync()

    def sync(self) -> None:
        """Put on disk what was written so far; never raises. One thread at a time."""
        # First of all: a line that is written from here on calls again, and who waits from here on is not answered.
        self._is_called = False
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self._guard.protect("sync"):
                self._sync()
        finally:
            for callback in waiting:
                callback()

    def _sync(self) -> None:
        with self._lock:
            ticket, files = self._written, list(self._files)
            has_new_file, self._has_new_file = self._has_new_file, False
        if self._failed is not None:
            self._write_again(*self._failed)
            return
        if ticket > self._synced:
            begin = time.monotonic()
            for file in files:
                try:
                    sync_data(file)
                except OSError as error:  # noqa: PERF203  # there are one or two
                    self._guard.report("sync", f"{self._directory}: what was written may not be on disk: {error}")
                    self._write_again(file, error.strerror or str(error))
                    return
            if has_new_file:
                sync_directory(self._directory)
            self.seconds += time.monotonic() - begin
        self._backoff = 0.0
        with self._lock:
            self._synced = ticket
            while self._kept and self._kept[0][0] <= ticket:
                self._kept_bytes -= len(self._kept.popleft()[1])
        self._close(files)

    def _write_again(self, failed: int, reason: str) -> None:
        """Have unsynced lines written into another file; when that fails, it is tried again later."""
        self._failed = failed, reason
        self._backoff = min(max(self._backoff * 2, _FIRST_BACKOFF_SECONDS), _LONGEST_BACKOFF_SECONDS)
        # There is something to do again, whatever becomes of this.
        self._call(is_urgent=False)
        self._rewrite(failed, reason)
        self._failed = None
        # Not synced again: the next call might say that all is well.
        self._close(list(self._files))

    def _close(self, files: Sequence[int]) -> None:
        """Close those files that are not written to any more."""
        with self._lock:
            current = self._files[-1] if self._is_open else -1
            closing = [file for file in files if file != current]
            self._files = [file for file in self._files if file not in closing]
        for file in closing:
            os.close(file)

"""Appending to the journal: one whole line, alone on its line, once, in the kernel when `append` returns.

The protocol (design section 7; each step has a fault it prevents, facts: durability 2):

1. thread lock, then `flock` on `<journal>.lock` with a deadline;
2. compare the path's inode with the descriptor's: after a rename or delete from outside, writes would vanish;
   seal the file when it is too large or too old, and begin a new one;
3. look at the last byte, unless the file is as long as we left it: after a writer was killed inside its write, the
   next line would be glued to the fragment;
4. one `os.write` on `O_APPEND`; a short write goes on, an error cuts back to the old size.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from math import inf
from typing import Final, Literal, NamedTuple

from ..errors import Guard
from .appended import AppendedIds
from .cursor import Cursor, head_of, segment_of
from .descriptor import Descriptor, sync_directory
from .lock import FileLock
from .rotation import Rotation

JOURNAL_NAME: Final = "pattern_events.jsonl"
LOCK_TIMEOUT_SECONDS: Final = 2.0
SPOOL_LINES: Final = 10_000
SPOOL_BYTES: Final = 16 * 1024 * 1024
# After a failure lines go straight to the spool for this long: else every emit would wait for the lock's deadline.
_RETRY_SECONDS: Final = 1.0
# And a new try waits this long: a lock held for hours must not cost the engine two seconds out of three.
_RETRY_LOCK_TIMEOUT_SECONDS: Final = 0.05

State = Literal["journaled", "spooled", "lost"]


class Receipt(NamedTuple):
    """Where an appended line is; what `emit` returns.

    Attributes:
        state: `journaled`: in the kernel, survives any process's death. `spooled`: in this process's memory
            until writing works again. `lost`: the spool was full.
        segment: The file that the line stands in, as cursors name it; empty unless journaled. It stays the same when
            the file is rotated or compressed.
        offset: Byte in it at which the line begins.
        size: How many bytes the line has, with its newline.
    """

    state: State
    segment: str = ""
    offset: int = 0
    size: int = 0

    @property
    def start(self) -> Cursor | None:
        """Cursor of the line's first byte; None unless journaled."""
        return Cursor(self.segment, self.offset) if self.segment else None

    @property
    def end(self) -> Cursor | None:
        """Cursor behind the line's newline; None unless journaled."""
        return Cursor(self.segment, self.offset + self.size) if self.segment else None


class Journal:
    """The writing end of one journal file. Thread-safe, fork-safe, and safe to re-enter from a signal handler.

    Never raises: a line that cannot be written is spooled and counted in `guard.counts["spooled"]`,
    one that does not even fit the spool in `guard.counts["lost"]`. A signal handler's line is spooled too when the
    signal interrupted an append of its own thread, which writes it before it returns.

    Args:
        path: The journal.
        guard: Where failures are counted.
        lock_path: The lock file; None means `<path>.lock`.
        spool_lines: How many lines may wait in memory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        guard: Guard | None = None,
        lock_path: str | None = None,
        spool_lines: int = SPOOL_LINES,
    ) -> None:
        self.path = os.path.abspath(path)
        self.guard = guard or Guard()
        self.appended = AppendedIds()
        self._lock_path = lock_path or f"{self.path}.lock"
        self._spool_lines = spool_lines
        self._rotation = Rotation(self.path)
        self._reset()
        _all_journals.add(self)

    def _reset(self) -> None:
        """Start without locks, descriptors and spooled lines, as a new object or a forked child must."""
        self._lock = threading.RLock()
        self._file_lock = FileLock(self._lock_path)
        self._file = Descriptor(self.path, flags=os.O_APPEND)
        # The opened file as cursors name it; empty: to be found out.
        self._segment = ""
        self._is_new = False
        # Behind the last line that this process wrote into the opened file.
        self._end = 0
        self._is_writing = False
        self._spool: deque[bytes] = deque()
        self._spool_bytes = 0
        # Zero: the last write went well.
        self._retry_at = 0.0

    def rotate(self, max_bytes: int = 0, max_seconds: float = 0) -> None:
        """Seal the file from now on above a size or an age, and begin a new one; zero means never."""
        with self._lock:
            self._rotation = Rotation(self.path, max_bytes, max_seconds)
            # What is opened has an age of its own: it is asked for when it is opened again.
            self._file.close()

    def append(self, line: bytes) -> Receipt:
        """Write one line, which ends with its only newline, and return where it is."""
        if self._retry_at and time.monotonic() < self._retry_at:
            return self._keep(line, "the journal has ended" if self._retry_at == inf else "writing failed a moment ago")
        # A stopped thread must not block the engine for longer than a stopped process may.
        if not (self._lock.acquire(blocking=False) or self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS)):
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            return self._keep(line, "another thread holds the journal")
        try:
            if self._is_writing:
                return self._keep(line, None)
            try:
                receipt = self._write_locked(line, _RETRY_LOCK_TIMEOUT_SECONDS if self._retry_at else None)
            except Exception as error:  # noqa: BLE001  # an engine deep in recursion must not fail here either
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                return self._keep(line, f"{type(error).__name__}: {error}")
            if self._spool:
                self.flush()
            if self._is_new:
                self._is_new = False
                sync_directory(os.path.dirname(self.path))
            return receipt
        finally:
            self._lock.release()

    def flush(self) -> int:
        """Try to write what is spooled and return how many lines are still spooled."""
        if self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            try:
                with self.guard.protect("append"):
                    # Again when a signal handler appended meanwhile.
                    while self._spool and not self._is_writing:
                        self._write_locked(b"", None)
            finally:
                self._lock.release()
        return len(self._spool)

    @property
    def spooled(self) -> int:
        """How many lines wait in memory for writing to work again."""
        return len(self._spool)

    def close(self) -> None:
        """Close the descriptors. Appending again opens them again."""
        with self._lock:
            self._file_lock.close()
            self._file.close()

    def end(self) -> None:
        """Close it for good: what is appended or still spooled from now on is lost, and counted so."""
        with self._lock:
            self.close()
            self._spool_lines, self._retry_at = 0, inf
            if self._spool:
                self.guard.count("lost", len(self._spool))
                self._spool.clear()

    def adopt_after_fork(self) -> None:
        """Let go of what is the parent's: its descriptors share its flock, its spooled lines are its own to write."""
        self._file_lock.close()
        self._file.close()
        self._reset()

    def _write_locked(self, line: bytes, timeout_seconds: float | None) -> Receipt:
        self._is_writing = True
        file = self._file
        try:
            self._file_lock.acquire(LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
            status = file.status_at_path() if file.is_ours() else None
            if status is None:
                status = self._open_locked(timeout_seconds)
            size = status.st_size
            if size and self._rotation.is_due(size + len(line)):
                size = self._rotate_locked(size)
            data, spooled = line, ()
            # A file of the size that we left it at ends with our newline.
            if self._spool or size != self._end:
                if size < self._end:
                    # Cut from outside: what begins here now is another segment.
                    self._segment = ""
                spooled = tuple(self._spool)
                is_torn = size > 0 and os.pread(file.number, 1, size - 1) != b"\n"
                data = b"".join((b"\n" if is_torn else b"", *spooled, line))
            if (written := os.write(file.number, data)) != len(data):
                self._write_rest(data, written)
            # Asked, not added up: the file may have been cut from outside since its size was taken.
            end = self._end = file.position = os.lseek(file.number, 0, os.SEEK_CUR)
            for written in spooled:
                self._spool.popleft()
                self._spool_bytes -= len(written)
            if not self._segment or end != size + len(data):
                self._segment = segment_of(head_of(file.number))
            self._retry_at = 0.0
        finally:
            try:
                self._file_lock.release()
            finally:
                self._is_writing = False
        size = len(line)
        return Receipt("journaled", self._segment, end - size, size)

    def _open_locked(self, timeout_seconds: float | None) -> os.stat_result:
        """Open what stands at the path. Whoever moved the journal may have moved its lock with it."""
        self._file_lock.release()
        self._file_lock.look_again()
        self._file_lock.acquire(LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
        return self._begin_locked()

    def _begin_locked(self) -> os.stat_result:
        self._end, self._segment = 0, ""
        status = self._file.open()
        # Its name is put on disk when the lock is free again.
        self._is_new = status.st_size == 0
        try:
            self._rotation.opened(is_new=self._is_new)
        except OSError as error:
            self.guard.report("rotation", f"journal {self.path}: {error}")
        return status

    def _rotate_locked(self, size: int) -> int:
        """Seal the file, begin a new one, and return its size; when that fails, the old one goes on."""
        number = self._file.number
        try:
            if os.pread(number, 1, size - 1) != b"\n":
                # Where it ends nobody will heal it any more.
                size += os.write(number, b"\n")
            self._rotation.seal()
        except Exception as error:  # noqa: BLE001  # a rotation that fails must not keep lines from being written
            self._rotation.put_off(size)
            self.guard.report("rotation", f"journal {self.path} goes on in its file: {error}")
            return os.fstat(number).st_size
        return self._begin_locked().st_size

    def _write_rest(self, data: bytes, written: int) -> None:
        """Write what a short write has left, or take back all of `data`."""
        number = self._file.number
        try:
            while written < len(data):
                written += os.write(number, memoryview(data)[written:])
        except BaseException:
            # Under the lock nobody else wrote: what stands at the end is our own fragment.
            os.ftruncate(number, os.lseek(number, 0, os.SEEK_CUR) - written)
            raise

    def _keep(self, line: bytes, reason: str | None) -> Receipt:
        """Put a line into the spool; `reason` None means that it will be written in a moment."""
        size = len(line)
        if len(self._spool) < self._spool_lines and self._spool_bytes + size <= SPOOL_BYTES:
            self._spool.append(line)
            self._spool_bytes += size
            if reason is not None:
                self.guard.report("spooled", f"journal {self.path}: event kept in memory: {reason}")
            return Receipt("spooled")
        full = ", the spool is full" if self._spool_lines else ""
        self.guard.report("lost", f"journal {self.path}: event lost{full}: {reason or 'too many signals'}")
        return Receipt("lost")


_all_journals: weakref.WeakSet[Journal] = weakref.WeakSet()
_journals: dict[str, Journal] = {}


def open_journal(path: str | os.PathLike[str], guard: Guard | None = None) -> Journal:
    """Return this process's journal for a path: one object, so one pair of descriptors, however often it is asked."""
    absolute = os.path.abspath(path)
    # Without a lock: setdefault is one step, and a journal that loses the race has opened nothing yet.
    return _journals.get(absolute) or _journals.setdefault(absolute, Journal(absolute, guard=guard))


def end_journal(path: str | os.PathLike[str]) -> None:
    """End this process's journal for a path and forget it. Whoever opens it again gets a new one."""
    journal = _journals.pop(os.path.abspath(path), None)
    if journal is not None:
        journal.end()


def append_once(path: str, line: bytes, *, lock_path: str, guard: Guard) -> Receipt:
    """Append to a file that is written now and then, without keeping its descriptors open (per-job logs).

    What cannot be written is lost, and counted so: nobody would write it later.
    """
    journal = Journal(path, guard=guard, lock_path=lock_path, spool_lines=0)
    try:
        return journal.append(line)
    finally:
        journal.close()


def append_to_job(journal: Journal, job_id: str, line: bytes) -> Receipt:
    """Append a line of the journal to the log of its job, `jobs/<job_id>/` beside the journal."""
    path = os.path.join(os.path.dirname(journal.path), "jobs", job_id, JOURNAL_NAME)
    return append_once(path, line, lock_path=f"{journal.path}.lock", guard=journal.guard)


@atexit.register
def _flush_all() -> None:
    for journal in list(_all_journals):
        if journal.spooled and (left := journal.flush()):
            journal.guard.report("lost", f"journal {journal.path}: {left} events kept in memory are lost at exit")


def _adopt_all_after_fork() -> None:
    # At once and not at the next append: the child has one thread now, and a descriptor it holds keeps the flock alive.
    for journal in list(_all_journals):
        journal.adopt_after_fork()


os.register_at_fork(after_in_child=_adopt_all_after_fork)

"""Appending to the journal: one whole line, alone on its line, once, in the kernel when `append` returns.

The protocol (design section 7; each step has a fault it prevents, facts: durability 2):

1. thread lock, then `flock` on `<journal>.lock` with a deadline;
2. compare the path's inode with the descriptor's: after a rename or delete from outside, writes would vanish;
   seal the file when it is too large or too old, and begin a new one;
3. look at the last byte, unless the file is as long as we left it: after a writer was killed inside its write, the
   next line would be glued to the fragment;
4. one `os.write` on `O_APPEND`; a short write goes on, an error cuts back to the old size.

Putting it on disk comes after that, outside of all locks (`sync`).
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from math import inf
from typing import Final

from ..errors import Guard, JournalError
from ..settings import Durability
from . import opened
from .appended import AppendedIds
from .cursor import head_of, segment_of
from .descriptor import Descriptor, sync_directory
from .lock import FileLock
from .receipt import Receipt
from .rotation import Rotation
from .spool import LeftBehind, SpoolFile
from .sync import GROUP_SECONDS, Syncer

JOURNAL_NAME: Final = "pattern_events.jsonl"
LOCK_TIMEOUT_SECONDS: Final = 2.0
SPOOL_LINES: Final = 10_000
SPOOL_BYTES: Final = 16 * 1024 * 1024
# After a failure lines go straight to the spool for this long: else every emit would wait for the lock's deadline.
_RETRY_SECONDS: Final = 1.0
# And a new try waits this long: a lock held for hours must not cost the engine two seconds out of three.
_RETRY_LOCK_TIMEOUT_SECONDS: Final = 0.05
_EXIT_SYNC_SECONDS: Final = 0.5


class Journal:
    """The writing end of one journal file. Thread-safe, fork-safe, and safe to re-enter from a signal handler.

    Never raises: a line that cannot be written is spooled and counted in `guard.counts["spooled"]`,
    one that does not even fit the spool in `guard.counts["lost"]`. A signal handler's line is spooled too when the
    signal interrupted an append of its own thread, which writes it before it returns.

    The spool is a file when `spools_to_file` is set; where none can be written, memory.

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
        self.durability: Durability = "os"
        # Since the process began, for whoever watches it.
        self.lines_written = 0
        self.bytes_written = 0
        self.spools_to_file = False
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
        self._syncer = Syncer(os.path.dirname(self.path), self.guard, self._write_again)
        # Blank lines by which the next file is told from one that may begin with the same line.
        self._blank = b""
        # Behind the last line that this process wrote into the opened file.
        self._end = 0
        self._is_writing = False
        self._spool: deque[bytes] = deque()
        self._spool_bytes = 0
        self._spool_file = SpoolFile(self.path)
        self._left_behind: LeftBehind | None = None
        # Lost since the last line that was written.
        self._lost = 0
        # Zero: the last write went well.
        self._retry_at = 0.0

    def rotate(self, max_bytes: int = 0, max_seconds: float = 0) -> None:
        """Seal the file from now on above a size or an age, and begin a new one; zero means never."""
        with self._lock:
            self._rotation = Rotation(self.path, max_bytes, max_seconds)
            # What is opened has an age of its own: it is asked for when it is opened again.
            self._file.close()

    def append(
        self, line: bytes, *, durability: Durability | None = None, is_terminal: bool = False, waits: bool = True
    ) -> Receipt:
        """Write one line, which ends with its only newline, and return where it is.

        Args:
            line: The line. Several, each with its newline, are written together and counted as one.
            durability: Another level than the journal's: at `each` it is waited for until it is on disk.
            is_terminal: At `group` it is waited for as well, at most 0.1 s.
            waits: False leaves all waiting to the caller.
        """
        level = durability or self.durability
        if self._retry_at and time.monotonic() < self._retry_at:
            return self._keep(line, "the journal has ended" if self._retry_at == inf else "writing failed a moment ago")
        # A stopped thread must not block the engine for longer than a stopped process may. Not `blocking=False`: a
        # keyword takes as long as the lock.
        if not (self._lock.acquire(False) or self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS)):  # noqa: FBT003
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            return self._keep(line, "another thread holds the journal")
        try:
            if self._is_writing:
                return self._keep(line, None)
            try:
                receipt = self._write_locked(line, level, _RETRY_LOCK_TIMEOUT_SECONDS if self._retry_at else None)
            except Exception as error:  # noqa: BLE001  # an engine deep in recursion must not fail here either
                self._retry_at = time.monotonic() + _RETRY_SECONDS
                return self._keep(line, f"{type(error).__name__}: {error}")
            if self._spool or self._spool_file.lines:
                self.flush()
            if self._is_new:
                self._is_new = False
                sync_directory(os.path.dirname(self.path))
                self._rotation.index_sealed()
        finally:
            self._lock.release()
        if level != "os" and waits and (seconds := patience_seconds(level, is_terminal=is_terminal)):
            receipt.wait(seconds)
        return receipt

    def flush(self) -> int:
        """Try to write what is spooled and return how many lines are still spooled."""
        if self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            try:
                with self.guard.protect("append"):
                    # Again when a signal handler appended meanwhile.
                    while self.spooled and not self._is_writing:
                        self._write_locked(b"", self.durability)
            finally:
                self._lock.release()
        return self.spooled

    @property
    def spooled(self) -> int:
        """How many lines wait for writing to work again."""
        return len(self._spool) + self._spool_file.lines

    @property
    def sync_seconds(self) -> float:
        """How long this process has waited for the disk."""
        return self._syncer.seconds

    @property
    def only_in_memory(self) -> int:
        """How many of these would be lost with the process."""
        return len(self._spool)

    def close(self) -> None:
        """Close the descriptors. Appending again opens them again."""
        with self._lock:
            self._syncer.let_go()
            self._close_files()

    def _close_files(self) -> None:
        opened.forget(self)
        self._file_lock.close()
        self._file.close()

    def close_unless_busy(self) -> None:
        """Close the descriptors, also from another thread or a signal handler, unless somebody is writing."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if not self._is_writing and self._syncer.let_go(waits=False):
                self._close_files()
        finally:
            self._lock.release()

    def end(self) -> None:
        """Close it for good: what is appended or still spooled from now on is lost, and counted so."""
        with self._lock:
            self.close()
            self._spool_lines, self._retry_at, self.spools_to_file = 0, inf, False
            if self._spool:
                self.guard.count("lost", len(self._spool))
                self._spool.clear()
            self._spool_file.close()

    def sync(self, timeout_seconds: float) -> bool:
        """Have everything put on disk that was written above level `os`, and return whether it is there."""
        return self._syncer.wait_for_all(timeout_seconds)

    def adopt_after_fork(self) -> None:
        """Let go of what is the parent's: its descriptors share its flock, its spooled lines are its own to write."""
        self._syncer.close_after_fork()
        self._spool_file.close()
        if self._left_behind is not None:
            self._left_behind.close()
        self._file_lock.close()
        self._file.close()
        self._reset()

    def _write_locked(self, line: bytes, level: Durability, timeout_seconds: float | None = None) -> Receipt:
        self._is_writing = True
        file = self._file
        try:
            self._file_lock.acquire(LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
            status = file.status_at_path()
            if status is None:
                status = self._open_locked(timeout_seconds)
            size = status.st_size
            if size + len(line) > self._rotation.asked_above and size and self._rotation.is_due(size + len(line)):
                size = self._rotate_locked(size)
            data, spooled = line, ()
            # A file of the size that we left it at ends with our newline.
            if size != self._end or self._spool or self._spool_file.lines or self._left_behind is not None:
                if size < self._end:
                    # Cut from outside: what begins here now is another segment.
                    self._segment = ""
                spooled = self._spooled_lines()
                is_torn = size > 0 and os.pread(file.number, 1, size - 1) != b"\n"
                data = b"".join((b"\n" if is_torn else b"", *spooled, line))
            whole = len(data)
            if (written := os.write(file.number, data)) != whole:
                self._write_rest(data, written)
            # Asked, not added up: the file may have been cut since its size was taken.
            end = self._end = file.position = os.lseek(file.number, 0, os.SEEK_CUR)
            self.bytes_written += whole
            if line:
                self.lines_written += 1
            if spooled:
                self.lines_written += sum(lines.count(b"\n") for lines in spooled)
                self._forget_spooled(spooled)
            if self._lost:
                self._record_gap()
            if not self._segment or end != size + whole:
                self._segment = segment_of(head_of(file.number))
            ticket = 0 if level == "os" else self._note(file.number, spooled, line)
            self._retry_at = 0.0
        finally:
            try:
                self._file_lock.release()
            finally:
                self._is_writing = False
        size = len(line)
        return Receipt("journaled", self._segment, end - size, size, self._syncer if ticket else None, ticket)

    def _spooled_lines(self) -> tuple[bytes, ...]:
        """Return what is to be written before anything else: left behind by others, from our file, from memory."""
        left = b""
        if self._left_behind is not None:
            try:
                left = self._left_behind.read()
            except OSError as error:
                # They must not keep us from writing for ever.
                self._left_behind.close()
                self.guard.report("spool", f"journal {self.path}: lines left behind cannot be read: {error}")
        return left, self._spool_file.read(), *self._spool

    def _forget_spooled(self, written: Sequence[bytes]) -> None:
        """Drop from the spool what was written."""
        if self._left_behind is not None:
            self._left_behind.drop()
            self._left_behind = None
        self._spool_file.drop(len(written[1]))
        # The first two were not in memory.
        for line in written[2:]:
            self._spool.popleft()
            self._spool_bytes -= len(line)

    def _record_gap(self) -> None:
        """Put on record how many lines are missing before the one that was just written."""
        lost, self._lost = self._lost, 0
        with self.guard.protect("state"):
            self._rotation.gap(lost)

    def _note(self, number: int, spooled: Sequence[bytes], line: bytes) -> int:
        """Have lines synced that are written already, and return the number of the last one; zero when that fails."""
        try:
            # Nothing is spooled nearly always.
            lines = [each for each in (*spooled, line) if each] if spooled or not line else (line,)
            return self._syncer.wrote(number, lines)
        except OSError as error:
            # No descriptor is left. The line must not be taken for one that was not written.
            self.guard.report("sync", f"journal {self.path}: a line is not synced: {error}")
            return 0

    def _open_locked(self, timeout_seconds: float | None) -> os.stat_result:
        """Open what stands at the path. Whoever moved the journal may have moved its lock with it."""
        self._file_lock.release()
        self._file_lock.look_again()
        self._file_lock.acquire(LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
        return self._begin_locked()

    def _begin_locked(self) -> os.stat_result:
        self._end, self._segment = 0, ""
        self._syncer.let_go()
        status = self._file.open()
        if self.spools_to_file and self._left_behind is None:
            self._left_behind = LeftBehind(self.path, own=self._spool_file.path)
        opened.remember(self)
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

    def _write_again(self, suspect: int, reason: str) -> None:
        """Write what no sync covers into another file than that of the descriptor, whose sync has failed.

        Raises:
            JournalError: Somebody else holds the journal.
            OSError: It cannot be written.
        """
        if not self._lock.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise JournalError(self.path, "another thread holds the journal")
        try:
            self._leave(suspect, reason)
            # Copies of lines that are on disk after all do no harm: readers drop them by event id.
            self._write_locked(self._blank + b"".join(self._syncer.unsynced()), "os")
            self._syncer.note_file(self._file.number)
            self._blank = b""
        finally:
            self._lock.release()

    def _leave(self, suspect: int, reason: str) -> None:
        """Seal the file whose sync has failed, unless somebody did, and put the failure on record."""
        self._file_lock.acquire(LOCK_TIMEOUT_SECONDS)
        try:
            head = head_of(suspect)
            if not self._blank:
                self._blank = b"\n" * (len(head) - len(head.lstrip(b"\n")) + 1)
                with self.guard.protect("state"):
                    self._rotation.failed_sync(segment_of(head), reason)
            if os.path.exists(self.path) and os.path.samestat(os.fstat(suspect), os.stat(self.path)):
                self._rotation.seal()
        finally:
            self._file_lock.release()

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
        # Once lines wait in memory the others wait behind them: their order counts.
        if self.spools_to_file and reason and not self._spool and self._spool_file.keep(line):
            self.guard.report("spooled", f"journal {self.path}: event kept in {self._spool_file.path}: {reason}")
            return Receipt("spooled")
        if len(self._spool) < self._spool_lines and self._spool_bytes + size <= SPOOL_BYTES:
            self._spool.append(line)
            self._spool_bytes += size
            if reason is not None:
                self.guard.report("spooled", f"journal {self.path}: event kept in memory: {reason}")
            return Receipt("spooled")
        self._lost += 1
        full = ", the spool is full" if self._spool_lines else ""
        self.guard.report("lost", f"journal {self.path}: event lost{full}: {reason or 'too many signals'}")
        return Receipt("lost")


def patience_seconds(level: Durability, *, is_terminal: bool) -> float:
    """Return for how long a line is waited for until it is on disk; zero: not at all."""
    if level == "each":
        return LOCK_TIMEOUT_SECONDS
    return GROUP_SECONDS if level == "group" and is_terminal else 0.0


_all_journals: weakref.WeakSet[Journal] = weakref.WeakSet()
_journals: dict[str, Journal] = {}


def open_journal(path: str | os.PathLike[str], guard: Guard | None = None) -> Journal:
    """Return this process's journal for a path: one object, so one pair of descriptors, however often it is asked."""
    absolute = os.path.abspath(path)
    # Without a lock: setdefault is one step, and a journal that loses the race has opened nothing yet.
    return _journals.get(absolute) or _journals.setdefault(absolute, Journal(absolute, guard=guard))


def forget_journal(path: str) -> None:
    """Close this process's journal for an absolute path and forget it. Who has it may go on with it."""
    journal = _journals.pop(path, None)
    if journal is not None:
        journal.close_unless_busy()


def end_journal(path: str | os.PathLike[str]) -> None:
    """End this process's journal for a path and forget it. Whoever opens it again gets a new one."""
    journal = _journals.pop(os.path.abspath(path), None)
    if journal is not None:
        journal.end()


@atexit.register
def _flush_all() -> None:
    for journal in list(_all_journals):
        if journal.spooled and journal.flush() and (left := journal.only_in_memory):
            journal.guard.report("lost", f"journal {journal.path}: {left} events kept in memory are lost at exit")
        with journal.guard.protect("sync"):
            journal.sync(_EXIT_SYNC_SECONDS)


def _adopt_all_after_fork() -> None:
    # At once and not at the next append: the child has one thread now, and a descriptor it holds keeps the flock alive.
    for journal in list(_all_journals):
        journal.adopt_after_fork()


os.register_at_fork(after_in_child=_adopt_all_after_fork)

"""Lines that cannot be written to the journal wait in a file of their process, where they survive its death.

`spool/<host>-<pid>-<start>.jsonl` beside the journal. Its process holds a lock on it as long as it lives, so whoever
gets the lock knows that the writer is gone, and writes the lines instead of it. Killed in between, that happens twice:
readers drop copies by event id.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from ..process import writer_of
from .descriptor import make_directory

SPOOL_FILE_BYTES: Final = 64 * 1024 * 1024
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FILE_MODE: Final = 0o600


def spool_directory(journal_path: str) -> str:
    """Return the directory of a journal's spool files."""
    return os.path.join(os.path.dirname(journal_path), "spool")


class SpoolFile:
    """The spool file of this process for one journal. A forked child makes its own."""

    def __init__(self, journal_path: str) -> None:
        self._directory = spool_directory(journal_path)
        self._name = os.path.splitext(os.path.basename(journal_path))[0]
        self.path = ""
        self.lines = 0
        self._number = -1
        # Tried, not waited for: a signal handler may interrupt the thread that holds it.
        self._lock = threading.Lock()

    def keep(self, line: bytes) -> bool:
        """Append a line, and tell whether it is in the file: whole, and in the kernel."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._number < 0:
                self._open()
            size = os.lseek(self._number, 0, os.SEEK_END)
            if size + len(line) > SPOOL_FILE_BYTES:
                return False
            if os.write(self._number, line) != len(line):
                os.ftruncate(self._number, size)
                return False
            self.lines += 1
        except OSError:
            return False
        else:
            return True
        finally:
            self._lock.release()

    def _open(self) -> None:
        writer = writer_of(os.getpid())
        host = re.sub(r"[^A-Za-z0-9.-]+", "-", writer["host"])[:64]
        name = f"{host}-{writer['pid']}-{writer.get('start', 0)}.jsonl"
        make_directory(self._directory)
        self.path = os.path.join(self._directory, f"{self._name}.{name}")
        number = os.open(self.path, _FLAGS | os.O_CREAT, _FILE_MODE)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(number)
            raise
        self._number = number

    def read(self) -> bytes:
        """Return the lines that are kept.

        Raises:
            OSError: They cannot be read; they are still there.
        """
        return _read(self._number) if self.lines else b""

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes: they stand in the journal. Another thread may have kept lines since."""
        if self._number < 0:
            return
        with self._lock:
            rest = os.pread(self._number, SPOOL_FILE_BYTES, size)
            if rest:
                os.ftruncate(self._number, 0)
                os.write(self._number, rest)
                self.lines = rest.count(b"\n")
                return
            with suppress(OSError):
                os.unlink(self.path)
            self.close()

    def close(self) -> None:
        """Let go of the file. The lines that it has are written by whoever opens the journal next."""
        if self._number >= 0:
            os.close(self._number)
        self._number, self.lines = -1, 0


class LeftBehind:
    """The spool files of processes that are gone, locked for us."""

    def __init__(self, journal_path: str, *, own: str) -> None:
        self._files = [*_locked_files(journal_path, own)]

    def read(self) -> bytes:
        """Return their lines, the oldest file first; a fragment at the end of one is left out."""
        return b"".join(_read(number) for number, _ in self._files)

    def drop(self) -> None:
        """Forget them: their lines stand in the journal."""
        for _, path in self._files:
            with suppress(OSError):
                os.unlink(path)
        self.close()

    def close(self) -> None:
        """Let go of them."""
        for number, _ in self._files:
            os.close(number)
        self._files = []


def _locked_files(journal_path: str, own: str) -> Iterator[tuple[int, str]]:
    directory = spool_directory(journal_path)
    prefix = f"{os.path.splitext(os.path.basename(journal_path))[0]}."
    try:
        names = sorted(name for name in os.listdir(directory) if name.startswith(prefix) and name.endswith(".jsonl"))
    except OSError:
        return
    for path in (os.path.join(directory, name) for name in names):
        if path == own:
            continue
        try:
            number = os.open(path, _FLAGS)
        except OSError:
            continue
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(path)
        except OSError:
            # Its process lives, or somebody else was faster.
            os.close(number)
            continue
        if stat.S_ISREG(there.st_mode) and os.path.samestat(there, os.fstat(number)):
            yield number, path
        else:
            os.close(number)


def _read(number: int) -> bytes:
    data = bytearray()
    while piece := os.pread(number, SPOOL_FILE_BYTES, len(data)):
        data += piece
    return bytes(data[: data.rfind(b"\n") + 1])

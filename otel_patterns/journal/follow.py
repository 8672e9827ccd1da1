"""Following the journal: new lines as they come, across truncation, deletion and replacement of the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO, Final

from .lines import Line, ReadReport, ends_line, open_to_read, read_lines
from .watch import DirectoryWatch

POLL_SECONDS: Final = 0.2
_NOT_SEEN: Final = (-1, -1)


def follow_lines(
    path: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: threading.Event | None = None,
    on_restart: Callable[[str], None] | None = None,
) -> Generator[Line, None, None]:
    """Yield lines as they are completed, from byte `start` (None: the present end), until `stop` is set.

    New lines are seen within 0.25 s, at a cost of what is new. When the file was cut or replaced, reading goes on at
    the beginning of what is there, and `on_restart` is told why (`truncated`, `replaced`); consumers drop duplicates by
    event id.

    Raises:
        JournalError: There is something else than a file at the path, or it may not be read.
    """
    stop = stop or threading.Event()
    watch = DirectoryWatch(os.path.dirname(os.path.abspath(path)))
    follower = _Follower(path, on_restart)
    try:
        follower.begin(start)
        while not stop.is_set():
            for line in follower.look():
                yield line
                if stop.is_set():
                    return
            watch.wait(POLL_SECONDS)
    finally:
        watch.close()
        follower.close()


class _Follower:
    def __init__(self, path: str | os.PathLike[str], on_restart: Callable[[str], None] | None) -> None:
        self._path = path
        self._on_restart = on_restart
        self._file: BinaryIO | None = None
        self._offset = 0
        self._seen = _NOT_SEEN

    def begin(self, start: int | None) -> None:
        self._file = open_to_read(self._path)
        if self._file is not None:
            self._offset = _end_of_last_line(self._file) if start is None else start

    def look(self) -> Iterator[Line]:
        """Yield the lines that were completed since the last look."""
        yield from self._new_lines()
        while self._is_another_file():
            if self._file is not None:
                # It may have got its last lines after our last look.
                yield from self._new_lines()
                self._file.close()
                self._restart("replaced")
            self._file = open_to_read(self._path)
            yield from self._new_lines()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _new_lines(self) -> Iterator[Line]:
        if self._file is None:
            return
        status = os.fstat(self._file.fileno())
        state = status.st_size, status.st_mtime_ns
        # An unfinished line is read again only when there is more of it.
        if state == self._seen:
            return
        if not ends_line(self._file, self._offset):
            self._restart("truncated")
        report = ReadReport()
        yield from read_lines(self._file, self._offset, report=report)
        self._offset, self._seen = report.end, state

    def _restart(self, reason: str) -> None:
        self._offset, self._seen = 0, _NOT_SEEN
        if self._on_restart is not None:
            self._on_restart(reason)

    def _is_another_file(self) -> bool:
        """Tell whether a file stands at the path that is not the opened one."""
        try:
            there = os.stat(self._path)
        except OSError:
            # Deleted: what was opened is read on until there is another one.
            return False
        return self._file is None or not os.path.samestat(there, os.fstat(self._file.fileno()))


def _end_of_last_line(file: BinaryIO) -> int:
    """Return the offset behind the last newline: following begins with the next whole line."""
    position = os.fstat(file.fileno()).st_size
    while position > 0:
        size = min(64 * 1024, position)
        file.seek(position - size)
        newline = file.read(size).rfind(b"\n")
        if newline >= 0:
            return position - size + newline + 1
        position -= size
    return 0

"""Following the journal: new lines as they come, across rotation, truncation, deletion and replacement of its files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import BinaryIO, Final

from .cursor import BEGINNING, Cursor, first_line, head_of, segment_of, segment_of_file
from .lines import Line, ReadReport, ends_line, lines_of, read_blocks
from .segments import Segment, files_behind, identity_of, look, open_segment
from .watch import DirectoryWatch

POLL_SECONDS: Final = 0.2
_NOT_SEEN: Final = (-1, -1)


def follow_lines(
    path: str | os.PathLike[str],
    *,
    start: Cursor | None = None,
    stop: threading.Event | None = None,
    on_restart: Callable[[str], None] | None = None,
    report: ReadReport | None = None,
) -> Generator[Line, None, None]:
    """Yield lines as they are completed, from `start` (None: the present end), until `stop` is set.

    New lines are seen within 0.25 s, at a cost of what is new. A file that is sealed meanwhile is read to its end, and
    then those after it. When a file was cut or replaced, or the cursor's file is not there any more, reading goes on at
    the beginning of what is there, and `on_restart` is told why (`truncated`, `replaced`, `gone`); consumers drop
    duplicates by event id.

    Args:
        path: The journal.
        start: Where to begin; `BEGINNING` is its oldest line.
        stop: Ends it.
        on_restart: Called when lines may come a second time.
        report: Its `path` is set to the file of each line that is yielded.

    Raises:
        JournalError: There is something else than a file at the path, or it may not be read.
    """
    stop = stop or threading.Event()
    follower = Follower(path, start=start, on_restart=on_restart, report=report)
    try:
        while not stop.is_set():
            for offset, block in follower.look():
                for line in lines_of(offset, block):
                    yield line
                    if stop.is_set():
                        return
            follower.wait(POLL_SECONDS)
    finally:
        follower.close()


class Follower:
    """Reads a journal on and on, many lines at a time. `follow_lines` says what it does and what its arguments are."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        start: Cursor | None = None,
        on_restart: Callable[[str], None] | None = None,
        report: ReadReport | None = None,
    ) -> None:
        self._path = path
        self._on_restart = on_restart
        self._report = report if report is not None else ReadReport()
        self._watch = DirectoryWatch(os.path.dirname(os.path.abspath(path)))
        self._file: BinaryIO | None = None
        # What the opened file begins with, once it has a line.
        self._head = b""
        self._offset = 0
        self._seen = _NOT_SEEN
        # The highest number of a sealed segment that stands before the opened file.
        self._number = 0
        self._backlog: Iterator[tuple[int, bytes]] = iter(())
        # What the file of the last block begins with, or its name in cursors when that is known already.
        self._block_head: bytes | str = b""
        self._begin(start)

    @property
    def segment(self) -> str:
        """The file that the last block stands in, as cursors name it."""
        if isinstance(self._block_head, bytes):
            self._block_head = segment_of(self._block_head)
        return self._block_head

    def wait(self, seconds: float) -> None:
        """Wait until something happens in the journal's directory, but no longer than this."""
        self._watch.wait(seconds)

    def _begin(self, start: Cursor | None) -> None:
        sealed, file = look(self._path)
        self._use(file, sealed[-1].number if sealed else 0)
        if start is None:
            if file is not None:
                self._offset = _end_of_last_line(file)
        elif not start.segment:
            self._backlog = self._sealed_blocks(sealed)
        elif file is not None and segment_of_file(file) == start.segment:
            self._offset = start.offset
        else:
            for index in reversed(range(len(sealed))):
                if identity_of(sealed[index]) == start.segment:
                    self._backlog = self._sealed_blocks(sealed[index:], start)
                    return
            # Deleted, or of another journal: all that is there comes again rather than that something is passed by.
            self._backlog = self._sealed_blocks(sealed)
            self._tell("gone")

    def look(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines completed since the last look, as `read_blocks` does. One look ends before the next.

        `segment` is where they stand.
        """
        yield from self._backlog
        yield from self._new_blocks()
        while self._is_another_file():
            former = self._file
            # It may have got its last lines after our last look.
            yield from self._new_blocks()
            behind = files_behind(self._path, former, self._number)
            if former is not None:
                former.close()
                if not behind.was_sealed:
                    self._tell("replaced")
            self._use(behind.active, behind.number)
            yield from self._sealed_blocks(behind.sealed)
            yield from self._new_blocks()

    def close(self) -> None:
        """Close the files."""
        self._watch.close()
        if self._file is not None:
            self._file.close()

    def _use(self, file: BinaryIO | None, number: int) -> None:
        self._file, self._number = file, number
        self._head, self._offset, self._seen = b"", 0, _NOT_SEEN

    def _sealed_blocks(self, segments: Sequence[Segment], start: Cursor = BEGINNING) -> Iterator[tuple[int, bytes]]:
        for segment in segments:
            file = open_segment(segment)
            if file is not None:
                self._report.path = segment.path
                self._block_head = start.segment
                with file:
                    for offset, block in read_blocks(file, start.offset):
                        # Only the first block of a file can hold its first line.
                        self._block_head = self._block_head or first_line(block)
                        yield offset, block
            start = BEGINNING

    def _new_blocks(self) -> Iterator[tuple[int, bytes]]:
        if self._file is None:
            return
        status = os.fstat(self._file.fileno())
        state = status.st_size, status.st_mtime_ns
        # An unfinished line is read again only when there is more of it.
        if state == self._seen:
            return
        head = head_of(self._file.fileno())
        if (self._head and head != self._head) or not ends_line(self._file, self._offset):
            self._offset, self._seen = 0, _NOT_SEEN
            self._tell("truncated")
        self._head = head
        report = ReadReport()
        self._report.path = os.fspath(self._path)
        self._block_head = head
        yield from read_blocks(self._file, self._offset, report=report)
        self._offset, self._seen = report.end, state

    def _tell(self, reason: str) -> None:
        if self._on_restart is not None:
            self._on_restart(reason)

    def _is_another_file(self) -> bool:
        """Tell whether a file stands at the path that is not the opened one."""
        try:
            there = os.stat(self._path)
        except OSError:
            # Sealed or deleted: what was opened is read on until there is another one.
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

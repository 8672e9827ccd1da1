"""The bytes of a journal, line by line: in flat memory, forward and backward."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from ..errors import JournalError
from ..model.names import MAX_LINE_BYTES

# What is decoded and checked at a time stays in the processor's cache.
_CHUNK_BYTES: Final = 80 * 1024
_LISTED_BAD_LINES: Final = 100
_BOM: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One complete line: its offset and its bytes without the newline."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Offset behind the newline."""
        return self.offset + len(self.data) + 1

    @property
    def json(self) -> bytes:
        """Its bytes without a byte order mark, which belongs to the file and not to its first event."""
        return self.data.removeprefix(_BOM) if self.offset == 0 else self.data


class BadLine(NamedTuple):
    """A line that is no event: where it stands and why it was skipped."""

    offset: int
    length: int
    reason: str
    path: str = ""


class ReadReport:
    """What a reader met: events read, lines skipped (the first hundred are listed), an unfinished tail.

    Attributes:
        path: The file that is read, or was read last.
        end: The offset behind its last complete line, once the reader has come to its end.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path
        self.events = 0
        self.skipped = 0
        self.bad_lines: list[BadLine] = []
        self.unfinished_bytes = 0
        self.end = 0

    def skip(self, bad: BadLine) -> None:
        """Count a line of the present file that was skipped."""
        self.skipped += 1
        if len(self.bad_lines) < _LISTED_BAD_LINES:
            self.bad_lines.append(bad._replace(path=self.path))


def read_blocks(
    file: BinaryIO, start: int = 0, end: int | None = None, *, report: ReadReport | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield complete lines from byte `start` (the beginning of a line) up to `end`, many at a time, and where they are.

    A line over 1 MiB is skipped in constant memory and reported. An unfinished last line is yielded never;
    its size is in `report.unfinished_bytes`.
    """
    report = report or ReadReport()
    file.seek(start)
    position = start
    pending = b""
    skipping = 0
    while True:
        wanted = _CHUNK_BYTES if end is None else min(_CHUNK_BYTES, end - position)
        chunk = file.read(wanted) if wanted > 0 else b""
        if not chunk:
            break
        base = position - len(pending)
        position += len(chunk)
        if skipping:
            newline = chunk.find(b"\n")
            if newline < 0:
                skipping += len(chunk)
                continue
            length = skipping + newline
            report.skip(BadLine(base + newline - length, length, f"longer than {MAX_LINE_BYTES} bytes"))
            skipping = 0
            chunk, base = chunk[newline + 1 :], base + newline + 1
        size = chunk.rfind(b"\n") + 1
        if not size:
            pending += chunk
        else:
            block, pending = pending + chunk[:size], chunk[size:]
            if len(block) > MAX_LINE_BYTES:
                yield from _without_oversized(base, block, report)
            else:
                yield base, block
        if len(pending) > MAX_LINE_BYTES:
            skipping, pending = len(pending), b""
    report.unfinished_bytes = len(pending) + skipping
    report.end = position - report.unfinished_bytes


def _without_oversized(offset: int, block: bytes, report: ReadReport) -> Iterator[tuple[int, bytes]]:
    for data in block[:-1].split(b"\n"):
        if len(data) > MAX_LINE_BYTES:
            report.skip(BadLine(offset, len(data), f"longer than {MAX_LINE_BYTES} bytes"))
        else:
            yield offset, data + b"\n"
        offset += len(data) + 1


def read_lines(
    file: BinaryIO, start: int = 0, end: int | None = None, *, report: ReadReport | None = None
) -> Iterator[Line]:
    """Yield complete lines one by one; everything else is as `read_blocks` does it."""
    for offset, block in read_blocks(file, start, end, report=report):
        yield from lines_of(offset, block)


def lines_of(offset: int, block: bytes) -> Iterator[Line]:
    """Yield the lines of a block that are not empty."""
    for data in block.split(b"\n"):
        if data:
            yield Line(offset, data)
        offset += len(data) + 1


def ends_line(file: BinaryIO, offset: int) -> bool:
    """Tell whether a line ends before byte `offset`, as one did there that was read up to it.

    When not, the file was cut, and perhaps has grown again since.
    """
    return offset == 0 or os.pread(file.fileno(), 1, offset - 1) == b"\n"


def read_lines_backward(file: BinaryIO, end: int) -> Iterator[Line]:
    """Yield the complete lines before byte `end`, the last one first. A line over 1 MiB is left out."""
    position = end
    tail = b""
    # The piece behind the last newline is not complete; of an oversized line only the rest that is left is at hand.
    leave_out = True
    while position > 0:
        size = min(_CHUNK_BYTES, position)
        position -= size
        file.seek(position)
        chunk = file.read(size)
        if len(chunk) < size:
            # The file was cut meanwhile: what was read behind here belongs to nothing that is here.
            return
        parts = (chunk + tail).split(b"\n")
        offset = position + sum(len(part) + 1 for part in parts)
        for data in reversed(parts[1:]):
            offset -= len(data) + 1
            if leave_out:
                leave_out = False
            elif data and len(data) <= MAX_LINE_BYTES:
                yield Line(offset, data)
        tail = parts[0]
        if len(tail) > MAX_LINE_BYTES:
            leave_out, tail = True, b""
    if tail and not leave_out:
        yield Line(0, tail)


def open_to_read(path: str | os.PathLike[str]) -> BinaryIO | None:
    """Return the opened file, or None when there is none yet.

    Raises:
        JournalError: There is something else at the path, or it may not be read.
    """
    try:
        # O_NONBLOCK: opening a FIFO by mistake must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(os.fspath(path), error.strerror or str(error)) from error
    if not os.path.isfile(descriptor):
        os.close(descriptor)
        raise JournalError(os.fspath(path), "is no regular file")
    return open(descriptor, "rb", buffering=0)  # pyright: ignore[reportReturnType]  # the caller closes it; FileIO is the raw BinaryIO

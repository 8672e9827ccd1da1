"""Reading the journal: in flat memory, never raising on a line, telling what was skipped and where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from ..errors import JournalError
from ..model.envelope import check_event
from ..model.times import parse_timestamp

if TYPE_CHECKING:
    from ..model.events import PatternEvent

MAX_LINE_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_LISTED_BAD_LINES: Final = 100


@dataclass(frozen=True)
class BadLine:
    """A line that is no event: where it stands and why it was skipped."""

    offset: int
    length: int
    reason: str


@dataclass
class ReadReport:
    """What a reader met: events read, lines skipped (the first hundred are listed), an unfinished tail.

    `end` is the offset behind the last complete line, once the reader has come to its end.
    """

    events: int = 0
    skipped: int = 0
    bad_lines: list[BadLine] = field(default_factory=list[BadLine])
    unfinished_bytes: int = 0
    end: int = 0

    def skip(self, bad: BadLine) -> None:
        """Count a line that was skipped."""
        self.skipped += 1
        if len(self.bad_lines) < _LISTED_BAD_LINES:
            self.bad_lines.append(bad)


@dataclass(frozen=True)
class Line:
    """One complete line: its offset and its bytes without the newline."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Offset behind the newline."""
        return self.offset + len(self.data) + 1


@dataclass(frozen=True)
class Filter:
    """Which events a reader wants; None means any. Times are nanoseconds since 1970, `until` is excluded.

    An event type may be given whole, without its `pattern.` prefix, or as a stage (all before one of its dots).
    """

    job_id: str | None = None
    pattern_run_id: str | None = None
    pattern_id: str | None = None
    step_id: str | None = None
    event_type: str | None = None
    status: str | None = None
    since: int | None = None
    until: int | None = None

    def matches(self, document: dict[str, Any]) -> bool:
        """Tell whether an event document passes."""
        for key in ("job_id", "pattern_run_id", "pattern_id", "step_id", "status"):
            wanted = getattr(self, key)
            if wanted is not None and document.get(key) != wanted:
                return False
        if self.event_type is not None:
            # A dot behind both, so that `execution.start` is no short form of `execution.started`.
            event_type = f"{document['event_type']}."
            if not event_type.startswith((f"{self.event_type}.", f"pattern.{self.event_type}.")):
                return False
        if self.since is None and self.until is None:
            return True
        time = parse_timestamp(document["timestamp"])
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


def read_lines(
    file: BinaryIO, start: int = 0, end: int | None = None, *, report: ReadReport | None = None
) -> Iterator[Line]:
    """Yield complete lines from byte `start` (the beginning of a line) up to `end`.

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
        lines = (pending + chunk).split(b"\n")
        pending = lines.pop()
        for data in lines:
            if len(data) > MAX_LINE_BYTES:
                report.skip(BadLine(base, len(data), f"longer than {MAX_LINE_BYTES} bytes"))
            elif data:
                yield Line(base, data)
            base += len(data) + 1
        if len(pending) > MAX_LINE_BYTES:
            skipping, pending = len(pending), b""
    report.unfinished_bytes = len(pending) + skipping
    report.end = position - report.unfinished_bytes


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


def parse_document(line: Line) -> dict[str, Any]:
    """Return the event document of a line; it has the nine keys, perhaps more, and perhaps an unknown event type.

    Raises:
        ValueError: The line is no event; the message says why.
    """
    data = line.data.removeprefix(_BOM) if line.offset == 0 else line.data
    try:
        # Decoded first: json.loads on bytes would take NUL bytes for UTF-16.
        document = json.loads(data.decode("utf-8"), parse_constant=str)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        problem = next(check_event(document, known_types_only=False), None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if problem is not None:
        raise ValueError(f"no event: {problem}")
    document.setdefault("step_id", None)
    return document


def read_documents(
    path: str | os.PathLike[str],
    wanted: Filter | None = None,
    *,
    start: int = 0,
    end: int | None = None,
    report: ReadReport | None = None,
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield each event that passes the filter: its line as it stands in the journal, and its document.

    Lines that are no events are skipped and reported.

    Raises:
        JournalError: The file cannot be opened; a missing one is an empty journal.
    """
    report = report if report is not None else ReadReport()
    file = open_to_read(path)
    if file is None:
        return
    with file:
        yield from _events_among(read_lines(file, start, end, report=report), wanted, report)


def read_last(
    path: str | os.PathLike[str], wanted: Filter, count: int, *, report: ReadReport | None = None
) -> list[tuple[Line, dict[str, Any]]]:
    """Return the last `count` events that pass the filter, oldest first, reading backwards from the end."""
    report = report if report is not None else ReadReport()
    found: list[tuple[Line, dict[str, Any]]] = []
    file = open_to_read(path) if count > 0 else None
    if file is None:
        return found
    with file:
        lines = read_lines_backward(file, os.fstat(file.fileno()).st_size)
        found.extend(islice(_events_among(lines, wanted, report), count))
    return found[::-1]


def _events_among(
    lines: Iterable[Line], wanted: Filter | None, report: ReadReport
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield the events among lines that pass the filter; lines that are none are skipped and reported."""
    for line in lines:
        if line.data.isspace():
            continue
        try:
            document = parse_document(line)
        except ValueError as error:
            report.skip(BadLine(line.offset, len(line.data), str(error)))
            continue
        if wanted is None or wanted.matches(document):
            report.events += 1
            yield line, document


def read_events(
    path: str | os.PathLike[str], wanted: Filter | None = None, *, report: ReadReport | None = None
) -> Iterator[PatternEvent]:
    """Yield the events of the journal that pass the filter, in journal order.

    Raises:
        JournalError: The file cannot be opened; a missing one is an empty journal.
    """
    from ..model.events import PatternEvent  # noqa: PLC0415  # readers of plain documents start without pydantic

    for _, document in read_documents(path, wanted, report=report):
        yield PatternEvent.from_document(document)


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

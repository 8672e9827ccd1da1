"""Reading the journal: in flat memory, never raising on a line, telling what was skipped and where."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from ..model.times import parse_timestamp
from .cursor import Cursor, head_of, segment_of
from .lines import BadLine, Line, ReadReport, lines_of, read_blocks, read_lines_backward
from .parse import parse_slowly
from .segments import look, open_seekable, read_files, sealed_segments

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from .heads import Block

# Loading msgspec takes as long as parsing so many lines without it.
_MANY_LINES: Final = 4000
_MANY_BYTES: Final = _MANY_LINES * 500
# How an event's line begins and ends that needs no closer look when it does not name what is searched for.
_BEGINNING: Final = b'{"event_id":'
_SEAM: Final = b"}\n" + _BEGINNING
# A letter, digit, dot, hyphen or underscore of a key or an id, written as an escape.
_ESCAPE: Final = b"\\u00"


class Filter(NamedTuple):
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

    @property
    def needle(self) -> bytes | None:
        """What a line holds that passes, unless with escapes; None when it may hold anything."""
        for wanted in (self.pattern_run_id, self.step_id, self.job_id, self.pattern_id):
            if wanted is not None:
                return f'"{wanted}"'.encode("utf-8", "replace")
        return None

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


def read_documents(
    path: str | os.PathLike[str],
    wanted: Filter | None = None,
    *,
    report: ReadReport | None = None,
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield each event that passes the filter: its line as it stands in the journal, and its document.

    The journal is all its segments, the oldest first; a line's offset is the one in its file, `report.path`.

    Lines that are no events are skipped and reported. When the filter names a run, job, pattern or step, a line that
    does not hold that name is looked at no closer, unless it begins or ends in another way than events do: what is
    torn is reported, an object that is no event is not.

    Raises:
        JournalError: The file cannot be opened; a missing one is an empty journal.
    """
    report = report if report is not None else ReadReport()
    needle = wanted.needle if wanted is not None else None
    for file in read_files(path, report):
        yield from events_among(candidates(read_blocks(file, report=report), needle), wanted, report)


def candidates(blocks: Iterable[tuple[int, bytes]], needle: bytes | None) -> Iterator[Line]:
    """Yield the lines that may hold what is searched for, and those that do not look like events."""
    for offset, block in blocks:
        if needle is None:
            yield from lines_of(offset, block)
        elif (
            needle in block
            or _holds_escape(block)
            or not (block.startswith(_BEGINNING) and block.endswith(b"}\n"))
            or block.count(_SEAM) != block.count(b"\n") - 1
        ):
            yield from (line for line in lines_of(offset, block) if _is_candidate(line.data, needle))


def _is_candidate(data: bytes, needle: bytes) -> bool:
    return needle in data or _holds_escape(data) or not (data.startswith(_BEGINNING) and data.endswith(b"}"))


def _holds_escape(data: bytes) -> bool:
    # One byte is found in a twentieth of the time of four.
    return b"\\" in data and _ESCAPE in data


class LastReport(ReadReport):
    """What `read_last` met. `cursor` stands behind the last event of all that it found; None when it found none."""

    def __init__(self) -> None:
        super().__init__()
        self._newest: tuple[bytes, int] | None = None

    def found(self, file: BinaryIO, line: Line) -> None:
        """Remember where the first event stands that was found, the last one of the journal."""
        if self._newest is None:
            self._newest = head_of(file.fileno()), line.end

    @property
    def cursor(self) -> Cursor | None:
        """Where to go on behind the last event that was found."""
        return None if self._newest is None else Cursor(segment_of(self._newest[0]), self._newest[1])


def read_last(
    path: str | os.PathLike[str], wanted: Filter, count: int, *, report: LastReport | None = None
) -> list[tuple[Line, dict[str, Any]]]:
    """Return the last `count` events that pass the filter, oldest first, reading backwards from the end.

    They are the last ones of `read_documents`, to whose filter the same applies.
    """
    report = report if report is not None else LastReport()
    found: list[tuple[Line, dict[str, Any]]] = []
    if count <= 0:
        return found
    needle = wanted.needle
    for file in _files_backward(path, report):
        lines = read_lines_backward(file, os.fstat(file.fileno()).st_size)
        if needle is not None:
            lines = (line for line in lines if _is_candidate(line.data, needle))
        for event in islice(events_among(lines, wanted, report), count - len(found)):
            found.append(event)
            report.found(file, event[0])
        if len(found) == count:
            break
    return found[::-1]


def _files_backward(path: str | os.PathLike[str], report: ReadReport) -> Generator[BinaryIO, None, None]:
    """Yield the files of a journal, the newest first, each to be read before the next is asked for."""
    sealed, active = look(path)
    if active is not None:
        report.path = os.fspath(path)
        with active:
            yield active
    for segment in reversed(sealed):
        if (file := open_seekable(segment)) is not None:
            report.path = segment.path
            with file:
                yield file


def events_among(
    lines: Iterable[Line], wanted: Filter | None, report: ReadReport
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield the events among lines that pass the filter; lines that are none are skipped and reported."""
    parse = line_parser(0)
    for number, line in enumerate(lines):
        if number == _MANY_LINES:
            parse = line_parser(number)
        if line.data.isspace():
            continue
        try:
            document = parse(line)
        except ValueError as error:
            report.skip(BadLine(line.offset, len(line.data), str(error)))
            continue
        if wanted is None or wanted.matches(document):
            report.events += 1
            yield line, document


def line_parser(lines: int) -> Callable[[Line], dict[str, Any]]:
    """Return what parses the next line after so many: `parse_slowly`, or its quick twin when loading that pays."""
    if lines < _MANY_LINES and "msgspec" not in sys.modules:
        return parse_slowly
    from .heads import parse_document  # noqa: PLC0415  # loads msgspec

    return parse_document


def read_raw(path: str | os.PathLike[str], wanted: Filter, *, report: ReadReport | None = None) -> Iterator[bytes]:
    """Yield the lines of the events that pass the filter as they stand in the journal, one or many at a time.

    Each ends with a newline. All are checked and reported as `read_documents` does it.

    Raises:
        JournalError: The file cannot be opened; a missing one is an empty journal.
    """
    report = report if report is not None else ReadReport()
    if wanted != Filter() or not _is_large(path):
        yield from (line.json + b"\n" for line, _ in read_documents(path, wanted, report=report))
        return
    for file in read_files(path, report):
        yield from (data for data, _ in _checked_blocks(file, report))


def _is_large(path: str | os.PathLike[str]) -> bool:
    try:
        return os.stat(path).st_size >= _MANY_BYTES or bool(sealed_segments(path))
    except OSError:
        # What is wrong is told by who opens it.
        return False


def read_heads(file: BinaryIO, wanted: Filter | None = None, *, report: ReadReport | None = None) -> Iterator[Block]:
    """Yield the events that pass the filter, some at a time, without most of their details.

    All lines are checked and reported as `read_documents` does it.
    """
    from .heads import block_of  # noqa: PLC0415  # loads msgspec

    report = report if report is not None else ReadReport()
    if wanted is None or wanted == Filter():
        yield from (block for _, block in _checked_blocks(file, report))
        return
    lines = candidates(read_blocks(file, report=report), wanted.needle)
    for event in events_among(lines, wanted, report):
        yield block_of([event])


def _checked_blocks(file: BinaryIO, report: ReadReport) -> Iterator[tuple[bytes, Block]]:
    """Yield all events, many at a time, and their lines as they stand in the journal, with newlines."""
    from .heads import block_of, decode_block  # noqa: PLC0415  # loads msgspec, which a short read does without

    for offset, data in read_blocks(file, report=report):
        if (block := decode_block(offset, data)) is not None:
            report.events += len(block.heads)
            yield data, block
        else:
            found = list(events_among(lines_of(offset, data), None, report))
            if found:
                yield b"".join(line.json + b"\n" for line, _ in found), block_of(found)


def read_events(
    path: str | os.PathLike[str], wanted: Filter | None = None, *, report: ReadReport | None = None
) -> Iterator[PatternEvent]:
    """Yield the events of the journal that pass the filter, in journal order.

    Raises:
        JournalError: The file cannot be opened; a missing one is an empty journal.
    """
    from ..model.events import checked_event  # noqa: PLC0415  # readers of plain documents start without pydantic

    for _, document in read_documents(path, wanted, report=report):
        yield checked_event(document)

"""The events of this process's live runs, read from the journal once for all of them.

A run's prefix must be taken from the journal, not from memory: other processes may have written into it, and the
order that counts is the journal's. Reading costs what was written since the run began, not the whole log.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from ..clock import Clock
from ..model.ids import ulid_unix_nano
from ..model.record import EventRecord
from ..model.times import is_timestamp, parse_timestamp
from .cursor import Cursor, segment_of_file
from .heads import decode_records, parse_document, parse_record
from .lines import Line, ReadReport, ends_line, lines_of, read_blocks, read_lines, read_lines_backward
from .lookup import lines_in
from .segments import files_behind, look, open_seekable, sealed_segments

# How far the clocks of two hosts that write one run may be apart.
CLOCK_SKEW_NANO: Final = 60_000_000_000
# One writer with a slow clock must not end the search backwards: only a stretch of older lines does.
_OLDER_LINES: Final = 64
_REMEMBERED_RUNS: Final = 20_000
_STEP_BYTES: Final = 32 * 1024
_TIMESTAMP: Final = re.compile(rb'"timestamp"\s*:\s*"([0-9TZ:.+-]{1,40})"')
_RUN_ID: Final = re.compile(rb'"pattern_run_id"\s*:\s*"(PRUN-[A-Za-z0-9._-]+)"')
_ESCAPE: Final = b"\\u"


@dataclass
class _Run:
    """A run that was asked for: its distinct events, and from where to where its lines stand in the present file."""

    # By their ids, in journal order: a copy written later is none.
    events: dict[str, EventRecord] = field(default_factory=dict[str, EventRecord])
    lines: dict[int, int] = field(default_factory=dict[int, int])

    def add(self, line: Line) -> None:
        self.lines[line.offset] = line.end
        self.add_older(line)

    def add_older(self, line: Line) -> None:
        """Take the event of a line that stands in an older file."""
        with suppress(ValueError):
            event = parse_record(line)
            self.events.setdefault(event.event_id, event)


class RunTail:
    """Reads one journal forward and keeps the events of the runs that were asked for. For one thread."""

    def __init__(self, path: str, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file: BinaryIO | None = None
        self._segment = ""
        self._former: set[str] = set()
        self._position = 0
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        # Where the lines of other runs stand: such a run may become ours, or one that has ended may go on.
        self._lines: OrderedDict[str, dict[int, int]] = OrderedDict()
        # Up to where it is known that lines will be asked for.
        self._ahead = 0
        # Where reading began: lines between here and the position are in `_runs` or `_lines`, unless `_dropped`.
        self._first = 0
        self._dropped = False
        # Of a run born later, every line before the position is in `_runs` or `_lines`; zero: of any run.
        self._complete_since = 0
        # No line of a run born later stands in a sealed segment; zero: there are none, the last has this number.
        self._older_before = 0
        self._number = 0
        sealed, file = look(path)
        if sealed:
            self._number, self._older_before = sealed[-1].number, clock.now_unix_nano()
        if file is not None:
            self._use(file)
            last = next(read_lines_backward(file, os.fstat(file.fileno()).st_size), None)
            self._position = self._first = last.end if last is not None else 0
            # Taken after the position: of a run that is born later, no line can stand before it.
            self._complete_since = clock.now_unix_nano()

    def events(self, run_id: str, start: Cursor, end: Cursor, *, made_here: bool) -> list[EventRecord]:
        """Return a run's distinct events in journal order, read at least up to `end`.

        When the journal was replaced or cut, the events of a run that was asked for before are kept.

        Args:
            run_id: The run.
            start: Where this process's line stands that the caller has in mind.
            end: The end of that line.
            made_here: The run id was made by this process, so its time is not skewed.
        """
        self._look(start)
        run = self._runs.get(run_id) or self._begin(run_id, made_here=made_here)
        if start.segment == self._segment:
            if end.offset > self._position:
                # A little more than that, as far as it will be asked for: to read for each run alone takes longer, and
                # when all is read at once, nothing is in the processor's cache when it is its turn.
                self._advance(max(end.offset, min(self._ahead, self._position + _STEP_BYTES)))
            if start.offset not in run.lines and self._holds(run_id, start, end):
                # The line was passed by: the clock was set back, or the file was cut and seems as it was.
                run = self._runs[run_id] = _Run()
                self._restart()
                self._advance(None)
        return list(run.events.values())

    def look_ahead(self, runs: Iterable[tuple[str, Cursor, Cursor, bool]]) -> None:
        """Expect that `events` will be asked for these runs: reading many together is much less work than one by one.

        Only as far as they stand in the file of the first; what stands elsewhere is read when it is asked for.

        Args:
            runs: The arguments of `events` for each run, of which none is asked for twice.
        """
        end, segment = 0, ""
        for run_id, start, line_end, made_here in runs:
            if not segment:
                self._look(start)
                segment = self._segment
            if start.segment == segment:
                if run_id not in self._runs:
                    self._begin(run_id, made_here=made_here)
                end = max(end, line_end.offset)
        self._ahead = end

    def catch_up(self) -> None:
        """Read on to the last complete line."""
        self._advance(None)

    @property
    def is_following(self) -> bool:
        """Whether there is a run that was asked for and has not been forgotten."""
        return bool(self._runs)

    def forget(self, run_id: str) -> None:
        """Drop the events of a run that has ended; when it is asked for again, they are read again."""
        run = self._runs.pop(run_id, None)
        if run is not None:
            self._remember(run_id, run.lines)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _look(self, start: Cursor) -> None:
        """Turn to the file at the path when the line stands in another one than ours, or when ours was cut."""
        if self._file is not None and self._is_in(start.segment):
            if not ends_line(self._file, self._position):
                self._restart()
            return
        behind = files_behind(self._path, self._file, self._number)
        if behind.active is not None and self._file is not None and _are_same(behind.active, self._file):
            behind.active.close()
            if start.segment not in self._former:
                # No late note about a line of a former file: the file was cut and seems as it was.
                self._advance(None)
            return
        # Others may have written into the former file after our last look.
        self._advance(None)
        for segment in behind.sealed:
            if (file := open_seekable(segment)) is not None:
                self._use(file)
                self._advance(None)
        if behind.active is not None:
            self._use(behind.active)
        if (number := behind.number) != self._number or behind.was_sealed:
            self._number, self._older_before = number, self._clock.now_unix_nano()

    def _is_in(self, segment: str) -> bool:
        """Tell whether our file is this segment. What it begins with is looked at again when it seems not to be."""
        if self._file is None or segment == self._segment:
            return self._file is not None
        present = segment_of_file(self._file)
        if self._segment not in ("", present):
            # Cut, and written anew.
            self._restart()
        self._segment = present
        return segment == present

    def _use(self, file: BinaryIO) -> None:
        if self._file is not None:
            self._former.add(self._segment)
            self._file.close()
        self._file, self._segment = file, segment_of_file(file)
        self._restart()

    def _restart(self) -> None:
        """Read the file from its beginning: any run may have lines there."""
        self._position = self._first = self._ahead = 0
        self._dropped = False
        self._complete_since = 0
        self._lines.clear()
        for run in self._runs.values():
            run.lines.clear()

    def _begin(self, run_id: str, *, made_here: bool) -> _Run:
        run = self._runs[run_id] = _Run()
        if len(self._runs) > _REMEMBERED_RUNS:
            self.forget(next(iter(self._runs)))
        if self._file is None:
            return run
        known = self._lines.pop(run_id, {})
        born = ulid_unix_nano(run_id)
        if born is not None and not made_here and born > self._clock.now_unix_nano() + CLOCK_SKEW_NANO:
            # A clock was far ahead when the id was made: its time says nothing about where its lines are.
            born = None
        skew = 0 if made_here else CLOCK_SKEW_NANO
        for line in self._older_lines(run_id, born, skew):
            run.add_older(line)
        is_complete = self._complete_since == 0 or (born is not None and born - skew > self._complete_since)
        if not is_complete:
            limit = None if born is None else born - CLOCK_SKEW_NANO
            end = self._position if self._dropped else self._first
            found, _ = _search_backward(self._file, end, run_id, limit)
            for line in found:
                run.add(line)
        if is_complete or not self._dropped:
            for start, end in known.items():
                for line in read_lines(self._file, start, end):
                    run.add(line)
        return run

    def _older_lines(self, run_id: str, born: int | None, skew: int) -> list[Line]:
        """Return the run's lines in sealed segments, in order."""
        if self._older_before == 0 or (born is not None and born - skew > self._older_before):
            return []
        limit = None if born is None else born - CLOCK_SKEW_NANO
        lines: list[Line] = []
        for segment in reversed(sealed_segments(self._path)):
            if segment.number > self._number or (file := open_seekable(segment)) is None:
                continue
            with file:
                found, is_all = self._lines_in(file, run_id, limit)
            lines[:0] = found
            if is_all:
                break
        return lines

    def _lines_in(self, file: BinaryIO, run_id: str, limit: int | None) -> tuple[list[Line], bool]:
        """Return the run's lines of a sealed segment, and whether none stands in an older one."""
        if (lines := lines_in(self._path, file, run_id)) is not None:
            return [line for line in lines if _run_id_of(line) == run_id], False
        return _search_backward(file, os.fstat(file.fileno()).st_size, run_id, limit)

    def _advance(self, end: int | None) -> None:
        """Read complete lines up to `end`, or all there are."""
        if self._file is None or (end is not None and end <= self._position):
            return
        report = ReadReport()
        for offset, block in read_blocks(self._file, self._position, end, report=report):
            if (records := decode_records(block)) is None:
                self._take_lines(lines_of(offset, block))
            else:
                self._take_records(offset, block, records)
        self._position = report.end

    def _take_records(self, offset: int, block: bytes, records: Sequence[EventRecord]) -> None:
        """Take the events of a block, which has no other lines."""
        run_of = self._runs.get
        for event, data in zip(records, block.split(b"\n"), strict=False):
            end = offset + len(data) + 1
            if (run := run_of(event.pattern_run_id)) is not None:
                run.lines[offset] = end
                run.events.setdefault(event.event_id, event)
            else:
                self._remember(event.pattern_run_id, {offset: end})
            offset = end

    def _take_lines(self, lines: Iterable[Line]) -> None:
        """Take lines of which some may be no events."""
        for line in lines:
            run_id = _run_id_of(line)
            if run_id in self._runs:
                self._runs[run_id].add(line)
            elif run_id:
                self._remember(run_id, {line.offset: line.end})

    def _remember(self, run_id: str, lines: dict[int, int]) -> None:
        self._lines.setdefault(run_id, {}).update(lines)
        if len(self._lines) > _REMEMBERED_RUNS:
            self._dropped = True
            for _ in range(_REMEMBERED_RUNS // 2):
                dropped, _lines = self._lines.popitem(last=False)
                self._complete_since = max(self._complete_since, (ulid_unix_nano(dropped) or 0) + 1)

    def _holds(self, run_id: str, start: Cursor, end: Cursor) -> bool:
        """Tell whether a line of the run stands at `start` now."""
        if self._file is None:
            return False
        line = next(read_lines(self._file, start.offset, end.offset), None)
        return line is not None and line.offset == start.offset and _run_id_of(line) == run_id


def _search_backward(file: BinaryIO, end: int, run_id: str, limit: int | None) -> tuple[list[Line], bool]:
    """Return the run's lines before byte `end`, in order, looking back to lines stamped before `limit`.

    And whether there were such lines: then none of the run's stands before them.
    """
    found: list[Line] = []
    needle = run_id.encode()
    older = 0
    for line in read_lines_backward(file, end):
        if (needle in line.data or _ESCAPE in line.data) and _run_id_of(line) == run_id:
            found.append(line)
        if limit is not None:
            older = older + 1 if _is_older(line, limit) else 0
            if older == _OLDER_LINES:
                break
    return found[::-1], older == _OLDER_LINES


def _are_same(file: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(file.fileno()), os.fstat(other.fileno()))


def _is_older(line: Line, limit: int) -> bool:
    # Only to know when to stop: a timestamp inside details, at worst, makes the search a little longer or shorter.
    match = _TIMESTAMP.search(line.data)
    text = match.group(1).decode() if match is not None else ""
    return is_timestamp(text) and parse_timestamp(text) < limit


def _run_id_of(line: Line) -> str:
    data = line.data
    found = _RUN_ID.findall(data)
    # One byte is found in a tenth of the time of two.
    if len(found) == 1 and (b"\\" not in data or _ESCAPE not in data):
        return found[0].decode()
    try:
        # None or an escape: key or id may be written with escapes. Several: details hold such a key too.
        return parse_document(line)["pattern_run_id"]
    except ValueError:
        return ""

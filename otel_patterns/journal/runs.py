"""The runs of a whole journal in one pass: folded from lines as they come, without an object for every event."""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import lt
from typing import Any, BinaryIO, Final

import msgspec

from ..compiled import compiled
from ..errors import JournalError
from ..model import names
from ..model.columns import are_in_our_form
from ..model.events import PatternEvent, checked_event
from ..model.fold import fold_run
from ..model.outline import ABANDONED, ENDS_EXECUTION, ended_status, outputs_told
from ..model.runs import PatternRun
from ..model.times import parse_timestamp
from .heads import Block, Details, Head, parse_document
from .lines import ReadReport, lines_of
from .read import Filter, read_heads
from .segments import GZIP, ZSTD, Segment, open_seekable, read_files

_KEPT_BLOCKS: Final = 8
# The types of events that say something of the run that its first event does not.
_TELLING: Final = names.TERMINAL_EVENT_TYPES | {names.SELECTION_RESOLVED, names.EXECUTION_STARTED}


def read_runs(
    path: str | os.PathLike[str], wanted: Filter | None = None, *, report: ReadReport | None = None
) -> dict[str, JournalRun]:
    """Return the runs of the journal's events that pass the filter, by run id: what `fold` returns of these events.

    The active file stays open as long as one of its runs is kept.

    Raises:
        JournalError: The file cannot be opened, or was cut while it was read; a missing one is an empty journal.
    """
    report = report if report is not None else ReadReport()
    runs: dict[str, JournalRun] = {}
    # Runs that are to be looked at again, as few as possible: when all is read, none is in the processor's cache.
    unsettled: set[str] = set()
    latest_at, is_sorted = "", True
    source = _Source(os.fspath(path))
    for file in read_files(path, report):
        source.begin(file, report.path)
        for block in read_heads(file, wanted, report=report):
            number = source.add(block)
            for run_id, heads in block.by_run.items():
                if (run := runs.get(run_id)) is None:
                    run = runs[run_id] = _begin(heads[0], source)
                    is_sorted = is_sorted and latest_at < run.first_at
                    latest_at = run.first_at
                run.add(heads, number, block)
                # `is_settled` without its call: most runs begin and end in one block.
                if run.is_plain and run.distinct == len(run.events):
                    unsettled.discard(run_id)
                else:
                    unsettled.add(run_id)
    # Blocks are read again one after the other.
    for run in sorted(map(runs.__getitem__, unsettled), key=lambda run: run.blocks):
        run.settle()
    if all(runs[run_id].is_plain for run_id in unsettled):
        return runs if is_sorted else dict(sorted(runs.items(), key=lambda item: (item[1].first_at, item[0])))
    return dict(sorted(runs.items(), key=lambda item: (_first_unix_nano(item[1]), item[0])))


def parted(heads: list[Head], telling: frozenset[str]) -> tuple[list[str], list[Head]]:
    """Return the ids of events, and those of them whose types are among these."""
    return [head.event_id for head in heads], [head for head in heads if head.event_type in telling]


_quickly_parted: Final = compiled("journal._heads", "parted", parted)


class JournalRun(msgspec.Struct, eq=False, gc=False):
    """A run of a journal, as far as it can be told while reading on. `run` is all of it.

    In memory are the ids of its events, the numbers of the blocks in which they stand, and those details of its end
    that are outputs. A plain run has its events in order, each once, with timestamps in our form. Any other one is
    folded from its lines, which are read again.

    Attributes:
        first_at: When its first event in the journal happened.
        first_unix_nano: When the first event of a run happened that is not plain.
        latest_at: When its latest event in the journal happened.
        blocks: Where its events stand in `source`.
        outcome: Details of the event that ends it.
        ended_by: Type of that event.
        distinct: How many different events were counted when it ended.
        is_distinct: Whether all its events are known to be different.
    """

    pattern_run_id: str
    job_id: str
    pattern_id: str
    operation: str | None
    first_at: str
    started_at: str
    source: _Source
    events: list[str]
    blocks: tuple[int, ...] = ()
    latest_at: str = ""
    status: str = names.PENDING
    finished_at: str | None = None
    outcome: Details | None = None
    ended_by: str = ""
    distinct: int = 0
    is_plain: bool = True
    is_distinct: bool = False
    is_resolved: bool = False
    is_started: bool = False
    is_own_end: bool = False
    folded: PatternRun | None = None
    first_unix_nano: int = 0

    def add(self, heads: list[Head], number: int, block: Block) -> None:
        """Take the run's events of one more block."""
        if heads[0].timestamp <= self.latest_at or not (block.is_rising or _are_plain(heads, block)):
            self.is_plain = False
        self.latest_at = heads[-1].timestamp
        self.is_distinct = block.is_distinct and not self.blocks
        event_ids, telling = _quickly_parted(heads, _TELLING)
        if self.events:
            self.events += event_ids
        else:
            self.events = event_ids
        self.blocks += (number,)
        for head in telling:
            event_type = head.event_type
            if event_type == names.SELECTION_RESOLVED:
                if not self.is_resolved:
                    self.is_resolved, self.pattern_id = True, head.pattern_id
            elif event_type != names.EXECUTION_STARTED:
                self._end(head)
            elif not self.is_started:
                self.is_started, self.started_at = True, head.timestamp
                if self.outcome is None:
                    self.status = names.IN_PROGRESS

    def _end(self, head: Head) -> None:
        is_own_end = head.details.error_type != ABANDONED
        # The last end counts, and a run's own before `abandoned`.
        if is_own_end or not self.is_own_end:
            self.is_own_end, self.ended_by, self.outcome = is_own_end, head.event_type, head.details
            self.status, self.finished_at = ended_status(head.event_type, head.status), head.timestamp
        self.distinct = len(self.events) if self.is_distinct else len(set(self.events))

    @property
    def is_settled(self) -> bool:
        """Whether `settle` has nothing to do, unless more events come."""
        return self.is_plain and self.distinct == len(self.events)

    def settle(self) -> None:
        """Notice copies of events; fold the run when it is not a plain one."""
        self.distinct = len(set(self.events))
        if self.is_settled:
            return
        self.is_plain = False
        events = self.read_events()
        self.first_unix_nano = min(event.time_unix_nano for event in events)
        run = self.folded = fold_run(events)
        self.job_id, self.pattern_id, self.operation = run.job_id, run.pattern_id, run.operation_kind
        self.status, self.started_at, self.finished_at = run.status, run.started_at, run.finished_at
        self.events = run.events

    @property
    def run(self) -> PatternRun:
        """The whole run, folded when it is first asked for.

        Raises:
            JournalError: The file was cut or written over meanwhile.
        """
        if self.folded is None:
            self.folded = fold_run(self.read_events())
        return self.folded

    @property
    def operation_kind(self) -> str:
        """As in `PatternRun`."""
        return self.operation or self.run.operation_kind

    @property
    def duration_seconds(self) -> float | None:
        """As in `PatternRun`."""
        if not self.is_plain:
            return self.run.duration_seconds
        if self.finished_at is None:
            return None
        return max(0, parse_timestamp(self.finished_at) - parse_timestamp(self.started_at)) / 1e9

    @property
    def outputs(self) -> dict[str, Any]:
        """As in `PatternRun`."""
        if not self.is_plain:
            return self.run.outputs
        if self.outcome is None or self.ended_by not in ENDS_EXECUTION:
            return {}
        return outputs_told(self.outcome.outputs())

    def read_events(self) -> list[PatternEvent]:
        """Return the run's events as they stand in the journal, copies included.

        Raises:
            JournalError: The file was cut or written over meanwhile.
        """
        events = [event for block in self.blocks for event in self.source.events(block, self.pattern_run_id)]
        if [event.event_id for event in events] != self.events:
            raise JournalError(self.source.path, "was changed while it was read")
        return events


class _Source:
    """The blocks of a journal, to be read once more."""

    def __init__(self, path: str) -> None:
        self.path = path
        # The active file is kept open: it may be renamed at any time. Sealed segments may be too many for that.
        self._descriptor = -1
        self._opened: tuple[str, BinaryIO] | None = None
        self._sealed = ""
        self._blocks: list[tuple[str, int, int]] = []
        self._read: dict[int, dict[str, list[PatternEvent]]] = {}

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self._opened is not None:
            self._opened[1].close()

    def begin(self, file: BinaryIO, path: str) -> None:
        """Take blocks of this file from now on."""
        # A sealed segment may also be given as a journal; packed it has no descriptor of the bytes.
        self._sealed = path if path != self.path or path.endswith((GZIP, ZSTD)) else ""
        if not self._sealed:
            self._descriptor = os.dup(file.fileno())

    def add(self, block: Block) -> int:
        """Remember where a block stands, and return its number."""
        self._blocks.append((self._sealed, block.start, block.end))
        return len(self._blocks) - 1

    def events(self, number: int, run_id: str) -> list[PatternEvent]:
        """Return the events of a run that stand in a block."""
        if number not in self._read:
            # Runs of one time are mostly asked for one after the other.
            if len(self._read) == _KEPT_BLOCKS:
                del self._read[next(iter(self._read))]
            self._read[number] = self._read_events(*self._blocks[number])
        return self._read[number].get(run_id, [])

    def _read_events(self, sealed: str, start: int, end: int) -> dict[str, list[PatternEvent]]:
        data = os.pread(self._descriptor_of(sealed) if sealed else self._descriptor, end - start, start)
        events: dict[str, list[PatternEvent]] = {}
        for line in lines_of(start, data):
            try:
                event = checked_event(parse_document(line))
            except ValueError:
                # Counted when it was read for the first time.
                continue
            events.setdefault(event.pattern_run_id, []).append(event)
        return events

    def _descriptor_of(self, sealed: str) -> int:
        if self._opened is None or self._opened[0] != sealed:
            if self._opened is not None:
                self._opened[1].close()
                self._opened = None
            if (file := open_seekable(Segment(0, sealed, (sealed,)))) is None:
                raise JournalError(sealed, "was deleted while it was read")
            self._opened = sealed, file
        return self._opened[1].fileno()


def _first_unix_nano(run: JournalRun) -> int:
    return parse_timestamp(run.first_at) if run.is_plain else run.first_unix_nano


def _begin(head: Head, source: _Source) -> JournalRun:
    operation = head.details.operation_kind
    return JournalRun(
        head.pattern_run_id,
        head.job_id,
        head.pattern_id,
        operation if isinstance(operation, str) else None,
        head.timestamp,
        head.timestamp,
        source,
        [],
    )


def _are_plain(heads: Sequence[Head], block: Block) -> bool:
    """Tell whether a run's events of a block stand in order, with timestamps in our form."""
    times = [head.timestamp for head in heads]
    if not (block.in_our_form or are_in_our_form(times)):
        return False
    if all(map(lt, times, times[1:])):
        return True
    keys = [
        (head.timestamp, names.LIFECYCLE_RANK.get(head.event_type, names.UNKNOWN_RANK), head.event_id) for head in heads
    ]
    return all(map(lt, keys, keys[1:]))

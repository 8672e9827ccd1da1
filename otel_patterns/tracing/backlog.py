"""The runs that a destination is owed: read from the journal, on from where everything before is settled.

The delivery record says which spans are settled (`delivered`), its checkpoint up to where nothing is owed: every run
that begins before the checkpoint's cursor is settled whole, so nobody has to read there again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count, islice
from typing import TYPE_CHECKING, Final

import msgspec

from ..journal.cursor import BEGINNING, Cursor
from ..journal.follow import Follower
from ..journal.heads import decode_records, decode_run_ids, parse_record
from ..journal.lines import BadLine, Line, ReadReport, lines_of
from ..model.ids import ulid_unix_nano
from ..model.names import TERMINAL_EVENT_TYPES
from ..model.record import EventRecord
from ..model.stages import is_stage_closing
from .delivered import Checkpoint, Fate, Settled

if TYPE_CHECKING:
    import os

# Runs that are settled and may still get late lines: those are told from new runs without looking back.
_REMEMBERED_RUNS: Final = 100_000


class Run(msgspec.Struct, eq=False):
    """A run that is not settled: its events in journal order, up to its first terminal one.

    Attributes:
        start: Where its first line stands.
        number: How many runs began before it in the journal.
        is_before: It begins before the checkpoint's cursor: it is settled.
        is_ended: A terminal event was read.
        ended_unix_nano: Its time, in nanoseconds since 1970.
        closed: Events that closed a stage since somebody looked.
        seen_at: When somebody looked at it first, by a monotonic clock; zero: nobody has.
        is_marked: Its marker was sent.
    """

    run_id: str
    start: Cursor
    number: int
    is_before: bool
    events: list[EventRecord]
    is_ended: bool = False
    ended_unix_nano: int = 0
    closed: set[str] = msgspec.field(default_factory=set[str])
    seen_at: float = 0.0
    is_marked: bool = False


class Backlog:
    """Reads a journal forward and keeps the runs that are not settled. For one thread.

    Args:
        journal_path: The journal.
        checkpoint: Up to where everything is settled.
        start: Where to begin: at the checkpoint's cursor, or at the beginning; None means the present end.
        born_after: Only runs whose ids hold a later time than this, in nanoseconds since 1970, and no others.
        only: One run, when no other is wanted.
        on_bad: Told of each line that is no event, in which segment it stands, and why.
        settled: What is on record; runs that are known to be settled whole are passed over.
        report: What the journal's reader met.

    Attributes:
        passed_over: How many runs are on record as settled whole, by what had become of them.
    """

    def __init__(
        self,
        journal_path: str | os.PathLike[str],
        checkpoint: Checkpoint,
        *,
        start: Cursor | None,
        born_after: int | None = None,
        only: str | None = None,
        on_bad: Callable[[str, Line, str], None] | None = None,
        settled: Settled | None = None,
        report: ReadReport | None = None,
    ) -> None:
        self._path = journal_path
        self._born_after = born_after
        self._needle = only.encode() if only is not None else b""
        self._on_bad = on_bad
        self._on_record = settled or Settled()
        self._checkpoint = checkpoint
        self._report = report if report is not None else ReadReport()
        self._follower = Follower(journal_path, start=start, on_restart=self._restart, report=self._report)
        # From the beginning on, runs are settled until the checkpoint's cursor is passed.
        self._border = (
            _Border(checkpoint.cursor) if start == BEGINNING and _is_there(journal_path, checkpoint) else None
        )
        self._blocks: Iterator[tuple[int, bytes]] = iter(())
        self._is_looking = False
        self._runs: dict[str, Run] = {}
        self._ended: list[Run] = []
        # Settled runs and their numbers: those that an older run keeps behind the cursor, and late ones before it.
        self._settled: dict[str, int] = {}
        # What became of those that were not delivered.
        self._fates: dict[str, Fate] = {}
        self._passed: dict[str, None] = {}
        self._before: Counter[str] = Counter(checkpoint.before)
        self._count = 0
        self._position = start if start is not None else checkpoint.cursor
        self._latest_born = checkpoint.latest_born
        self._earlier: frozenset[str] | None = None
        self.passed_over: Counter[Fate] = Counter()

    @property
    def runs(self) -> Iterable[Run]:
        """The runs that are not settled, in the order in which they begin."""
        return self._runs.values()

    def read(self, blocks: int) -> bool:
        """Read so many blocks of lines, and tell whether there may be more."""
        for _ in range(blocks):
            if not self._is_looking:
                self._blocks, self._is_looking = self._follower.look(), True
            block = next(self._blocks, None)
            if block is None:
                self._is_looking = False
                return False
            self._take_block(*block)
        return True

    @property
    def position(self) -> Cursor:
        """Up to where the journal was read."""
        return self._position

    def wait(self, seconds: float) -> None:
        """Wait until the journal may have more lines, but no longer than this."""
        self._follower.wait(seconds)

    def take_ended(self) -> list[Run]:
        """Return the runs that have ended since the last call, in the order of their ends."""
        ended, self._ended = self._ended, []
        return ended

    def settle(self, run: Run, fate: Fate) -> None:
        """Drop a run of which nothing is owed any more, for this reason."""
        if self._runs.pop(run.run_id, None) is not None:
            self._settle(run.run_id, run.number, fate)

    def advance(self) -> tuple[Checkpoint, set[str]]:
        """Return up to where everything is settled now, and the runs that it was moved over since the last call."""
        oldest = next(iter(self._runs.values()), None)
        number = self._count if oldest is None else oldest.number
        cursor = self._position if oldest is None else oldest.start
        passed, self._settled = self._settled, {}
        if oldest is not None:
            self._settled = {run_id: other for run_id, other in passed.items() if other >= number}
            for run_id in self._settled:
                del passed[run_id]
        fates = [self._fates.pop(run_id) for run_id in self._fates.keys() & passed]
        self._before.update(fates)
        self._before["delivered"] += len(passed) - len(fates)
        self._passed.update(dict.fromkeys(islice(passed, max(0, len(passed) - _REMEMBERED_RUNS), None)))
        for run_id in list(islice(self._passed, max(0, len(self._passed) - _REMEMBERED_RUNS))):
            del self._passed[run_id]
        open_runs = frozenset(self._runs) | self._settled.keys()
        return Checkpoint(cursor, self._latest_born, open_runs, dict(+self._before)), set(passed)

    def close(self) -> None:
        """Close the journal's files."""
        self._follower.close()

    def _restart(self, _reason: str) -> None:
        # What stood before the cursor is not there any more. What is there counts as owed, unless it is on record:
        # sending a span twice does no harm, leaving one out does.
        self._checkpoint, self._border = Checkpoint(), None

    def _take_block(self, offset: int, block: bytes) -> None:
        segment = self._follower.segment
        if not self._may_hold_wanted(block) or self._pass_over(block):
            self._position = Cursor(segment, offset + len(block))
            return
        records = decode_records(block)
        if records is not None:
            self._report.events += len(records)
            for record, data in zip(records, block.split(b"\n"), strict=False):
                self._take(record, segment, offset)
                offset += len(data) + 1
        else:
            for line in lines_of(offset, block):
                self._take_line(line, segment)
                offset = line.end
        self._position = Cursor(segment, offset)

    def _may_hold_wanted(self, block: bytes) -> bool:
        """Tell whether a line of the one run that is wanted may be among these: it holds its id, unless in escapes."""
        # One byte is found in a tenth of the time of two.
        return self._needle in block or (b"\\" in block and b"\\u" in block)

    def _pass_over(self, block: bytes) -> bool:
        """Pass over lines whose runs are all settled whole, and tell whether that was so."""
        whole = self._on_record.whole
        if not whole or self._border is not None:
            return False
        # A fifth of the work of reading events: what was delivered long ago is looked at in no more detail.
        lines = decode_run_ids(block)
        if lines is None:
            return False
        run_ids = dict.fromkeys(lines)
        if not whole.issuperset(run_ids) or not self._runs.keys().isdisjoint(run_ids):
            return False
        self._report.events += len(lines)
        new = [run_id for run_id in run_ids if run_id not in self._settled]
        # From the beginning on, nothing else was met before.
        if self._passed or self._checkpoint.cursor != BEGINNING:
            new = [run_id for run_id in new if not self._is_late(run_id)]
        if self._on_record.parked:
            for run_id in new:
                self._pass(run_id)
        else:
            # As `_pass` would, in a fraction of the time.
            self._settled.update(zip(new, count(self._count), strict=False))
            self._count += len(new)
            self.passed_over["delivered"] += len(new)
        # ULIDs sort by their times: of so many only the last one has to be taken apart.
        born = filter(None, map(ulid_unix_nano, sorted(new, reverse=True)))
        self._latest_born = max(self._latest_born, next(born, 0))
        return True

    def _take_line(self, line: Line, segment: str) -> None:
        try:
            record = parse_record(line)
        except ValueError as error:
            # Reported by whoever checks the journal: it costs only itself.
            if line.data.isspace():
                return
            self._report.skip(BadLine(line.offset, len(line.data), str(error)))
            if self._on_bad is not None:
                self._on_bad(segment, line, str(error))
        else:
            self._report.events += 1
            self._take(record, segment, line.offset)

    def _take(self, event: EventRecord, segment: str, offset: int) -> None:
        run_id, event_type = event.pattern_run_id, event.event_type
        run = self._runs.get(run_id) or self._begin(run_id, segment, offset)
        # What stands behind the first terminal line changes the fold, never the trace.
        if run is None or run.is_ended:
            return
        run.events.append(event)
        if event_type in TERMINAL_EVENT_TYPES:
            run.is_ended, run.ended_unix_nano = True, event.time_unix_nano
            self._ended.append(run)
        elif is_stage_closing(event_type):
            run.closed.add(event.event_id)

    def _begin(self, run_id: str, segment: str, offset: int) -> Run | None:
        """Return a new run; None when its lines are late ones of a run that is settled, or all of it is."""
        start = Cursor(segment, offset)
        is_before = self._border is not None and not self._border.is_passed(start)
        if self._is_late(run_id, is_before=is_before):
            return None
        born = ulid_unix_nano(run_id)
        if self._born_after is not None and (born is None or born <= self._born_after):
            return None
        self._latest_born = max(self._latest_born, born or 0)
        if run_id in self._on_record.whole:
            self._pass(run_id)
            return None
        run = self._runs[run_id] = Run(run_id, start, self._count, is_before, [])
        self._count += 1
        return run

    def _is_late(self, run_id: str, *, is_before: bool = False) -> bool:
        """Tell whether a line of a run that is not open belongs to one that is settled, and was met before."""
        return run_id in self._settled or run_id in self._passed or (not is_before and self._stands_before(run_id))

    def _pass(self, run_id: str) -> None:
        """Count a run that is settled whole."""
        fate: Fate = "parked" if run_id in self._on_record.parked else "delivered"
        self._settle(run_id, self._count, fate)
        self._count += 1
        self.passed_over[fate] += 1

    def _settle(self, run_id: str, number: int, fate: Fate) -> None:
        self._settled[run_id] = number
        if fate != "delivered":
            self._fates[run_id] = fate

    def _stands_before(self, run_id: str) -> bool:
        """Tell whether a run that is seen for the first time has lines before the checkpoint's cursor."""
        checkpoint = self._checkpoint
        if self._border is not None or checkpoint.cursor == BEGINNING or run_id in checkpoint.open_runs:
            return False
        born = ulid_unix_nano(run_id)
        # Every run that had a line when the checkpoint was made was born by then, by the same clock.
        if born is not None and born > checkpoint.latest_born:
            return False
        if self._earlier is None:
            self._earlier = frozenset(_runs_before(self._path, checkpoint.cursor))
        return run_id in self._earlier


class _Border:
    """A cursor that is read up to, and then passed."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._is_in_segment = False
        self._is_passed = False

    def is_passed(self, place: Cursor) -> bool:
        """Tell whether a line stands behind it; asked of lines in the order of the journal."""
        if place.segment == self._cursor.segment:
            self._is_in_segment = True
            self._is_passed = self._is_passed or place.offset >= self._cursor.offset
        else:
            self._is_passed = self._is_passed or self._is_in_segment
        return self._is_passed


def _is_there(journal_path: str | os.PathLike[str], checkpoint: Checkpoint) -> bool:
    """Tell whether the file of a checkpoint's cursor is still there."""
    if checkpoint.cursor == BEGINNING:
        return False
    told: list[str] = []
    Follower(journal_path, start=checkpoint.cursor, on_restart=told.append).close()
    return not told


def _runs_before(journal_path: str | os.PathLike[str], cursor: Cursor) -> Iterator[str]:
    """Yield the ids of the runs with a line before a cursor."""
    border = _Border(cursor)
    follower = Follower(journal_path, start=BEGINNING)
    try:
        for offset, block in follower.look():
            for line in lines_of(offset, block):
                if border.is_passed(Cursor(follower.segment, line.offset)):
                    return
                with suppress(ValueError):
                    yield parse_record(line).pattern_run_id
    finally:
        follower.close()

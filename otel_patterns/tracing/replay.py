"""Replay: project runs again from the journal and send what their destination has not acknowledged. Idempotent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from ..errors import JournalError
from ..journal.cursor import BEGINNING, Cursor
from ..journal.read import ReadReport, read_events
from .answers import Answer
from .backlog import Backlog, Run
from .backoff import Backoff
from .delivered import DeliveryRecord, Fate, Settled
from .otlp import encode_run
from .parcels import MAX_BATCH_BYTES, Parcel, Sender, batch_of, pack, send
from .projection import project
from .recorded import Recorded, read_recorded
from .trace import EncodedRun, EncodedSpan, RunTrace

if TYPE_CHECKING:
    import os

    from ..model.events import PatternEvent
    from ..model.record import Event

_Made = TypeVar("_Made", RunTrace, EncodedRun)

_ATTEMPTS: Final = 5
# Lines are read so many blocks at a time before something is sent: a third of a megabyte, so that progress is seen.
_BLOCKS: Final = 4
# Somebody looks on: a receiver that asks for more is left alone, and what it is owed stays owed.
LONGEST_WAIT_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Selection:
    """Which runs to replay; None means any. `since` is nanoseconds since 1970: runs with an event at or after it.

    `unsampled` and `parked` add what is left out otherwise: runs that were not sampled, spans that are parked.
    """

    run_id: str | None = None
    job_id: str | None = None
    since: int | None = None
    unsampled: bool = False
    parked: bool = False


@dataclass
class ReplayReport:
    """What a replay did, in runs; `spans` counts spans.

    Attributes:
        sent: Runs of which something was acknowledged now (with `dry_run`: would be sent).
        delivered: Runs that had been acknowledged whole before.
        unfinished: Runs among `sent` and `delivered` that have not ended.
        unsampled: Runs left out because the sampler decided so.
        native: Runs left out because their program exported its own spans, or because they were imported from a trace.
        owed: Runs of which something could not be delivered.
        spans: Spans acknowledged now.
        parked: Spans that the destination has seen, now or before, and does not want: how many, by its words.
        messages: What the destination said about those not delivered.
        warnings: What it said when it took all.
        read: What the journal's reader met.
    """

    sent: int = 0
    delivered: int = 0
    unfinished: int = 0
    unsampled: int = 0
    native: int = 0
    owed: int = 0
    spans: int = 0
    parked: Counter[str] = field(default_factory=Counter[str])
    messages: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    read: ReadReport = field(default_factory=ReadReport)

    def leave_out(self, runs: int, message: str) -> None:
        """Count runs that could not be delivered, and keep why; each reason once."""
        self.owed += runs
        if message not in self.messages:
            self.messages.append(message)


def traces_of(
    journal_path: str | os.PathLike[str], selection: Selection, *, report: ReplayReport | None = None
) -> Iterator[RunTrace]:
    """Yield the trace of every selected run: ended ones in the order of their ends, then those still going on.

    Memory is bounded by the runs that are open at the same place of the journal.

    Raises:
        JournalError: The journal cannot be read.
    """
    prefixes: dict[str, list[PatternEvent]] = {}
    ended: set[str] = set()
    report = report or ReplayReport()
    for event in read_events(journal_path, report=report.read):
        run_id = event.pattern_run_id
        if run_id in ended:
            continue
        prefix = prefixes.setdefault(run_id, [])
        prefix.append(event)
        if event.is_terminal:
            ended.add(run_id)
            del prefixes[run_id]
            if _is_selected(prefix, selection) and (trace := _made(project, prefix, report)) is not None:
                yield trace
    for prefix in prefixes.values():
        if _is_selected(prefix, selection) and (trace := _made(project, prefix, report)) is not None:
            yield trace


def _made(
    make: Callable[[Sequence[Event]], _Made | None], prefix: Sequence[Event], report: ReplayReport
) -> _Made | None:
    """Return what a function makes of a run; None, and a word in the report, when it fails."""
    try:
        return make(prefix)
    except Exception as error:  # noqa: BLE001  # a damaged run must not withhold the others
        report.leave_out(1, f"run {prefix[0].pattern_run_id} cannot be projected: {type(error).__name__}: {error}")
        return None


def _is_selected(prefix: Sequence[Event], selection: Selection) -> bool:
    if selection.run_id is not None and prefix[0].pattern_run_id != selection.run_id:
        return False
    if selection.job_id is not None and prefix[0].job_id != selection.job_id:
        return False
    return selection.since is None or max(event.time_unix_nano for event in prefix) >= selection.since


def replay(
    journal_path: str | os.PathLike[str],
    sink: Sender,
    selection: Selection,
    *,
    force: bool = False,
    dry_run: bool = False,
    on_run: Callable[[EncodedRun, int], None] | None = None,
    on_progress: Callable[[Cursor, ReplayReport], None] | None = None,
) -> ReplayReport:
    """Send the selected runs' spans that `sink` has not acknowledged, and return what became of them.

    The journal is read on from where everything before is settled; with filters that say nothing of that, from its
    beginning.

    Args:
        journal_path: The journal.
        sink: Where to send.
        selection: Which runs.
        force: Also send what was acknowledged before, with the same bytes; not what is parked.
        dry_run: Only tell what would be sent.
        on_run: Called with each run and how many of its spans are to be sent.
        on_progress: Called now and then with how far the journal was read, and what was done so far.

    Raises:
        BusyError: Another process delivers to the same destination.
        JournalError: The journal or the delivery record cannot be read.
    """
    record = DeliveryRecord(journal_path, sink.destination)
    try:
        with nullcontext() if dry_run else record.owned():
            choice = _Choice(selection, force=force, dry_run=dry_run)
            return _replay(journal_path, sink, record, choice, _Watchers(on_run, on_progress))
    finally:
        record.close()


class _Watchers(NamedTuple):
    on_run: Callable[[EncodedRun, int], None] | None
    on_progress: Callable[[Cursor, ReplayReport], None] | None


class _Choice(NamedTuple):
    selection: Selection
    force: bool
    dry_run: bool

    @property
    def is_all(self) -> bool:
        """Whether all is looked at that is owed, and nothing else."""
        return self.selection == Selection() and not self.force


def _replay(
    journal_path: str | os.PathLike[str],
    sink: Sender,
    record: DeliveryRecord,
    choice: _Choice,
    watchers: _Watchers,
) -> ReplayReport:
    report = ReplayReport()
    settled, checkpoint = record.load(), record.load_checkpoint()
    if choice.force:
        settled.acknowledged.clear()
        settled.whole.clear()
    if choice.is_all:
        report.delivered = checkpoint.before.get("delivered", 0)
        report.unsampled = checkpoint.before.get("unsampled", 0)
        report.native = checkpoint.before.get("native", 0)
    start = checkpoint.cursor if choice.is_all else BEGINNING
    only, on_record = choice.selection.run_id, settled if choice.is_all else None
    backlog = Backlog(journal_path, checkpoint, start=start, only=only, settled=on_record, report=report.read)
    payment = _Payment(sink, record, report, backlog, watchers.on_progress)
    try:
        is_more = True
        while is_more:
            is_more = backlog.read(_BLOCKS)
            # Those that have not ended come last: what is still to be read may end them.
            for run in [*backlog.take_ended(), *(() if is_more else [run for run in backlog.runs if not run.is_ended])]:
                _pay(run, settled, choice, payment, watchers.on_run)
            payment.tell_progress()
        payment.finish()
        report.delivered += backlog.passed_over["delivered"]
        if choice.is_all:
            for parked in settled.parked.values():
                report.parked.update(parked.values())
            if not choice.dry_run:
                with suppress(OSError, JournalError):
                    # Without it the next one reads what this one has read.
                    record.save_checkpoint(*backlog.advance())
    finally:
        backlog.close()
    return report


def _pay(
    run: Run,
    settled: Settled,
    choice: _Choice,
    payment: _Payment,
    on_run: Callable[[EncodedRun, int], None] | None,
) -> None:
    """Send what is owed of a run, or see that nothing is."""
    report = payment.report
    is_selected = _is_selected(run.events, choice.selection)
    if not is_selected or (run.run_id in settled.whole and run.run_id not in settled.parked):
        # Most runs, when filters have the whole journal read: projecting them would be most of the work.
        report.delivered += is_selected
        # With filters no checkpoint is made: those left out are only forgotten by that.
        payment.backlog.settle(run, "delivered")
        run.events = []
        return
    if payment.is_over and not settled.knows(run.run_id) and not run.is_before:
        # Nothing is sent any more: it is enough to know that all of it is owed.
        _count(run, choice, payment)
        return
    encoded = _made(encode_run, run.events, report)
    # Its lines are in the journal; a thousand runs that wait for a receiver need not be in memory too.
    run.events = []
    if encoded is None:
        return
    spans, fate = _missing(encoded, settled, choice, report, is_before=run.is_before)
    if fate is not None:
        if run.is_ended:
            payment.backlog.settle(run, fate)
        return
    if payment.is_over:
        report.owed += 1
        return
    if on_run is not None:
        on_run(encoded, len(spans))
    if choice.dry_run:
        report.sent += 1
        return
    payment.add(run, pack(encoded, spans, are_last=True))


def _count(run: Run, choice: _Choice, payment: _Payment) -> None:
    """Count a run of which nothing is on record, without projecting it."""
    fate = _withheld(read_recorded(run.events), choice, payment.report)
    run.events = []
    if fate is None:
        payment.report.owed += 1
        payment.report.unfinished += not run.is_ended
    elif run.is_ended:
        payment.backlog.settle(run, fate)


def _missing(
    run: EncodedRun, settled: Settled, choice: _Choice, report: ReplayReport, *, is_before: bool
) -> tuple[list[EncodedSpan], Fate | None]:
    """Return the spans of a run to send; when there are none, why."""
    if (fate := _withheld(run, choice, report)) is not None:
        return [], fate
    if run.root is None:
        report.unfinished += 1
    acknowledged = settled.acknowledged.get(run.run_id, ())
    known = settled.parked.get(run.run_id, {})
    parked = {} if choice.selection.parked else known
    # Of these only parked spans are on record, all others are acknowledged.
    is_settled = run.run_id in settled.whole or (is_before and run.sampled and not choice.force)
    missing: list[EncodedSpan] = []
    is_parked = False
    for span in run.spans:
        if span.span_id in parked:
            if not choice.is_all:
                report.parked[parked[span.span_id]] += 1
            is_parked = True
        elif span.span_id not in acknowledged and not (is_settled and span.span_id not in known):
            missing.append(span)
    if missing:
        return missing, None
    if not is_parked:
        report.delivered += 1
    return [], "parked" if is_parked else "delivered"


def _withheld(run: EncodedRun | Recorded, choice: _Choice, report: ReplayReport) -> Fate | None:
    """Return why a run is not sent at all, and count it; None when it is."""
    if run.native:
        report.native += 1
        return "native"
    if not run.sampled and not choice.selection.unsampled:
        report.unsampled += 1
        return "unsampled"
    return None


class _Payment:
    """Sends parcels in batches, as long as the receiver takes them."""

    def __init__(
        self,
        sink: Sender,
        record: DeliveryRecord,
        report: ReplayReport,
        backlog: Backlog,
        on_progress: Callable[[Cursor, ReplayReport], None] | None,
    ) -> None:
        self._on_progress = on_progress
        self.report = report
        self.backlog = backlog
        self._sink = sink
        self._record = record
        # Runs that have ended, and which of their spans are on the way.
        self._open: dict[str, tuple[Run, set[str]]] = {}
        self._waiting: list[Parcel] = []
        self._waiting_bytes = 0
        self._backoff = Backoff(longest_seconds=LONGEST_WAIT_SECONDS)
        # Why nothing is sent any more: others would fare no better, and asking for each is a storm of requests.
        self._end: Answer | None = None

    @property
    def is_over(self) -> bool:
        """Whether the receiver will take nothing more: what is still to come is only counted."""
        return self._end is not None

    def add(self, run: Run, parcel: Parcel) -> None:
        """Take a parcel of a run, and send when there are enough for a request."""
        if run.is_ended:
            self._open[run.run_id] = run, set(parcel.span_ids)
        self._waiting.append(parcel)
        self._waiting_bytes += parcel.size
        if self._waiting_bytes > MAX_BATCH_BYTES:
            self._send_batch()

    def tell_progress(self) -> None:
        """Tell how far it is."""
        if self._on_progress is not None:
            self._on_progress(self.backlog.position, self.report)

    def finish(self) -> None:
        """Send what is left."""
        while self._waiting:
            self._send_batch()

    def _send_batch(self) -> None:
        batch = batch_of(self._waiting, limit=MAX_BATCH_BYTES)
        del self._waiting[: len(batch)]
        self._waiting_bytes -= sum(parcel.size for parcel in batch)
        taken: set[str] = set()
        owed: set[str] = set()
        attempts = 0
        again: Sequence[Parcel] = batch
        while again and self._end is None:
            attempts += 1
            again = self._try(again, taken, owed, is_last=attempts == _ATTEMPTS)
        owed.update(parcel.run_id for parcel in again)
        self.report.sent += len(taken)
        if again and self._end is not None:
            self.report.leave_out(0, self._end.message)
        self.report.owed += len(owed)
        self.tell_progress()

    def _try(self, batch: Sequence[Parcel], taken: set[str], owed: set[str], *, is_last: bool) -> Sequence[Parcel]:
        """Send once and return what may be sent again, after the pause it takes."""
        report = self.report
        for parcels, answer in send(self._sink, batch, lambda: None):
            spans = sum(len(parcel.span_ids) for parcel in parcels)
            runs = {parcel.run_id for parcel in parcels}
            if answer.kind in ("retry", "misconfigured"):
                asked = answer.retry_after_seconds or 0.0
                if is_last or answer.kind == "misconfigured" or asked > LONGEST_WAIT_SECONDS:
                    self._end = answer
                else:
                    time.sleep(self._backoff.next_pause(answer))
                return parcels
            self._backoff.reset()
            if answer.kind == "acknowledged":
                self._settle(parcels, answer)
                taken |= runs
                report.spans += spans
                if answer.message and answer.message not in report.warnings:
                    report.warnings.append(answer.message)
            elif answer.is_final:
                self._settle(parcels, answer)
                report.parked[f"{answer.kind}: {answer.message or 'no reason was given'}"] += spans
            else:
                owed |= runs
                report.leave_out(0, answer.message)
        return ()

    def _settle(self, parcels: Sequence[Parcel], answer: Answer) -> None:
        """Put on record what became of spans, and see which runs are settled by that."""
        self._record.settle(parcels, answer)
        for parcel in parcels:
            if parcel.run_id not in self._open:
                continue
            run, waiting = self._open[parcel.run_id]
            waiting.difference_update(parcel.span_ids)
            if not waiting:
                del self._open[parcel.run_id]
                self.backlog.settle(run, "parked" if answer.is_final else "delivered")

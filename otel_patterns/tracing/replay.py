"""Replay: project runs again from the journal and send what their destination has not acknowledged. Idempotent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..journal.read import ReadReport, read_events
from .answers import Answer
from .backoff import Backoff
from .delivered import DeliveryRecord, Settled
from .parcels import MAX_BATCH_BYTES, Parcel, Sender, batch_of, pack, send
from .projection import project
from .trace import RunTrace, Span

if TYPE_CHECKING:
    import os

    from ..model.events import PatternEvent

_ATTEMPTS: Final = 5
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
        if run_id in ended or (selection.run_id is not None and run_id != selection.run_id):
            continue
        prefix = prefixes.setdefault(run_id, [])
        prefix.append(event)
        if event.is_terminal:
            ended.add(run_id)
            del prefixes[run_id]
            if (trace := _selected(prefix, selection, report)) is not None:
                yield trace
    for prefix in prefixes.values():
        if (trace := _selected(prefix, selection, report)) is not None:
            yield trace


def _selected(prefix: list[PatternEvent], selection: Selection, report: ReplayReport) -> RunTrace | None:
    if selection.job_id is not None and prefix[0].job_id != selection.job_id:
        return None
    if selection.since is not None and max(event.time_unix_nano for event in prefix) < selection.since:
        return None
    try:
        return project(prefix)
    except Exception as error:  # noqa: BLE001  # a damaged run must not withhold the others
        report.leave_out(1, f"run {prefix[0].pattern_run_id} cannot be projected: {type(error).__name__}: {error}")
        return None


def replay(
    journal_path: str | os.PathLike[str],
    sink: Sender,
    selection: Selection,
    *,
    force: bool = False,
    dry_run: bool = False,
    on_run: Callable[[RunTrace, int], None] | None = None,
) -> ReplayReport:
    """Send the selected runs' spans that `sink` has not acknowledged, and return what became of them.

    Args:
        journal_path: The journal.
        sink: Where to send.
        selection: Which runs.
        force: Also send what was acknowledged before, with the same bytes; not what is parked.
        dry_run: Only tell what would be sent.
        on_run: Called with each run and how many of its spans are to be sent.

    Raises:
        JournalError: The journal or the delivery record cannot be read.
    """
    report = ReplayReport()
    record = DeliveryRecord(journal_path, sink.destination)
    payment = _Payment(sink, record, report)
    settled = record.load()
    if force:
        settled.acknowledged.clear()
    try:
        for trace in traces_of(journal_path, selection, report=report):
            spans = _missing(trace, settled, selection, report)
            if not spans:
                continue
            if on_run is not None:
                on_run(trace, len(spans))
            if dry_run:
                report.sent += 1
                continue
            try:
                payment.add(pack(trace, spans))
            except Exception as error:  # noqa: BLE001  # a damaged run must not withhold the others
                report.leave_out(1, f"run {trace.run_id} cannot be encoded: {type(error).__name__}: {error}")
        payment.finish()
    finally:
        record.close()
    return report


def _missing(trace: RunTrace, settled: Settled, selection: Selection, report: ReplayReport) -> list[Span]:
    if trace.native:
        report.native += 1
        return []
    if not trace.sampled and not selection.unsampled:
        report.unsampled += 1
        return []
    if trace.root is None:
        report.unfinished += 1
    acknowledged = settled.acknowledged.get(trace.run_id, ())
    parked = {} if selection.parked else settled.parked.get(trace.run_id, {})
    missing: list[Span] = []
    is_parked = False
    for span in trace.spans:
        if span.span_id in parked:
            report.parked[parked[span.span_id]] += 1
            is_parked = True
        elif span.span_id not in acknowledged:
            missing.append(span)
    if not missing and not is_parked:
        report.delivered += 1
    return missing


class _Payment:
    """Sends parcels in batches, as long as the receiver takes them."""

    def __init__(self, sink: Sender, record: DeliveryRecord, report: ReplayReport) -> None:
        self._sink = sink
        self._record = record
        self._report = report
        self._waiting: list[Parcel] = []
        self._waiting_bytes = 0
        self._backoff = Backoff(longest_seconds=LONGEST_WAIT_SECONDS)
        # Why nothing is sent any more: others would fare no better, and asking for each is a storm of requests.
        self._end: Answer | None = None

    def add(self, parcel: Parcel) -> None:
        """Take a parcel, and send when there are enough for a request."""
        self._waiting.append(parcel)
        self._waiting_bytes += parcel.size
        if self._waiting_bytes > MAX_BATCH_BYTES:
            self._send_batch()

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
        self._report.sent += len(taken)
        if again and self._end is not None:
            self._report.leave_out(0, self._end.message)
        self._report.owed += len(owed)

    def _try(self, batch: Sequence[Parcel], taken: set[str], owed: set[str], *, is_last: bool) -> Sequence[Parcel]:
        """Send once and return what may be sent again, after the pause it takes."""
        report = self._report
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
                self._record.settle(parcels, answer)
                taken |= runs
                report.spans += spans
                if answer.message and answer.message not in report.warnings:
                    report.warnings.append(answer.message)
            elif answer.is_final:
                self._record.settle(parcels, answer)
                report.parked[f"{answer.kind}: {answer.message or 'no reason was given'}"] += spans
            else:
                owed |= runs
                report.leave_out(0, answer.message)
        return ()

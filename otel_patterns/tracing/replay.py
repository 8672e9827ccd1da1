"""Replay: project runs again from the journal and send what their destination has not acknowledged. Idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..journal.read import ReadReport, read_events
from .delivered import DeliveryRecord
from .parcels import MAX_BATCH_BYTES, Parcel, Sender, batch_of, pack, send
from .projection import project
from .trace import RunTrace, Span

if TYPE_CHECKING:
    import os

    from ..model.events import PatternEvent

_ATTEMPTS: Final = 5
_FIRST_WAIT_SECONDS: Final = 0.5
_LONGEST_WAIT_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Selection:
    """Which runs to replay; None means any. `since` is nanoseconds since 1970: runs with an event at or after it."""

    run_id: str | None = None
    job_id: str | None = None
    since: int | None = None
    unsampled: bool = False


@dataclass
class ReplayReport:
    """What a replay did, in runs; `spans` counts spans.

    Attributes:
        sent: Runs of which something was acknowledged now (with `dry_run`: would be sent).
        delivered: Runs that had been acknowledged whole before.
        unfinished: Runs among `sent` and `delivered` that have not ended.
        unsampled: Runs left out because the sampler decided so.
        native: Runs left out because their program exported its own spans, or because they were imported from a trace.
        owed: Runs that could not be delivered.
        spans: Spans acknowledged now.
        messages: What the destination said about those not delivered.
        read: What the journal's reader met.
    """

    sent: int = 0
    delivered: int = 0
    unfinished: int = 0
    unsampled: int = 0
    native: int = 0
    owed: int = 0
    spans: int = 0
    messages: list[str] = field(default_factory=list[str])
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
        force: Also send what was acknowledged before, with the same bytes.
        dry_run: Only tell what would be sent.
        on_run: Called with each run and how many of its spans are to be sent.

    Raises:
        JournalError: The journal or the delivery record cannot be read.
    """
    report = ReplayReport()
    record = DeliveryRecord(journal_path, sink.destination)
    delivered = {} if force else record.load()
    waiting: list[Parcel] = []
    try:
        for trace in traces_of(journal_path, selection, report=report):
            spans = _missing(trace, delivered.get(trace.run_id, set()), selection, report)
            if not spans:
                continue
            if on_run is not None:
                on_run(trace, len(spans))
            if dry_run:
                report.sent += 1
                continue
            try:
                waiting.append(pack(trace, spans))
            except Exception as error:  # noqa: BLE001  # a damaged run must not withhold the others
                report.leave_out(1, f"run {trace.run_id} cannot be encoded: {type(error).__name__}: {error}")
            if sum(len(parcel.body) for parcel in waiting) > MAX_BATCH_BYTES:
                batch = batch_of(waiting, limit=MAX_BATCH_BYTES)
                _send(sink, record, batch, report)
                del waiting[: len(batch)]
        while waiting:
            batch = batch_of(waiting, limit=MAX_BATCH_BYTES)
            _send(sink, record, batch, report)
            del waiting[: len(batch)]
    finally:
        record.close()
    return report


def _missing(trace: RunTrace, delivered: set[str], selection: Selection, report: ReplayReport) -> list[Span]:
    if trace.native:
        report.native += 1
        return []
    if not trace.sampled and not selection.unsampled:
        report.unsampled += 1
        return []
    if trace.root is None:
        report.unfinished += 1
    missing = [span for span in trace.spans if span.span_id not in delivered]
    if not missing:
        report.delivered += 1
    return missing


def _send(sink: Sender, record: DeliveryRecord, batch: Sequence[Parcel], report: ReplayReport) -> None:
    wait = _FIRST_WAIT_SECONDS
    # After one batch could not be delivered, the others are only tried once.
    attempts = 1 if report.owed else _ATTEMPTS
    for attempt in range(attempts):
        again: list[Parcel] = []
        retry_after = 0.0
        for parcels, answer in send(sink, batch, lambda: None):
            if answer.kind == "acknowledged":
                record.add({parcel.run_id: parcel.span_ids for parcel in parcels})
                report.sent += len(parcels)
                report.spans += sum(len(parcel.span_ids) for parcel in parcels)
            elif answer.kind == "retry" and attempt + 1 < attempts:
                again += parcels
                retry_after = answer.retry_after_seconds or 0.0
            else:
                report.leave_out(len(parcels), answer.message)
        if not again:
            return
        time.sleep(min(max(wait, retry_after), _LONGEST_WAIT_SECONDS))
        wait *= 2
        batch = again

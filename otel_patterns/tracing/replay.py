"""Replay: project runs again from the journal and send what their destination has not acknowledged. Idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..journal.read import ReadReport, read_events
from .delivered import DeliveryRecord
from .delivery import MAX_BATCH_BYTES
from .otlp import encode
from .projection import project
from .sink import Sink
from .trace import RunTrace, Span

if TYPE_CHECKING:
    import os

    from ..model.events import PatternEvent

_RETRIES: Final = 4
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
        native: Runs left out because their program exported its own spans.
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


@dataclass(frozen=True)
class _Parcel:
    run_id: str
    span_ids: list[str]
    body: bytes


def traces_of(
    journal_path: str | os.PathLike[str], selection: Selection, *, report: ReadReport | None = None
) -> Iterator[RunTrace]:
    """Yield the trace of every selected run: ended ones in the order of their ends, then those still going on.

    Memory is bounded by the runs that are open at the same place of the journal.

    Raises:
        JournalError: The journal cannot be read.
    """
    prefixes: dict[str, list[PatternEvent]] = {}
    ended: set[str] = set()
    for event in read_events(journal_path, report=report):
        run_id = event.pattern_run_id
        if run_id in ended or (selection.run_id is not None and run_id != selection.run_id):
            continue
        prefix = prefixes.setdefault(run_id, [])
        prefix.append(event)
        if event.is_terminal:
            ended.add(run_id)
            del prefixes[run_id]
            if (trace := _selected(prefix, selection)) is not None:
                yield trace
    for prefix in prefixes.values():
        if (trace := _selected(prefix, selection)) is not None:
            yield trace


def _selected(prefix: list[PatternEvent], selection: Selection) -> RunTrace | None:
    if selection.job_id is not None and prefix[0].job_id != selection.job_id:
        return None
    if selection.since is not None and max(event.time_unix_nano for event in prefix) < selection.since:
        return None
    return project(prefix)


def replay(
    journal_path: str | os.PathLike[str],
    sink: Sink,
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
    batch: list[_Parcel] = []
    size = 0
    try:
        for trace in traces_of(journal_path, selection, report=report.read):
            spans = _missing(trace, delivered.get(trace.run_id, set()), selection, report)
            if not spans:
                continue
            if on_run is not None:
                on_run(trace, len(spans))
            if dry_run:
                report.sent += 1
                continue
            parcel = _Parcel(trace.run_id, [span.span_id for span in spans], encode(trace.resource, spans))
            if batch and size + len(parcel.body) > MAX_BATCH_BYTES:
                _send(sink, record, batch, report)
                batch, size = [], 0
            batch.append(parcel)
            size += len(parcel.body)
        if batch:
            _send(sink, record, batch, report)
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


def _send(sink: Sink, record: DeliveryRecord, batch: list[_Parcel], report: ReplayReport) -> None:
    body = b"".join(parcel.body for parcel in batch)
    wait = _FIRST_WAIT_SECONDS
    # After one batch could not be delivered, the others are only tried once.
    answer = sink.send(body)
    for _ in range(0 if report.owed else _RETRIES):
        if answer.kind != "retry":
            break
        time.sleep(min(max(wait, answer.retry_after_seconds or 0), _LONGEST_WAIT_SECONDS))
        wait *= 2
        answer = sink.send(body)
    if answer.kind == "acknowledged":
        record.add({parcel.run_id: parcel.span_ids for parcel in batch})
        report.sent += len(batch)
        report.spans += sum(len(parcel.span_ids) for parcel in batch)
        return
    report.owed += len(batch)
    if answer.message not in report.messages:
        report.messages.append(answer.message)

"""The fold: events to runs (design section 4). Pure, and the same for any order, duplication or split of the events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..errors import OtelPatternsError
from . import names
from .events import PatternEvent
from .outline import ABANDONED, error_of, order_key, outline_of, text_of
from .runs import PatternRun
from .stages import pair_stages
from .times import format_timestamp

_STAGE_METRICS: Final = {
    names.SELECTION: "selection_ms",
    names.TEMPLATE: "template_expansion_ms",
    names.VALIDATION: "validation_ms",
    names.EXECUTION: "execution_ms",
}


@dataclass(frozen=True)
class Anomaly:
    """Something odd in a run's events. The fold copes with it; `otel-patterns validate-pattern-event` lists it."""

    kind: str
    event_id: str
    message: str


def fold(events: Iterable[PatternEvent]) -> dict[str, PatternRun]:
    """Return the runs of any number of events by run id, ordered by their first event's time, then run id.

    Args:
        events: In any order; duplicates count once.
    """
    by_run: dict[str, list[PatternEvent]] = {}
    for event in events:
        by_run.setdefault(event.pattern_run_id, []).append(event)
    runs = [(in_order(run_events), run_id) for run_id, run_events in by_run.items()]
    runs.sort(key=lambda run: (run[0][0].time_unix_nano, run[1]))
    return {run_id: _fold_ordered(ordered) for ordered, run_id in runs}


def fold_run(events: Iterable[PatternEvent]) -> PatternRun:
    """Return the run of these events, which all belong to it.

    Args:
        events: In any order; duplicates count once.

    Raises:
        OtelPatternsError: There is no event.

    Examples:
        >>> event = PatternEvent.create("pattern.execution.started", "JOB-1", "PRUN-1", "PAT-1", "in_progress")
        >>> fold_run([event, event]).status
        'in_progress'
    """
    ordered = in_order(events)
    if not ordered:
        raise OtelPatternsError("a run needs at least one event")
    return _fold_ordered(ordered)


def in_order(events: Iterable[PatternEvent]) -> list[PatternEvent]:
    """Return distinct events by (time, lifecycle rank, event id); of two with one id the same one always stays."""
    distinct: dict[str, PatternEvent] = {}
    for event in events:
        kept = distinct.get(event.event_id)
        if kept is None:
            distinct[event.event_id] = event
        elif kept is not event:
            # Compared as lines, not as objects: to Python 1, 1.0 and True are equal.
            distinct[event.event_id] = min(kept, event, key=_tie_break)
    return sorted(distinct.values(), key=order_key)


def _tie_break(event: PatternEvent) -> tuple[int, int, bytes]:
    return event.time_unix_nano, event.rank, event.to_line()


def _fold_ordered(events: Sequence[PatternEvent]) -> PatternRun:
    terminal = ending(events)
    outline = outline_of(events, terminal)
    document: dict[str, Any] = {
        "pattern_run_id": outline.pattern_run_id,
        "pattern_id": outline.pattern_id,
        "job_id": outline.job_id,
        "operation_kind": outline.operation_kind,
        "status": outline.status,
        "started_at": format_timestamp(outline.started_unix_nano),
        "pattern_version": outline.pattern_version,
        "step_id": outline.step_id,
        "inputs": outline.inputs,
        "artifacts": outline.artifacts,
        "outputs": outline.outputs,
        "tool_metadata": _tool_metadata(events),
        "events": [event.event_id for event in events],
        "metrics": _metrics(events, terminal),
        "finished_at": None,
        "duration_seconds": outline.duration_seconds,
        "error": None,
    }
    if terminal is not None:
        document["finished_at"] = format_timestamp(terminal.time_unix_nano)
        document["error"] = error_of(terminal)
    # Every part was checked or converted above: building without a second validation keeps foreign logs foldable.
    return PatternRun.model_construct(**document)


def ending(events: Iterable[PatternEvent]) -> PatternEvent | None:
    """Return the event that ends a run: its last terminal one; a run's own end counts before `abandoned`."""
    terminals = [event for event in events if event.is_terminal]
    own = [event for event in terminals if event.details.get("error_type") != ABANDONED]
    return (own or terminals or [None])[-1]


def _tool_metadata(events: Iterable[PatternEvent]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for event in events:
        if event.event_type == names.EXECUTION_STARTED:
            for name in ("command", "executor", "tool_name", "tool_version"):
                if (text := text_of(event.details.get(name))) is not None:
                    metadata[name] = text
    return metadata


def _metrics(events: Sequence[PatternEvent], terminal: PatternEvent | None) -> dict[str, float]:
    nanoseconds: dict[str, int] = {}
    for stage in pair_stages(events):
        metric = _STAGE_METRICS[stage.name]
        spent = max(0, stage.closing.time_unix_nano - stage.opening.time_unix_nano)
        nanoseconds[metric] = nanoseconds.get(metric, 0) + spent
    if terminal is not None:
        nanoseconds["total_ms"] = max(0, terminal.time_unix_nano - events[0].time_unix_nano)
    return {metric: value / 1e6 for metric, value in nanoseconds.items()}


def find_anomalies(events: Iterable[PatternEvent]) -> list[Anomaly]:
    """Return what is odd in one run's events, in order: it never breaks the fold, but somebody should know."""
    given = sorted(events, key=_tie_break)
    ordered = in_order(given)
    found = list(_conflicts(given))
    started: PatternEvent | None = None
    ended: PatternEvent | None = None
    has_start = any(event.event_type == names.EXECUTION_STARTED for event in ordered)
    for event in ordered:
        if event.event_type not in names.LIFECYCLE_RANK:
            found.append(Anomaly("unknown_type", event.event_id, f"event type {event.event_type!r} is not known"))
        elif ended is not None:
            kind = "second_end" if event.is_terminal else "event_after_end"
            found.append(Anomaly(kind, event.event_id, f"{event.event_type} comes after {ended.event_type}"))
        elif event.event_type == names.EXECUTION_STARTED and started is not None:
            found.append(Anomaly("second_start", event.event_id, "execution was started before"))
        if event.event_type == names.EXECUTION_STARTED:
            started = started or event
        if event.event_type in (names.EXECUTION_COMPLETED, names.EXECUTION_FAILED):
            if not has_start:
                found.append(Anomaly("no_start", event.event_id, f"{event.event_type} without execution.started"))
            elif started is None:
                found.append(Anomaly("end_before_start", event.event_id, "the execution ends before it starts"))
        if event.is_terminal:
            ended = ended or event
    return found


def _conflicts(events: Sequence[PatternEvent]) -> Iterable[Anomaly]:
    seen: dict[str, PatternEvent] = {}
    jobs: set[str] = set()
    for event in events:
        kept = seen.setdefault(event.event_id, event)
        if kept.to_line() != event.to_line():
            yield Anomaly("conflicting_copy", event.event_id, "two different events have this id")
        if jobs and event.job_id not in jobs:
            yield Anomaly("other_job", event.event_id, f"the run belongs to {min(jobs)}, this says {event.job_id}")
        jobs.add(event.job_id)

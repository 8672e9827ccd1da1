"""The fold: events to runs (design section 4). Pure, and the same for any order, duplication or split of the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..errors import OtelPatternsError
from . import names
from .details import is_integer
from .encoding import encode_json
from .events import PatternEvent
from .record import Event
from .runs import PatternRun
from .stages import pair_stages
from .times import format_timestamp
from .values import as_list, as_object, to_json_value

ABANDONED: Final = "abandoned"
_STAGE_METRICS: Final = {
    names.SELECTION: "selection_ms",
    names.TEMPLATE: "template_expansion_ms",
    names.VALIDATION: "validation_ms",
    names.EXECUTION: "execution_ms",
}
_ENDS_EXECUTION: Final = frozenset({names.EXECUTION_COMPLETED, names.EXECUTION_FAILED})
# A completed event may say that the tool did its work with reservations; any other status means success.
_COMPLETED_STATUSES: Final = frozenset({names.WARNING, names.SKIPPED, names.FAILED})


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


def order_key(event: Event) -> tuple[int, int, str]:
    """Key that sorts events as the fold does; random ids of one millisecond alone would not keep the lifecycle."""
    return event.time_unix_nano, event.rank, event.event_id


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


class Outline(NamedTuple):
    """What a trace shows of a run: those parts of the `PatternRun`, under its names, and when it started."""

    pattern_run_id: str
    pattern_id: str
    job_id: str
    step_id: str | None
    operation_kind: str
    pattern_version: str | None
    status: str
    started_unix_nano: int
    duration_seconds: float | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    artifacts: list[str]


def outline_of(events: Sequence[Event], terminal: Event | None) -> Outline:
    """Return the outline of a run from its distinct events in the fold's order, of which `terminal` ends it.

    One pass over the events: the whole fold would be the larger part of a projection.
    """
    first = events[0]
    started = resolved = None
    step_id = operation_kind = pattern_version = None
    inputs: dict[str, Any] = {}
    artifacts: list[str] = []
    for event in events:
        event_type, details = event.event_type, event.details
        if step_id is None:
            step_id = event.step_id
        if operation_kind is None:
            operation_kind = _filled(details.get("operation_kind"))
        if pattern_version is None:
            pattern_version = _filled(details.get("template_version"))
        if event_type == names.SELECTION_RESOLVED:
            resolved = resolved or event
            inputs = as_object(details.get("inputs_preview")) or inputs
        elif event_type == names.TEMPLATE_EXPANDED:
            artifacts += _texts(details.get("generated_artifacts"))
        elif event_type == names.EXECUTION_STARTED:
            started = started or event
        elif event_type == names.EXECUTION_COMPLETED:
            artifacts = _texts(details.get("artifacts")) or artifacts
    start = (started or first).time_unix_nano
    return Outline(
        first.pattern_run_id,
        (resolved or first).pattern_id,
        first.job_id,
        step_id,
        operation_kind or _recorded(events, "operation_kind") or names.UNKNOWN_OPERATION,
        pattern_version or _recorded(events, "pattern_version"),
        _status(started, terminal),
        start,
        None if terminal is None else max(0, terminal.time_unix_nano - start) / 1e9,
        dict(inputs),
        {} if terminal is None else outputs_of(terminal.event_type, terminal.details),
        artifacts,
    )


def ending(events: Iterable[PatternEvent]) -> PatternEvent | None:
    """Return the event that ends a run: its last terminal one; a run's own end counts before `abandoned`."""
    terminals = [event for event in events if event.is_terminal]
    own = [event for event in terminals if event.details.get("error_type") != ABANDONED]
    return (own or terminals or [None])[-1]


def _status(started: Event | None, terminal: Event | None) -> str:
    if terminal is None:
        return names.PENDING if started is None else names.IN_PROGRESS
    return ended_status(terminal.event_type, terminal.status)


def ended_status(event_type: str, status: str) -> str:
    """Return the status of a run that an event of this type and status ended."""
    if event_type == names.EXECUTION_COMPLETED:
        return status if status in _COMPLETED_STATUSES else names.SUCCESS
    return names.FAILED


def _filled(value: object) -> str | None:
    """Return a detail that is a text and not empty."""
    return value if isinstance(value, str) and value else None


def _recorded(events: Iterable[Event], name: str) -> str | None:
    """Return the first text of this name that a writing process recorded."""
    return next((value for event in events if (value := _filled(event.otel.get(name))) is not None), None)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for item in as_list(value) or [] if (text := _text(item)) is not None]


def _text(value: object) -> str | None:
    """Return a detail as text: a foreign log may hold a number or an object where a string belongs."""
    if value is None or isinstance(value, str):
        return value
    converted = to_json_value(value)
    return converted if isinstance(converted, str) else encode_json(converted).decode("utf-8")


def outputs_of(event_type: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run gave that an event of this type, with these details, ended."""
    if event_type not in _ENDS_EXECUTION:
        return {}
    outputs: dict[str, Any] = {}
    for name in ("exit_code", "duration_seconds"):
        if name in details:
            outputs[name] = details[name]
    summary = details.get("result_summary")
    if (members := as_object(summary)) is not None:
        # What the event itself says goes before what its summary says, in place and in value.
        return {**outputs, **members, **outputs}
    if summary is not None:
        outputs["result_summary"] = summary
    return outputs


def _tool_metadata(events: Iterable[PatternEvent]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for event in events:
        if event.event_type == names.EXECUTION_STARTED:
            for name in ("command", "executor", "tool_name", "tool_version"):
                if (text := _text(event.details.get(name))) is not None:
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


def error_of(terminal: Event) -> dict[str, Any] | None:
    """Return `{type, message, exit_code, stdout, stderr}` of a failing event, as far as it tells them; else None."""
    details = terminal.details
    if terminal.event_type == names.EXECUTION_COMPLETED:
        if terminal.status != names.FAILED:
            return None
        fields = {"type": details.get("error_type", "tool_error"), "message": details.get("error_message")}
    elif terminal.event_type == names.SELECTION_FAILED:
        fields = {"type": "selection_failed", "message": details.get("error") or details.get("reason")}
    elif terminal.event_type == names.VALIDATION_FAILED:
        fields = {"type": "validation_failed", "message": _failed_checks(details.get("failed_checks"))}
    else:
        fields = {
            "type": details.get("error_type") or "execution_failed",
            "message": details.get("error_message"),
            "stdout": details.get("stdout_preview"),
            "stderr": details.get("stderr_preview"),
        }
    error: dict[str, Any] = {name: text for name, value in fields.items() if (text := _text(value)) is not None}
    code = details.get("exit_code")
    if is_integer(code):
        error["exit_code"] = int(code)
    return error


def _failed_checks(value: object) -> str | None:
    if (checks := as_list(value)) is None:
        return _text(value)
    lines = [
        _text(check)
        if (members := as_object(check)) is None
        else f"{_text(members.get('check'))}: {_text(members.get('error'))}"
        for check in checks
    ]
    return "; ".join(line for line in lines if line) or None


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

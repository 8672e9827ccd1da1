"""What a trace shows of a run, from its events. Made without the models for users, which take long to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from . import names
from .details import is_integer
from .encoding import encode_json
from .values import as_list, as_object, to_json_value

if TYPE_CHECKING:
    from .record import Event

ABANDONED: Final = "abandoned"
_SUMMARY: Final = "result_summary"
ENDS_EXECUTION: Final = frozenset({names.EXECUTION_COMPLETED, names.EXECUTION_FAILED})
# A completed event may say that the tool did its work with reservations; any other status means success.
_COMPLETED_STATUSES: Final = frozenset({names.WARNING, names.SKIPPED, names.FAILED})


def order_key(event: Event) -> tuple[int, int, str]:
    """Key that sorts events as the fold does; random ids of one millisecond alone would not keep the lifecycle."""
    return event.time_unix_nano, event.rank, event.event_id


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
            artifacts += texts_of(details.get("generated_artifacts"))
        elif event_type == names.EXECUTION_STARTED:
            started = started or event
        elif event_type == names.EXECUTION_COMPLETED:
            artifacts = texts_of(details.get("artifacts")) or artifacts
    start = (started or first).time_unix_nano
    return Outline(
        first.pattern_run_id,
        (resolved or first).pattern_id,
        first.job_id,
        step_id,
        operation_kind or recorded_text(events, "operation_kind") or names.UNKNOWN_OPERATION,
        pattern_version or recorded_text(events, "pattern_version"),
        _status(started, terminal),
        start,
        None if terminal is None else max(0, terminal.time_unix_nano - start) / 1e9,
        dict(inputs),
        {} if terminal is None else outputs_of(terminal.event_type, terminal.details),
        artifacts,
    )


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


def recorded_text(events: Iterable[Event], name: str) -> str | None:
    """Return the first text of this name that a writing process recorded."""
    return next((value for event in events if (value := _filled(event.otel.get(name))) is not None), None)


def texts_of(value: object) -> list[str]:
    """Return what stands where an array of texts belongs."""
    if isinstance(value, str):
        return [value]
    return [text for item in as_list(value) or [] if (text := text_of(item)) is not None]


def text_of(value: object) -> str | None:
    """Return a detail as text: a foreign log may hold a number or an object where a string belongs."""
    if value is None or isinstance(value, str):
        return value
    converted = to_json_value(value)
    return converted if isinstance(converted, str) else encode_json(converted).decode("utf-8")


def outputs_of(event_type: str, details: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run gave that an event of this type, with these details, ended."""
    told: dict[str, Any] = {}
    if event_type in ENDS_EXECUTION:
        for name in ("exit_code", "duration_seconds", _SUMMARY):
            if name in details:
                told[name] = details[name]
    return outputs_told(told)


def outputs_told(told: dict[str, Any]) -> dict[str, Any]:
    """Return as outputs those details of the end of an execution that are some."""
    summary = told.pop(_SUMMARY, None)
    if (members := as_object(summary)) is not None:
        # What the event itself says goes before what its summary says, in place and in value.
        return {**told, **members, **told}
    if summary is not None:
        told[_SUMMARY] = summary
    return told


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
    error: dict[str, Any] = {name: text for name, value in fields.items() if (text := text_of(value)) is not None}
    code = details.get("exit_code")
    if is_integer(code):
        error["exit_code"] = int(code)
    return error


def _failed_checks(value: object) -> str | None:
    if (checks := as_list(value)) is None:
        return text_of(value)
    lines = [
        text_of(check)
        if (members := as_object(check)) is None
        else f"{text_of(members.get('check'))}: {text_of(members.get('error'))}"
        for check in checks
    ]
    return "; ".join(line for line in lines if line) or None

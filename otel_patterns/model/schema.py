"""The two JSON Schemas (2020-12), made from the same tables as the checks. `schema/*.json` are their printed form."""

from __future__ import annotations

from typing import Any, Final

from . import ids, names
from .details import DETAILS, Detail
from .times import TIMESTAMP_PATTERN

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def _text_matching(pattern: str, description: str, *, nullable: bool = False) -> dict[str, Any]:
    # Some validators (Python's) let `$` match before a final newline; `not` closes that hole in every language.
    return {
        "type": ["string", "null"] if nullable else "string",
        "pattern": pattern,
        "not": {"type": "string", "pattern": "\\n"},
        "description": description,
    }


def _details_schema(details: tuple[Detail, ...]) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {detail.name: dict(detail.kind.schema) for detail in details},
    }
    if required := [detail.name for detail in details if detail.required]:
        schema["required"] = required
    return schema


def event_schema() -> dict[str, Any]:
    """Return the contract of a strict event; `$defs/envelope` alone is that of a lenient one."""
    envelope: dict[str, Any] = {
        "type": "object",
        "required": [key for key in names.EVENT_KEYS if key != "step_id"],
        "properties": {
            "event_id": _text_matching(ids.EVENT_ID_PATTERN, "EVT- and a ULID, or an id of the writer's own"),
            "event_type": {"enum": list(names.EVENT_TYPES), "description": "What happened"},
            "timestamp": _text_matching(TIMESTAMP_PATTERN, "RFC 3339 in UTC, written with microseconds and Z"),
            "job_id": _text_matching(ids.JOB_ID_PATTERN, "The job this run is a step of"),
            "pattern_run_id": _text_matching(ids.RUN_ID_PATTERN, "The run; PRUN-<ULID> is its trace id as well"),
            "pattern_id": _text_matching(ids.PATTERN_ID_PATTERN, "The pattern that runs, like PAT-SEMGREP-001"),
            "status": {"enum": list(names.EVENT_STATUSES), "description": "Status at the time of the event"},
            "details": {"type": "object", "description": "What belongs to the event type; see $defs"},
            "step_id": _text_matching(ids.STEP_ID_PATTERN, "The step of the job, or null", nullable=True),
        },
    }
    defs: dict[str, Any] = {"envelope": envelope}
    choices: list[dict[str, Any]] = []
    for event_type, details in DETAILS.items():
        name = event_type.removeprefix("pattern.").replace(".", "_") + "_details"
        defs[name] = _details_schema(details)
        choices.append(
            {
                "if": {"properties": {"event_type": {"const": event_type}}, "required": ["event_type"]},
                "then": {"properties": {"details": {"$ref": f"#/$defs/{name}"}}},
            }
        )
    return {
        "$schema": _DIALECT,
        "$id": "pattern_event.v1.json",
        "title": "Pattern event",
        "description": "One lifecycle event of a pattern run: one line of the journal.",
        "$ref": "#/$defs/envelope",
        "allOf": choices,
        "$defs": defs,
    }


def run_schema() -> dict[str, Any]:
    """Return the contract of a folded run."""
    timestamp = _text_matching(TIMESTAMP_PATTERN, "RFC 3339 in UTC")
    numbers = {name: {"type": "number"} for name in names.RUN_METRICS}
    return {
        "$schema": _DIALECT,
        "$id": "pattern_run.v1.json",
        "title": "Pattern run",
        "description": "All events with one pattern_run_id, folded.",
        "type": "object",
        "required": ["pattern_run_id", "pattern_id", "job_id", "operation_kind", "status", "started_at"],
        "properties": {
            "pattern_run_id": _text_matching(ids.RUN_ID_PATTERN, "The run; PRUN-<ULID> is its trace id as well"),
            "pattern_id": _text_matching(ids.PATTERN_ID_PATTERN, "The pattern that ran"),
            "pattern_version": {"type": "string", "description": "Version of the pattern or template"},
            "job_id": _text_matching(ids.JOB_ID_PATTERN, "The job this run is a step of"),
            "step_id": _text_matching(ids.STEP_ID_PATTERN, "The step of the job, or null", nullable=True),
            "operation_kind": {"type": "string", "description": "Kind of operation, like semgrep_scan"},
            "status": {"enum": list(names.RUN_STATUSES), "description": "Overall status"},
            "started_at": {**timestamp, "description": "execution.started, or the first event before that"},
            "finished_at": {
                **timestamp,
                "type": ["string", "null"],
                "description": "The terminal event; null while the run is going on",
            },
            "duration_seconds": {
                "type": ["number", "null"],
                "description": "finished_at - started_at in seconds; null while the run is going on",
            },
            "inputs": {"type": "object", "description": "inputs_preview of the selection"},
            "outputs": {"type": "object", "description": "exit_code, duration_seconds and the result summary"},
            "artifacts": {"type": "array", "items": {"type": "string"}, "description": "Paths of files made"},
            "events": {
                "type": "array",
                "items": _text_matching(ids.EVENT_ID_PATTERN, "An event of the run"),
                "description": "Ids of the run's events, in order",
            },
            "metrics": {"type": "object", "properties": numbers, "description": "Milliseconds spent in each stage"},
            "tool_metadata": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in names.TOOL_METADATA},
                "description": "The tool that was run",
            },
            "error": {
                "type": ["object", "null"],
                "properties": {
                    **{name: {"type": "string"} for name in names.ERROR_TEXTS},
                    "exit_code": {"type": "integer"},
                },
                "description": "Why the run failed; null when it did not",
            },
        },
    }

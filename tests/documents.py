"""Event and run documents as a log holds them, for tests to change one thing at a time."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import START_UNIX_NANO

SEED = Path(__file__).parent / "data" / "seed"
SCHEMA = Path(__file__).parent.parent / "schema"

EVENT_ID = "EVT-01KANBQ8M00000000000000001"
RUN_ID = "PRUN-01KANBQ8M00000000000000002"
JOB_ID = "JOB-01KANBQ8M00000000000000003"
STEP_ID = "STEP-01KANBQ8M00000000000000004"
PATTERN_ID = "PAT-SEMGREP-001"

# Every known detail of every event type, with a value of its kind.
DETAILS: Mapping[str, dict[str, Any]] = {
    names.SELECTION_STARTED: {
        "operation_kind": "semgrep_scan",
        "candidate_patterns": ["PAT-SEMGREP-001", "PAT-SEMGREP-002"],
        "context": {"language": "python"},
    },
    names.SELECTION_RESOLVED: {
        "pattern_id": PATTERN_ID,
        "selection_method": "auto",
        "inputs_preview": {"target": "src/"},
        "operation_kind": "semgrep_scan",
    },
    names.SELECTION_FAILED: {
        "reason": "no pattern fits",
        "attempted_patterns": ["PAT-SEMGREP-001"],
        "operation_kind": "semgrep_scan",
        "error": "none of 1 fits",
    },
    names.TEMPLATE_EXPANDED: {
        "variables_resolved": 3,
        "generated_artifacts": ["semgrep.yml"],
        "template_version": "1.2.0",
        "command_preview": "semgrep scan src/",
    },
    names.VALIDATION_STARTED: {"validation_type": "preflight", "checks": ["tool_exists", "target_exists"]},
    names.VALIDATION_COMPLETED: {
        "checks_passed": 2,
        "checks_failed": 0,
        "validation_type": "preflight",
        "warnings": ["target is large"],
    },
    names.VALIDATION_FAILED: {
        "failed_checks": [{"check": "tool_exists", "error": "semgrep is not on PATH"}],
        "validation_type": "preflight",
        "checks_passed": 1,
        "checks_failed": 1,
    },
    names.EXECUTION_STARTED: {
        "executor": "subprocess",
        "command": "semgrep scan src/",
        "working_dir": "/work",
        "timeout_seconds": 600,
        "tool_name": "semgrep",
        "tool_version": "1.100.0",
    },
    names.EXECUTION_COMPLETED: {
        "exit_code": 0,
        "duration_seconds": 1.5,
        "result_summary": {"finding_count": 12},
        "artifacts": ["report.json"],
        "stdout_lines": 4,
        "stderr_lines": 0,
    },
    names.EXECUTION_FAILED: {
        "exit_code": 2,
        "error_type": "tool_error",
        "error_message": "bad rule",
        "duration_seconds": 0.5,
        "stdout_preview": "",
        "stderr_preview": "bad rule",
    },
}


def event_document(event_type: str = names.EXECUTION_COMPLETED, **changes: Any) -> dict[str, Any]:
    """Return a document that even the strict check accepts, with these keys changed or added."""
    document: dict[str, Any] = {
        "event_id": EVENT_ID,
        "event_type": event_type,
        "timestamp": "2026-11-22T09:30:00.000000Z",
        "job_id": JOB_ID,
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "status": "in_progress",
        "details": json.loads(json.dumps(DETAILS.get(event_type, {}))),
        "step_id": None,
    }
    return {**document, **changes}


def run_document(**changes: Any) -> dict[str, Any]:
    """Return a valid run document with every key, with these keys changed or added."""
    document: dict[str, Any] = {
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "job_id": JOB_ID,
        "operation_kind": "semgrep_scan",
        "status": "failed",
        "started_at": "2026-11-22T09:30:00.000000Z",
        "pattern_version": "1.2.0",
        "step_id": STEP_ID,
        "finished_at": "2026-11-22T09:30:01.500000Z",
        "duration_seconds": 1.5,
        "inputs": {"target": "src/"},
        "outputs": {"exit_code": 2},
        "artifacts": ["report.json"],
        "events": [EVENT_ID],
        "metrics": {"execution_ms": 1500.0, "total_ms": 1500},
        "tool_metadata": {"tool_name": "semgrep", "command": "semgrep scan src/"},
        "error": {"type": "tool_error", "message": "bad rule", "exit_code": 2, "stdout": "", "stderr": "bad rule"},
    }
    return {**document, **changes}


def make_event(event_type: str, at_seconds: float = 0.0, *, number: int = 0, **changes: Any) -> PatternEvent:
    """Return an event `at_seconds` after the fake clock's start; `number` makes its id, unless one is given.

    Its details are empty unless given, and any event type is accepted, as from a log.
    """
    document = event_document(event_type, details={})
    document["event_id"] = f"EVT-{number:026d}"
    document["timestamp"] = format_timestamp(START_UNIX_NANO + round(at_seconds * 1e9))
    return PatternEvent.from_document({**document, **changes})


def make_events(*steps: tuple[Any, ...]) -> list[PatternEvent]:
    """Return events with ids in the order given, each from `(event_type, at_seconds)` or with details as a third."""
    return [
        make_event(step[0], step[1], number=number, details=step[2] if len(step) > 2 else {})
        for number, step in enumerate(steps, start=1)
    ]


def guide_table() -> dict[str, tuple[str, ...]]:
    """Return event type → required details, as the table "Event Types Reference" of the integration guide has them."""
    guide = (SEED / "PATTERN_EVENT_INTEGRATION.md").read_text(encoding="utf-8")
    section = guide.partition("## Event Types Reference\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(pattern\.[a-z.]+)` \| [^|]* \| ([^|]*) \|$", section, re.MULTILINE)
    return {event_type: tuple(re.findall(r"`(\w+)`", required)) for event_type, required in rows}

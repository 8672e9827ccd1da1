"""Emit one event, against a writer without validation and without a lock."""

from __future__ import annotations

import json
import os
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from otel_patterns import configure, emit_pattern_event, shutdown

from .rounds import interleave

EVENTS_A_ROUND: Final = 300
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_EVENT: Final[dict[str, Any]] = {
    "event_type": "pattern.execution.started",
    "job_id": "JOB-01M82ABGTGPVQ866JRR23TA2YZ",
    "pattern_run_id": "PRUN-01M82ABGTGPVQ866JRR23TA2YA",
    "pattern_id": "PAT-SEMGREP-001",
    "status": "in_progress",
    "details": {
        "executor": "subprocess",
        "command": "semgrep scan --config p/ci --json src",
        "working_dir": "/srv/engine",
        "timeout_seconds": 300,
        "tool_name": "semgrep",
        "tool_version": "1.100.0",
    },
    "step_id": "STEP-001",
}


def _new_ulid() -> str:
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def write_naively(folder: str) -> None:
    """Append an event to the journal and to its job's log as a program without this package would."""
    event = {
        "event_id": f"EVT-{_new_ulid()}",
        "timestamp": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
        **_EVENT,
    }
    line = json.dumps(event) + "\n"
    events = Path(folder) / "events"
    job = events / "jobs" / _EVENT["job_id"]
    for directory in (events, job):
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "pattern_events.jsonl").open("a") as file:
            file.write(line)


def rounds(n: int) -> list[float]:
    """Return the ratio of each of n rounds."""
    with tempfile.TemporaryDirectory() as folder:
        configure(journal=f"{folder}/ours/events/pattern_events.jsonl", export="off", durability="os")

        def ours() -> None:
            for _ in range(EVENTS_A_ROUND):
                emit_pattern_event(**_EVENT)

        def naive() -> None:
            for _ in range(EVENTS_A_ROUND):
                write_naively(f"{folder}/naive")

        try:
            return interleave(ours, naive, n)
        finally:
            shutdown()

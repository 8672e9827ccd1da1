"""Fold a journal of 50,000 events, against json.loads of each line and a fold of dicts."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from otel_patterns.journal.runs import read_runs

from .journals import write_journal
from .rounds import interleave


def fold_naively(path: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of a journal as one would write it in a minute: in order, without copies, without checks."""
    runs: dict[str, dict[str, Any]] = {}
    with path.open() as file:
        for line in file:
            event = json.loads(line)
            details = event["details"]
            run = runs.get(event["pattern_run_id"])
            if run is None:
                run = runs[event["pattern_run_id"]] = {
                    "pattern_run_id": event["pattern_run_id"],
                    "job_id": event["job_id"],
                    "pattern_id": event["pattern_id"],
                    "operation_kind": "unknown",
                    "status": "pending",
                    "started_at": event["timestamp"],
                    "finished_at": None,
                    "outputs": {},
                    "events": [],
                }
            run["events"].append(event["event_id"])
            if "operation_kind" in details:
                run["operation_kind"] = details["operation_kind"]
            match event["event_type"]:
                case "pattern.execution.started":
                    run["status"], run["started_at"] = "in_progress", event["timestamp"]
                case "pattern.execution.completed":
                    run["status"], run["finished_at"] = "success", event["timestamp"]
                    run["outputs"] = {"exit_code": details["exit_code"], **details.get("result_summary", {})}
                case "pattern.execution.failed" | "pattern.validation.failed" | "pattern.selection.failed":
                    run["status"], run["finished_at"] = "failed", event["timestamp"]
                case _:
                    pass
    return runs


def rounds(n: int, *, events: int = 50_000) -> list[float]:
    """Return the ratio of each of n rounds; both sides are asked for the same of each run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write_journal(path, events)

        def ours() -> None:
            for run in read_runs(path).values():
                assert run.operation_kind
                assert run.status
                assert run.started_at
                assert run.outputs or not run.finished_at
                assert run.events

        def naive() -> None:
            for run in fold_naively(path).values():
                assert run["operation_kind"]
                assert run["status"]
                assert run["started_at"]
                assert run["outputs"] or not run["finished_at"]
                assert run["events"]

        assert {run_id: run.status for run_id, run in read_runs(path).items()} == {
            run_id: run["status"] for run_id, run in fold_naively(path).items()
        }
        return interleave(ours, naive, n)

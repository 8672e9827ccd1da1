"""Calling the command line inside the process, and journals to call it on."""

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_patterns.cli import main
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import START_UNIX_NANO, FakeClock

RUN_ID = "PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7V"
JOB_ID = "JOB-NIGHTLY-12"
PATTERN_ID = "PAT-SEMGREP-001"
OPERATION = "semgrep_scan"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def call(*argv: str, seconds_later: float = 3600, is_terminal: bool = False, encoding: str = "utf-8") -> Result:
    """Run one command at a time after that of the journals, and return what it left behind."""
    kind = _Terminal if is_terminal else io.TextIOWrapper
    out, err = io.BytesIO(), io.StringIO()
    clock = FakeClock(START_UNIX_NANO + round(seconds_later * 1e9))
    stdout = kind(out, encoding=encoding, newline="\n")
    with redirect_stdout(stdout), redirect_stderr(err):
        code = main(argv, clock=clock)
    stdout.flush()
    return Result(code, out.getvalue().decode(encoding), err.getvalue())


def event(
    event_type: str,
    seconds: float = 0,
    *,
    run_id: str = RUN_ID,
    status: str = "in_progress",
    details: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return an event document; its id follows from run, type and time."""
    return {
        "event_id": f"EVT-{run_id[5:]}-{event_type[-20:]}-{round(seconds * 1000)}".replace(" ", "_"),
        "event_type": f"pattern.{event_type}",
        "timestamp": format_timestamp(START_UNIX_NANO + round(seconds * 1e9)),
        "job_id": JOB_ID,
        "pattern_run_id": run_id,
        "pattern_id": PATTERN_ID,
        "status": status,
        "details": details or {},
        "step_id": None,
        **more,
    }


def whole_run(run_id: str = RUN_ID, start: float = 0, **more: Any) -> list[dict[str, Any]]:
    """Return the events of a run that took four seconds: selection, template, validation, execution."""
    return [
        event(
            "selection.started",
            start,
            run_id=run_id,
            details={"operation_kind": OPERATION, "candidate_patterns": [PATTERN_ID, "PAT-BANDIT-002"]},
            **more,
        ),
        event(
            "selection.resolved",
            start + 0.5,
            run_id=run_id,
            details={"pattern_id": PATTERN_ID, "selection_method": "auto", "inputs_preview": {"path": "src/"}},
            **more,
        ),
        event(
            "template.expanded",
            start + 1,
            run_id=run_id,
            details={"template_version": "1.2.0", "variables_resolved": 4, "generated_artifacts": ["out/rules.yml"]},
            **more,
        ),
        event(
            "validation.started", start + 1, run_id=run_id, details={"validation_type": "pre", "checks": ["a"]}, **more
        ),
        event(
            "validation.completed",
            start + 2,
            run_id=run_id,
            details={"validation_type": "pre", "checks_passed": 1, "checks_failed": 0},
            **more,
        ),
        event(
            "execution.started",
            start + 2,
            run_id=run_id,
            details={"executor": "subprocess", "command": "semgrep --json src/"},
            **more,
        ),
        event(
            "execution.completed",
            start + 4,
            run_id=run_id,
            status="success",
            details={
                "exit_code": 0,
                "duration_seconds": 2.0,
                "result_summary": {"findings": 3},
                "artifacts": ["out/findings.sarif"],
            },
            **more,
        ),
    ]


def write_journal(path: Path, documents: Sequence[object]) -> str:
    """Write documents as a journal and return its path; bytes are written as a line of their own."""
    lines = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in documents]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)

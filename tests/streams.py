"""Streams of events as an engine would emit them, with fixed ids and times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.testing import FakeClock

RUN_ID = "PRUN-01M82ABGTGPVQ866JRR23TA2YY"
JOB_ID = "JOB-01M82ABGTGPVQ866JRR23TA2YZ"
PATTERN_ID = "PAT-SEMGREP-001"
# The ULID of RUN_ID, in hex.
TRACE_ID = "01a204a5c350b6ee831a58c087a50bde"


class Stream:
    """Makes events of one run, a second apart unless told otherwise."""

    def __init__(self, run_id: str = RUN_ID, *, job_id: str = JOB_ID, clock: FakeClock | None = None) -> None:
        self.run_id = run_id
        self.job_id = job_id
        self.clock = clock or FakeClock()

    def event(
        self,
        event_type: str,
        details: Mapping[str, Any] | None = None,
        *,
        status: str = names.IN_PROGRESS,
        seconds: float = 1.0,
        pattern_id: str = PATTERN_ID,
        step_id: str | None = None,
    ) -> PatternEvent:
        """Return the next event, `seconds` after the one before."""
        self.clock.advance(seconds)
        return PatternEvent.create(
            event_type, self.job_id, self.run_id, pattern_id, status, details or {}, step_id, clock=self.clock
        )


def recorded(**changes: Any) -> dict[str, Any]:
    """Return a `details.otel` as a process records it with its first event of a run."""
    return {
        "v": 1,
        "sampled": True,
        "resource": {"service.name": "engine", "service.instance.id": "i-1"},
        "writer": {"host": "h", "boot": "b", "pid": 7, "start": 1},
        **changes,
    }


def semgrep_run(stream: Stream | None = None, **otel: Any) -> list[PatternEvent]:
    """Return the events of a run with all four stages that succeeds."""
    stream = stream or Stream()
    return [
        stream.event(
            names.SELECTION_STARTED,
            {"operation_kind": "semgrep_scan", "candidate_patterns": [PATTERN_ID], names.OTEL: recorded(**otel)},
        ),
        stream.event(
            names.SELECTION_RESOLVED,
            {
                "operation_kind": "semgrep_scan",
                "pattern_id": PATTERN_ID,
                "selection_method": "auto",
                "inputs_preview": {"target": "src", "options": {"jobs": 2, "deep": True}, "rules": ["a", "b"]},
            },
        ),
        stream.event(
            names.TEMPLATE_EXPANDED,
            {"template_version": "1.2.0", "variables_resolved": 3, "generated_artifacts": ["state/scan.sh"]},
        ),
        stream.event(names.VALIDATION_STARTED, {"validation_type": "preflight", "checks": ["target"]}),
        stream.event(
            names.VALIDATION_COMPLETED, {"validation_type": "preflight", "checks_passed": 1, "checks_failed": 0}
        ),
        stream.event(
            names.EXECUTION_STARTED,
            {"executor": "subprocess", "command": "TOKEN=x /usr/bin/semgrep scan src", "pid": 4242},
        ),
        stream.event(
            names.EXECUTION_COMPLETED,
            {
                "exit_code": 0,
                "duration_seconds": 1.0,
                "result_summary": {"finding_count": 12, "severity_breakdown": {"high": 2}},
                "artifacts": ["state/report.json"],
            },
            status=names.SUCCESS,
        ),
    ]


def failed_run(
    stream: Stream | None = None, *, event_type: str = names.EXECUTION_FAILED, **details: Any
) -> list[PatternEvent]:
    """Return the events of a run that fails at its end."""
    stream = stream or Stream()
    return [
        stream.event(
            names.EXECUTION_STARTED, {"executor": "subprocess", "command": "pytest -q", names.OTEL: recorded()}
        ),
        stream.event(event_type, details, status=names.FAILED),
    ]


def golden_runs() -> list[PatternEvent]:
    """Return the events of an ended run with a link, a failed one, one still going on, a child and a foreign one."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    second, third, fourth, foreign = (Stream(f"PRUN-{letter * 26}") for letter in "1234")
    events = semgrep_run(traceparent=caller, tracestate="a=b", join="link")
    events += failed_run(second, exit_code=1, error_type="tool_error", error_message="no", otel={"span": {}})
    events += semgrep_run(third)[:5]
    events += semgrep_run(fourth, traceparent=caller, join="child", remote=True)
    events += [foreign.event(names.EXECUTION_COMPLETED, {"exit_code": 0}, status="warning")]
    return events

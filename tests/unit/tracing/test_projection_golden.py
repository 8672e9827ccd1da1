"""Odd runs project to the same bytes after every change: doubles of what backends hold cannot be taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project
from tests.streams import PATTERN_ID, Stream, failed_run, recorded, semgrep_run

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "projection.sha256"
_CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_EXCEPTION = {
    "name": "exception",
    "time_unix_nano": 5,
    "attributes": {"exception.type": "ValueError", "flags": [True, False], "": 1, "none": None, "big": 2**70},
}
_ODD_DETAILS: dict[str, Any] = {
    "text": "é" * 999,
    "cut": "é" * 1001,
    "ascii": "x" * 2001,
    "": 1,
    "schlüssel": -1,
    "zero": 0,
    "no": False,
    "half": -0.5,
    "huge": 2**64,
    "null": None,
    "list": [1, 2],
    "object": {"a": {"b": {"c": {"d": 1}}}, "e": "f"},
    "eleventh": 1,
    "twelfth": 1,
}


def _foreign(*documents: dict[str, Any]) -> list[PatternEvent]:
    """Return events as a foreign log may hold them: they are read, not created."""
    base = Stream("PRUN-ODD-1", job_id="JOB-ODD").event(names.EXECUTION_STARTED, {}).to_dict()
    return [
        PatternEvent.from_document({**base, "event_id": f"EVT-{number}", **document})
        for number, document in enumerate(documents)
    ]


def _ties() -> list[PatternEvent]:
    """Return events of one instant whose ids are in another order than the journal."""
    end = {"event_type": names.EXECUTION_COMPLETED, "status": "success", "details": {"artifacts": "a"}}
    return _foreign(
        {"event_id": "EVT-9", "event_type": names.SELECTION_RESOLVED, "pattern_id": "PAT-LATE", "step_id": "STEP-1"},
        {"event_id": "EVT-1", "event_type": names.SELECTION_RESOLVED, "details": {"inputs_preview": {"k": "v"}}},
        {"event_id": "EVT-5", "event_type": names.TEMPLATE_EXPANDED, "details": {"generated_artifacts": ["g", 7]}},
        {**end, "job_id": "JOB-OTHER"},
    )


RUNS: dict[str, Callable[[], list[PatternEvent]]] = {
    "whole": semgrep_run,
    "going-on": lambda: semgrep_run()[:4],
    "child": lambda: semgrep_run(traceparent=_CALLER, tracestate="a=b", join="child", remote=True),
    "link": lambda: semgrep_run(traceparent=_CALLER, join="link", resource={"service.name": "é", "list": [1.5]}),
    "tool-error": lambda: failed_run(exit_code=3, error_type="tool_error", error_message="é" * 1001),
    "time-out": lambda: failed_run(error_type="TimeoutExpired", exit_code=None),
    "killed": lambda: failed_run(error_type="tool_error", exit_code=-9.0, otel=recorded(v=2)),
    "checks": lambda: failed_run(
        event_type=names.VALIDATION_FAILED, failed_checks=[{"check": "c", "error": "e"}, "words", None]
    ),
    "none-selected": lambda: [Stream().event(names.SELECTION_FAILED, {"reason": "none"}, status="failed")],
    "user-span": lambda: failed_run(
        error_type="ValueError",
        otel={"span": {"stage": {"events": [_EXCEPTION]}, "run": {"attributes": _EXCEPTION, "events": [_EXCEPTION]}}},
    ),
    "odd-details": lambda: [
        Stream("PRUN-ODD-2").event(names.EXECUTION_COMPLETED, {**_ODD_DETAILS, "result_summary": _ODD_DETAILS})
    ],
    "many-outputs": lambda: [
        Stream().event(names.EXECUTION_COMPLETED, {"result_summary": {f"k{number}": number for number in range(80)}})
    ],
    "quoted-command": lambda: [
        Stream().event(
            names.EXECUTION_STARTED, {"executor": "subprocess", "command": "A=1 '/opt/my tool' -x", "pid": 1}
        ),
        Stream().event(names.EXECUTION_COMPLETED, {"exit_code": 1}, status="failed", seconds=-5),
    ],
    "ties": _ties,
    "unknown-types": lambda: _foreign(
        {"event_type": "pattern.selection.cancelled", "pattern_id": "PAT-" + "A" * 3000},
        {"event_type": "", "timestamp": "2026-11-22T09:30:00Z"},
        {"event_type": "deploy.\ud800." + "é" * 1500, "timestamp": "2026-11-22T09:30:00.123456789+00:00"},
        {"event_type": names.TEMPLATE_EXPANDED},
        {
            "event_type": names.EXECUTION_FAILED,
            "details": {"error_message": "\ud800", "\udfff": "\udfff", "exit_code": 127},
        },
    ),
    "other-pattern": lambda: [
        Stream().event(names.SELECTION_STARTED, {"operation_kind": "é" * 1500}, pattern_id="PAT-UNKNOWN"),
        Stream().event(names.EXECUTION_COMPLETED, status="skipped", pattern_id=PATTERN_ID, step_id="STEP-1", seconds=2),
    ],
}
_EXPECTED = dict(line.split("  ")[::-1] for line in GOLDEN.read_text().splitlines())


@pytest.mark.parametrize("name", RUNS)
def test_projection_of_an_odd_run_gives_the_golden_bytes(name: str) -> None:
    """Values, texts, ties and damage of the field: none of their bytes may change."""
    trace = project(RUNS[name]())
    assert trace is not None
    assert hashlib.sha256(encode(trace.resource, trace.spans)).hexdigest() == _EXPECTED[name]


def test_golden_file_names_exactly_the_odd_runs() -> None:
    """A run that is left out of the list would be checked no more."""
    assert list(_EXPECTED) == list(RUNS)

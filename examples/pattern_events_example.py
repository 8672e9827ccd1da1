"""Emit the events of two sample runs, made up from beginning to end, into `state/events/pattern_events.jsonl`."""

from typing import Any

from otel_patterns import PatternRun, emit_pattern_event

REPORT = "state/reports/semgrep/JOB-SAMPLE/semgrep_report.json"
FIRST: list[tuple[str, str, dict[str, Any]]] = [
    (
        "pattern.selection.started",
        "in_progress",
        {"operation_kind": "semgrep_scan", "candidate_patterns": ["PAT-SEMGREP-001", "PAT-SEMGREP-002"]},
    ),
    (
        "pattern.selection.resolved",
        "in_progress",
        {
            "operation_kind": "semgrep_scan",
            "pattern_id": "PAT-SEMGREP-001",
            "selection_method": "auto",
            "inputs_preview": {"target": "src", "language": "python"},
        },
    ),
    (
        "pattern.template.expanded",
        "in_progress",
        {"template_version": "2.0.1", "variables_resolved": 2, "generated_artifacts": []},
    ),
    (
        "pattern.validation.started",
        "in_progress",
        {"validation_type": "pre_execution", "checks": ["target_exists", "rules_exist"]},
    ),
]
GOOD: list[tuple[str, str, dict[str, Any]]] = [
    (
        "pattern.validation.completed",
        "in_progress",
        {"validation_type": "pre_execution", "checks_passed": 2, "checks_failed": 0},
    ),
    (
        "pattern.execution.started",
        "in_progress",
        {"executor": "subprocess", "command": f"semgrep scan --json --output {REPORT} src", "tool_name": "semgrep"},
    ),
    (
        "pattern.execution.completed",
        "warning",
        {
            "exit_code": 0,
            "duration_seconds": 4.2,
            "result_summary": {
                "finding_count": 12,
                "files_scanned": 47,
                "severity_breakdown": {"high": 2, "medium": 10},
            },
            "artifacts": [REPORT],
        },
    ),
]
BAD: list[tuple[str, str, dict[str, Any]]] = [
    (
        "pattern.validation.failed",
        "failed",
        {
            "validation_type": "pre_execution",
            "checks_passed": 1,
            "checks_failed": 1,
            "failed_checks": [{"check": "rules_exist", "error": "rules/python.yaml: no such file"}],
        },
    ),
]

for step_id, events in (("STEP-001", FIRST + GOOD), ("STEP-002", FIRST + BAD)):
    run = PatternRun.create("PAT-SEMGREP-001", "JOB-SAMPLE", "semgrep_scan", step_id=step_id)
    for event_type, status, details in events:
        emit_pattern_event(
            event_type=event_type,
            job_id=run.job_id,
            pattern_run_id=run.pattern_run_id,
            pattern_id=run.pattern_id,
            status=status,
            details=details,
            step_id=step_id,
        )
    print(run.pattern_run_id)

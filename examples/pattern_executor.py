"""An engine's `execute_pattern` with the calls of the integration guide, on real tools.

Run it: `python examples/pattern_executor.py`. It makes four runs: one that succeeds (pytest), one that finds something
(semgrep), one whose command is missing and one that fails validation; with `--slow 30` a fifth that can be watched.
`quickstart.py` shows `pattern_run`, which emits the same events by itself.
"""

import argparse
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from patterns import CHECKS, COMMAND_NOT_FOUND, PATTERNS, PROJECT, ToolResult, failed_checks, find_semgrep, run_tool

from otel_patterns import (
    ConfigurationError,
    PatternEventEmitter,
    PatternRun,
    PatternRunAggregator,
    configure,
    emit_pattern_event,
)

TIMEOUT_SECONDS = 600
PREVIEW_CHARACTERS = 2000
PROBE_SECONDS = 0.5


def execute_pattern(
    pattern_id: str, job_id: str, step_id: str, inputs: Mapping[str, Any], *, reports: Path
) -> ToolResult | None:
    """Run a pattern and emit the events of its life. Return what its tool did, or None when a check failed.

    Raises:
        LookupError: There is no such pattern.
        OSError: The tool cannot be started.
        TimeoutExpired: The tool took too long.
    """
    operation_kind = inputs.get("operation_kind", "unknown")
    pattern_run = PatternRun.create(
        pattern_id=pattern_id, job_id=job_id, operation_kind=operation_kind, step_id=step_id
    )
    print(f"{pattern_run.pattern_run_id} {pattern_id} {step_id}", file=sys.stderr, flush=True)

    def emit(event_type: str, status: str, details: dict[str, Any]) -> None:
        emit_pattern_event(
            event_type=event_type,
            job_id=job_id,
            pattern_run_id=pattern_run.pattern_run_id,
            pattern_id=pattern_id,
            status=status,
            details=details,
            step_id=step_id,
        )

    # Select the pattern.
    candidates = [known.pattern_id for known in PATTERNS.values() if known.operation_kind == operation_kind]
    emit(
        "pattern.selection.started",
        "in_progress",
        {"operation_kind": operation_kind, "candidate_patterns": candidates, "context": {"step_id": step_id}},
    )
    if pattern_id not in candidates:
        reason = f"{pattern_id} is no pattern for {operation_kind}"
        emit(
            "pattern.selection.failed",
            "failed",
            {"operation_kind": operation_kind, "reason": reason, "attempted_patterns": candidates},
        )
        raise LookupError(reason)
    pattern = PATTERNS[pattern_id]
    emit(
        "pattern.selection.resolved",
        "in_progress",
        {
            "operation_kind": operation_kind,
            "pattern_id": pattern_id,
            "selection_method": "explicit",
            "inputs_preview": dict(inputs),
        },
    )

    # Expand its template.
    folder = reports / pattern.tool_name / job_id / step_id
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / pattern.report if pattern.report else None
    template_vars = {**inputs, "report": report}
    command = pattern.expand(template_vars)
    command_str = shlex.join(command)
    script = folder / "command.sh"
    script.write_text(f"{command_str}\n", encoding="utf-8")
    emit(
        "pattern.template.expanded",
        "in_progress",
        {
            "template_version": pattern.version,
            "variables_resolved": len(template_vars),
            "generated_artifacts": [str(script)],
            "command_preview": command_str,
        },
    )

    # Validate before anything is started.
    emit("pattern.validation.started", "in_progress", {"validation_type": "pre_execution", "checks": list(CHECKS)})
    failed = failed_checks(Path(inputs["target"]), folder)
    counts = {
        "validation_type": "pre_execution",
        "checks_passed": len(CHECKS) - len(failed),
        "checks_failed": len(failed),
    }
    if failed:
        emit("pattern.validation.failed", "failed", {**counts, "failed_checks": failed})
        return None
    emit("pattern.validation.completed", "in_progress", counts)

    # Execute.
    started: dict[str, Any] = {
        "executor": "subprocess",
        "command": command_str,
        "working_dir": str(Path.cwd()),
        "timeout_seconds": TIMEOUT_SECONDS,
        "tool_name": pattern.tool_name,
    }
    if pattern.tool_version is not None:
        started["tool_version"] = pattern.tool_version
    emit("pattern.execution.started", "in_progress", started)
    try:
        result = run_tool(command, timeout_seconds=TIMEOUT_SECONDS)
        summary = pattern.summarize(report, result.stdout) if result.exit_code == 0 else {}
    except BaseException as error:  # Ctrl-C as well: a run that has begun must be seen to end
        emit(
            "pattern.execution.failed",
            "failed",
            {
                "exit_code": COMMAND_NOT_FOUND if isinstance(error, FileNotFoundError) else None,
                "error_type": type(error).__name__,
                "error_message": str(error) or type(error).__name__,
            },
        )
        raise
    ended = {"exit_code": result.exit_code, "duration_seconds": result.duration, "pid": result.pid}
    if result.exit_code == 0:
        emit(
            "pattern.execution.completed",
            # The tool did its work; findings want somebody's attention all the same.
            "warning" if summary.get("finding_count") else "success",
            {
                **ended,
                "result_summary": summary,
                "artifacts": [str(path) for path in (report, script) if path is not None and path.exists()],
                "stdout_lines": len(result.stdout.splitlines()),
                "stderr_lines": len(result.stderr.splitlines()),
            },
        )
    else:
        emit(
            "pattern.execution.failed",
            "failed",
            {
                **ended,
                "error_type": "tool_error",
                "error_message": result.stderr.strip() or f"{pattern.tool_name} ended with {result.exit_code}",
                "stdout_preview": result.stdout[-PREVIEW_CHARACTERS:],
                "stderr_preview": result.stderr[-PREVIEW_CHARACTERS:],
            },
        )
    return result


def main() -> int:
    """Make the runs and say where they are. Exit status 0 when the journal has what it should have."""
    parser = argparse.ArgumentParser(description="Make a few pattern runs with real tools.")
    parser.add_argument("--slow", type=float, metavar="SECONDS", help="add a run that goes on for so long")
    parser.add_argument("--state", type=Path, default=Path("state"), help="folder for journal and reports")
    options = parser.parse_args()
    os.environ.setdefault("OTEL_SERVICE_NAME", "pattern-executor")
    try:
        emitter = set_up(options.state / "events" / "pattern_events.jsonl")
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2

    job_id = f"JOB-{datetime.now(timezone.utc):%Y%m%dT%H%M%S.%fZ}"
    for number, (pattern_id, inputs) in enumerate(steps(options.slow), start=1):
        operation_kind = PATTERNS[pattern_id].operation_kind
        step = {"operation_kind": operation_kind, **inputs}
        try:
            execute_pattern(pattern_id, job_id, f"STEP-{number:03}", step, reports=options.state / "reports")
        except OSError as error:
            # As an engine does: the run has failed and says so in its events, the job goes on.
            print(f"{pattern_id}: {error}", file=sys.stderr)
    runs = PatternRunAggregator(emitter).rebuild_from_events(job_id)
    show(runs, emitter)
    return 0


def set_up(journal: Path) -> PatternEventEmitter:
    """Return the emitter for this process; it sends runs as traces when something answers at the OTLP endpoint.

    Raises:
        ConfigurationError: An environment variable has a value that cannot be used.
    """
    emitter = configure(journal=journal)
    if emitter.destination is None or is_listening(emitter.destination):
        return emitter
    print(f"Nothing answers at {emitter.destination}: the runs are in the journal only.", file=sys.stderr)
    return configure(journal=journal, export="off")


def is_listening(url: str) -> bool:
    """Tell whether a TCP connection to the URL's host and port can be made."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "localhost", port), timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def steps(slow_seconds: float | None) -> list[tuple[str, dict[str, Any]]]:
    """Return pattern and inputs of each step of the job."""
    job: list[tuple[str, dict[str, Any]]] = [
        ("PAT-PYTEST-001", {"target": str(PROJECT)}),
        ("PAT-SEMGREP-001", {"target": str(PROJECT / "backup.py")}),
        ("PAT-LICENSES-001", {"target": str(PROJECT)}),
        ("PAT-PYTEST-001", {"target": str(PROJECT / "no_such_suite")}),
    ]
    if find_semgrep() is None:
        print("semgrep is not installed: its run is left out. `make semgrep` installs it.", file=sys.stderr)
        del job[1]
    if slow_seconds is not None:
        job.append(("PAT-SOAK-001", {"target": str(PROJECT / "soak.py"), "seconds": slow_seconds}))
    return job


def show(runs: list[PatternRun], emitter: PatternEventEmitter) -> None:
    """Print the runs and how to look at them."""
    for run in runs:
        print(f"{run.pattern_run_id}  trace {run.trace_id}  {run.status:<8}  {run.operation_kind} {run.pattern_id}")
    program = "otel-patterns"
    if shutil.which(program) is None:
        # Beside this interpreter, whose environment is not the active one.
        path = str(Path(sys.executable).with_name(program))
        program = min(path, os.path.relpath(path), key=len)
    journal = shlex.quote(os.path.relpath(emitter.global_log))
    print("\nLook at them:")
    print(f"  {program} runs --journal {journal}")
    print(f"  {program} run {runs[0].pattern_run_id} --journal {journal}")
    print(f"  {program} events --follow --journal {journal}    (while another terminal runs this with --slow 30)")
    if emitter.destination is not None and emitter.flush():
        jaeger = os.environ.get("OTEL_PATTERNS_JAEGER_URL") or "http://localhost:16686"
        print(f"Sent to {emitter.destination}; in Jaeger:")
        for run in runs:
            print(f"  {jaeger.rstrip('/')}/trace/{run.trace_id}")
    elif emitter.destination is not None:
        print(f"Not all was taken by {emitter.destination}; the journal has it all.")


if __name__ == "__main__":
    sys.exit(main())

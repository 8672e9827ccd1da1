"""The log of a job, when a process dies between the journal and it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from otel_patterns.journal.job_log import JobLog, repair_job_logs
from otel_patterns.journal.read import read_documents
from tests.unit.journal.lines import event_line

# Killed as if by the kernel, when the third line is in the journal and not yet in the log of its job.
ENGINE = """
import os, signal, sys
from otel_patterns import channel, configure, emit_pattern_event
configure(journal=sys.argv[1], job_scoped=True, export="off")
for number in range(3):
    if number == 2:
        channel.append_to_job = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    emit_pattern_event("pattern.execution.started", "JOB-1", f"PRUN-{number}", "PAT-A", "in_progress", {})
"""


def events(path: Path) -> list[str]:
    """Return the runs of a log's events."""
    return [document["pattern_run_id"] for _, document in read_documents(path)]


def test_j17_line_missing_in_a_job_log_is_added_by_repair(tmp_path: Path) -> None:
    """The journal is the truth: repair adds the line once, and what only the log has stays out of the journal."""
    path = tmp_path / "pattern_events.jsonl"
    ended = subprocess.run([sys.executable, "-c", ENGINE, str(path)], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    log = tmp_path / "jobs" / "JOB-1" / "pattern_events.jsonl"
    assert (events(path), events(log)) == (["PRUN-0", "PRUN-1", "PRUN-2"], ["PRUN-0", "PRUN-1"])
    with log.open("ab") as file:
        file.write(event_line(9, job_id="JOB-1", run_id="PRUN-FORGED") + b'{"torn')
    assert list(repair_job_logs(str(path), dry_run=True)) == [JobLog("JOB-1", 1, 1)]
    assert events(log)[-1] == "PRUN-FORGED"
    assert list(repair_job_logs(str(path))) == [JobLog("JOB-1", 1, 1)]
    assert events(log) == ["PRUN-0", "PRUN-1", "PRUN-FORGED", "PRUN-2"]
    assert list(repair_job_logs(str(path))) == [JobLog("JOB-1", 0, 1)]
    assert events(path) == ["PRUN-0", "PRUN-1", "PRUN-2"]

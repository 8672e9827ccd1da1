"""The shortest way: run a command as a pattern run. The journal is `state/events/pattern_events.jsonl`."""

import subprocess
import sys

from otel_patterns import pattern_run

command = [sys.executable, "-c", "print(6 * 7)"]
with pattern_run("PAT-HELLO-001", job_id="JOB-QUICKSTART", operation_kind="hello", command=command) as run:
    answer = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    run.result_summary["answer"] = int(answer)
print(f"otel-patterns run {run.pattern_run_id}")

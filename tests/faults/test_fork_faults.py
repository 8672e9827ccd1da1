"""Forking while a thread loads what `emit` needs: its child, in which that thread is not, must not wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_patterns.journal.read import read_documents

# The thread is inside of the import when the main thread forks; parent, thread and child each write an event.
ENGINE = """
import importlib.abc, os, sys, threading, time
from otel_patterns import emit_pattern_event, pattern_run

begun = threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1] and not begun.is_set():
            begun.set()
            time.sleep(0.5)

sys.meta_path.insert(0, Slow())

def work(name):
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind=name):
        pass

thread = threading.Thread(target=work, args=("thread",))
thread.start()
assert begun.wait(10), "it was never loaded"
child = os.fork()
if child == 0:
    work("child")
    os._exit(0)
thread.join()
work("parent")
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize(
    "module",
    ["otel_patterns.tracing.delivery", "otel_patterns.tracing.run_span", "opentelemetry.sdk.trace.sampling"],
)
def test_j12_fork_while_a_thread_loads_what_emit_needs_lets_both_write(tmp_path: Path, module: str) -> None:
    """The fork waits until the module is there."""
    journal = tmp_path / "pattern_events.jsonl"
    variables = {
        **os.environ,
        "OTEL_PATTERNS_JOURNAL": str(journal),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    ended = subprocess.run(
        [sys.executable, "-c", ENGINE, module], env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    kinds = [
        document["details"]["operation_kind"]
        for _, document in read_documents(journal)
        if "operation_kind" in document["details"]
    ]
    assert sorted(kinds) == ["child", "parent", "thread"]

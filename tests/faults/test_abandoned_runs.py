"""Engines that are killed in the middle of a run: the run gets an end, and a trace that shows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from otel_patterns.journal.read import read_events
from otel_patterns.model.fold import fold
from tests.receiver import Receiver

_ENGINE = """
import sys, time
from otel_patterns import emit_pattern_event
names = ("selection.started", "selection.resolved", "execution.started")
for name in names:
    emit_pattern_event(f"pattern.{name}", "JOB-1", "PRUN-01M82ABGTGPVQ866JRR23TA2YY", "PAT-A", "in_progress", {})
print("ready", flush=True)
time.sleep(60)
"""
_RUN_ID = "PRUN-01M82ABGTGPVQ866JRR23TA2YY"


def start_engine(journal: Path) -> subprocess.Popen[str]:
    """Return an engine that is inside a run."""
    environment = {**os.environ, "OTEL_PATTERNS_JOURNAL": str(journal), "OTEL_PATTERNS_EXPORT": "off"}
    engine = subprocess.Popen([sys.executable, "-c", _ENGINE], stdout=subprocess.PIPE, text=True, env=environment)
    assert engine.stdout is not None
    assert engine.stdout.readline() == "ready\n"
    return engine


def command(journal: Path, *arguments: str, **environment: str) -> list[str]:
    """Run a command of ours and return the lines of its output."""
    ended = subprocess.run(
        [sys.executable, "-m", "otel_patterns", *arguments, "--journal", str(journal)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return ended.stdout.splitlines()


def test_x11_run_of_killed_engine_is_ended_and_sent(tmp_path: Path) -> None:
    """While its engine lives a run is left alone; when that was killed, one end is written, and replay sends it."""
    journal = tmp_path / "pattern_events.jsonl"
    with start_engine(journal) as engine:
        try:
            assert command(journal, "finalize") == []
        finally:
            engine.send_signal(signal.SIGKILL)
    assert engine.returncode == -signal.SIGKILL
    # Two at once: both may write the end, and it is one event all the same.
    finalizers = [
        subprocess.Popen([sys.executable, "-m", "otel_patterns", "finalize", "--journal", str(journal)])
        for _ in range(2)
    ]
    assert [finalizer.wait(30) for finalizer in finalizers] == [0, 0]
    assert command(journal, "finalize") == []
    events = list(read_events(journal))
    assert len({event.event_id for event in events}) == 4
    run = fold(events)[_RUN_ID]
    assert (run.status, run.error and run.error["type"]) == ("failed", "abandoned")
    assert run.finished_at == events[-1].timestamp
    assert events[-1].time_unix_nano == events[2].time_unix_nano + 1000
    with Receiver() as receiver:
        command(journal, "replay", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.base_url)
        spans = [span for _, span in receiver.spans]
    assert {span.name for span in spans} == {"unknown PAT-A", "selection PAT-A", "execution PAT-A"}
    root = next(span for span in spans if span.name == "unknown PAT-A")
    assert {attribute.key: attribute.value.string_value for attribute in root.attributes}["error.type"] == "abandoned"
    assert command(journal, "replay", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.base_url) == []

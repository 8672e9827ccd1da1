"""`JsonlSpanProcessor` when its process is killed, forks, or has a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_patterns import PatternEventEmitter
from otel_patterns.model import names
from tests.faults.programs import ROOT

SET_UP = f"""
import os, sys, threading, time
from opentelemetry.sdk.trace import TracerProvider
from otel_patterns import JsonlSpanProcessor

processor = JsonlSpanProcessor(sys.argv[1])
provider = TracerProvider()
provider.add_span_processor(processor)
tracer = provider.get_tracer("engine")

def scan(name):
    with tracer.start_as_current_span(name) as span:
        span.add_event("{names.EXECUTION_STARTED}", {{"executor": "python", "command": name}})
        span.add_event("{names.EXECUTION_COMPLETED}", {{"pattern.details": '{{"exit_code": 0}}'}})
"""
KILLED = """
scan("ended")
span = tracer.start_span("open")
span.add_event("pattern.execution.started", {"executor": "python", "command": "open"})
print("ready", flush=True)
time.sleep(60)
"""
FORKED = """
def work():
    for _ in range(50):
        scan("parent")

thread = threading.Thread(target=work)
thread.start()
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        for _ in range(10):
            scan("child")
        processor.shutdown()
        os._exit(0)
    children.append(child)
thread.join()
codes = [os.waitpid(child, 0)[1] for child in children]
scan("parent")
assert codes == [0] * 5, codes
"""
FULL = """
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
os.symlink("/dev/full", sys.argv[1])
scan("full")
flushed = processor.force_flush(1000)
provider.shutdown()
print("the program goes on", flushed)
"""


def start(program: str, journal: Path) -> subprocess.Popen[str]:
    """Start a program whose processor writes to a journal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SET_UP + program, str(journal)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return the path of a journal that does not exist yet."""
    return tmp_path / "journal" / "pattern_events.jsonl"


def commands_in(journal: Path) -> list[str]:
    """Return what was executed, once for each run in the journal."""
    events = PatternEventEmitter(journal.parent).get_events()
    return [event.details["command"] for event in events if event.event_type == names.EXECUTION_STARTED]


def test_processor_in_a_killed_process_has_written_what_ended_and_nothing_else(journal: Path) -> None:
    """A span that has ended is in the journal whole; of one that was open there is nothing."""
    with start(KILLED, journal) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        finally:
            process.kill()
        process.wait(30)
    assert process.returncode == -signal.SIGKILL
    assert commands_in(journal) == ["ended"]
    assert len(PatternEventEmitter(journal.parent).get_events()) == 2


def test_processor_in_forked_children_writes_every_event_once(journal: Path) -> None:
    """Children that were forked while another thread was writing go on writing, and so does their parent."""
    with start(FORKED, journal) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    commands = commands_in(journal)
    assert (commands.count("parent"), commands.count("child")) == (51, 50)
    events = PatternEventEmitter(journal.parent).get_events()
    assert len({event.event_id for event in events}) == len(events) == 202
    assert len({event.otel["writer"]["pid"] for event in events if event.otel}) == 6


def test_processor_on_a_journal_that_cannot_be_written_leaves_the_program_alone(journal: Path) -> None:
    """What the journal refuses costs warnings and a False, not the program."""
    with start(FULL, journal) as process:
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert out == "the program goes on False\n"
    assert "event kept in " in errors
    assert "lost" not in errors
    assert len(list((journal.parent / "spool").iterdir())) == 1

"""`otel-patterns exec` as a process, and what it has put on record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_patterns import PatternEvent
from otel_patterns.model import names
from otel_patterns.tracing.outcome import result_of

ROOT = Path(__file__).parents[1]
EXEC = (sys.executable, "-m", "otel_patterns", "exec")
# Far more than anything takes, so that a busy machine does not fail a test.
DEADLINE_SECONDS = 30.0


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a command whose journal is in a folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    own = {"OTEL_PATTERNS_JOURNAL": str(folder / "journal.jsonl"), "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    return {**kept, **own, **(more or {})}


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: bytes
    err: bytes


def execute(*argv: str, folder: Path, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """Run `otel-patterns exec` with arguments to its end, with pipes for all streams, in a folder."""
    done = subprocess.run(
        (*EXEC, *argv),
        input=stdin,
        capture_output=True,
        cwd=folder,
        env=environment(folder, env),
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def executing(*argv: str, folder: Path, **more: Any) -> Generator[subprocess.Popen[bytes], None, None]:
    """Yield a running `otel-patterns exec`, in a process group of its own as a shell would have it."""
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    start: Any = subprocess.Popen
    process: subprocess.Popen[bytes] = start(
        (*EXEC, *argv), cwd=folder, env=environment(folder), start_new_session=True, **(streams | more)
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def events(folder: Path) -> list[PatternEvent]:
    """Return the events in the journal of a folder."""
    journal = folder / "journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return [PatternEvent.from_document(json.loads(line)) for line in lines]


@dataclass(frozen=True)
class Ended:
    """How the only run of a journal has ended."""

    type: str
    details: dict[str, Any]
    result: str


def ended(folder: Path) -> Ended:
    """Return how the only run of a folder has ended; fails when it has not, or twice."""
    types = [event.event_type for event in events(folder)]
    assert types[:2] == [names.SELECTION_RESOLVED, names.EXECUTION_STARTED]
    assert len(types) == 3
    last = events(folder)[-1]
    return Ended(last.event_type.removeprefix("pattern.execution."), last.details, result_of(last))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it does not come to hold"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"

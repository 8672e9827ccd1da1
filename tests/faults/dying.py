"""Programs that are killed at a chosen system call: `python -m tests.faults.dying PROGRAM JOURNAL STEP`."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from otel_patterns.journal.append import Journal
from otel_patterns.journal.index import update_index
from tests.faults.writers import line_of

ROOT = Path(__file__).parents[2]
_CALLS = ("open", "write", "fsync", "rename", "close", "lseek", "pread")


def kill_at_each_step(program: str, path_of_step: Callable[[int], Path]) -> Iterator[Path]:
    """Run a program, killed at its first system call, at its second, and so on, and yield its journals."""
    is_killed = True
    for step in itertools.count():
        path = path_of_step(step)
        arguments = [sys.executable, "-m", "tests.faults.dying", program, str(path), str(step)]
        ended = subprocess.run(arguments, cwd=ROOT, capture_output=True, timeout=60, check=False)
        is_killed = ended.returncode == -signal.SIGKILL
        assert is_killed or ended.returncode == 0, ended.stderr
        yield path
        if not is_killed:
            assert step > 0, "it was never killed"
            return


def _die_at(step: int) -> None:
    steps = itertools.count()

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def call_or_die(*arguments: Any, **options: Any) -> Any:
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return call_or_die

    for name in _CALLS:
        setattr(os, name, dying(getattr(os, name)))


def rotate(path: str, step: int) -> None:
    """Append a line that begins a new file."""
    journal = Journal(path)
    journal.rotate(1)
    journal.append(line_of("first", 0))
    _die_at(step)
    journal.append(line_of("dying", 0))


def make_index(path: str, step: int) -> None:
    """Make the index of a journal that is there, and make it anew when it has grown."""
    with open(path, "rb") as file:
        update_index(path, file)
        with open(path, "ab") as end:
            end.write(line_of("grown", 0))
        _die_at(step)
        update_index(path, file)


if __name__ == "__main__":
    {"rotate": rotate, "make_index": make_index}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))

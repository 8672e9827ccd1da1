"""Programs that are killed at a chosen system call: `python -m tests.faults.dying PROGRAM`."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from otel_patterns.journal.append import Journal
from otel_patterns.journal.index import update_index
from tests.faults.writers import line_of

ROOT = Path(__file__).parents[2]
_CALLS = ("open", "write", "fsync", "rename", "close", "lseek", "pread")


def kill_at_each_step(program: str, path_of_step: Callable[[int], Path]) -> Iterator[Path]:
    """Run a program, killed at its first system call, at its second, and so on, and yield its journals.

    Each time in a new process, forked from one that has loaded everything already: there are hundreds.
    """
    arguments = [sys.executable, "-m", "tests.faults.dying", program]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        assert forker.stdin is not None
        assert forker.stdout is not None
        for step in itertools.count():
            path = path_of_step(step)
            print(path, file=forker.stdin, flush=True)
            ended = int(forker.stdout.readline())
            assert ended in (0, -signal.SIGKILL)
            yield path
            if ended == 0:
                assert step > 0, "it was never killed"
                forker.stdin.close()
                assert forker.wait(timeout=60) == 0
                return


def _run_for_each_line(program: Callable[[str, int], None]) -> None:
    """Run a program in a forked process for each path on stdin, and print what became of it."""
    for step, path in enumerate(sys.stdin):
        pid = os.fork()
        if pid == 0:
            try:
                program(path.rstrip("\n"), step)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


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
    _run_for_each_line({"rotate": rotate, "make_index": make_index}[sys.argv[1]])

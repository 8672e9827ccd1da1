"""Append a line at each level of durability, against the system calls alone that it cannot do without."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from otel_patterns.journal.append import Journal
from otel_patterns.settings import Durability

from .rounds import interleave, interleave_timed

LINES_A_ROUND: Final = 2000
WAITS_A_ROUND: Final = 100
PROCESSES: Final = 8
LINE: Final = json.dumps({"event_id": "EVT-01M82ABGTGPVQ866JRR23TA2YZ", "fill": "x" * 380}).encode() + b"\n"


class Bare:
    """The four system calls of a safe append: lock, size, last byte, write."""

    def __init__(self, folder: str) -> None:
        self._lock = os.open(f"{folder}/bare.lock", os.O_RDWR | os.O_CREAT)
        self._file = os.open(f"{folder}/bare", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def append(self) -> None:
        """Write a line."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        size = os.fstat(self._file).st_size
        is_torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
        os.write(self._file, b"\n" + LINE if is_torn else LINE)
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def append_synced(self) -> None:
        """Write a line and put it on disk."""
        self.append()
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the files."""
        os.close(self._lock)
        os.close(self._file)


@contextmanager
def _journal_and_bare(durability: Durability) -> Generator[tuple[Journal, Bare], None, None]:
    with tempfile.TemporaryDirectory() as folder:
        journal, bare = Journal(f"{folder}/pattern_events.jsonl"), Bare(folder)
        journal.rotate(256 * 1024 * 1024)
        journal.durability = durability
        try:
            yield journal, bare
        finally:
            journal.close()
            bare.close()


def _times(call: Callable[[], object], times: int) -> Callable[[], None]:
    def repeat() -> None:
        for _ in range(times):
            call()

    return repeat


def kernel_rounds(n: int) -> list[float]:
    """Return the ratio of each of n rounds at level `os`."""
    with _journal_and_bare("os") as (journal, bare):
        return interleave(_times(lambda: journal.append(LINE), LINES_A_ROUND), _times(bare.append, LINES_A_ROUND), n)


def waiting_rounds(n: int) -> list[float]:
    """Return the ratio of each of n rounds of terminal events, which wait for the disk."""
    with _journal_and_bare("group") as (journal, bare):

        def append() -> None:
            assert journal.append(LINE, is_terminal=True).durable

        return interleave(_times(append, WAITS_A_ROUND), _times(bare.append_synced, WAITS_A_ROUND), n)


def _write_many(path: str, durability: Durability, lines: int, begin: Any, end: Any) -> None:
    journal = Journal(path)
    journal.durability = durability
    journal.append(LINE)
    begin.wait()
    for _ in range(lines):
        journal.append(LINE)
    end.wait()


def contended_rounds(n: int, *, lines: int) -> list[float]:
    """Return the ratio of each of n rounds in which 8 processes append so many lines at once, `group` to `os`."""
    context = multiprocessing.get_context("fork")

    def write_at(durability: Durability) -> Callable[[], float]:
        def write() -> float:
            with tempfile.TemporaryDirectory() as folder:
                begin, end = context.Barrier(PROCESSES + 1), context.Barrier(PROCESSES + 1)
                path = f"{folder}/pattern_events.jsonl"
                processes = [
                    context.Process(target=_write_many, args=(path, durability, lines, begin, end))
                    for _ in range(PROCESSES)
                ]
                for process in processes:
                    process.start()
                begin.wait()
                started = perf_counter()
                end.wait()
                seconds = perf_counter() - started
                for process in processes:
                    process.join()
                return seconds

        return write

    return interleave_timed(write_at("group"), write_at("os"), n)

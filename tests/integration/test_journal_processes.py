"""One journal, many writers and a follower: processes, threads and tasks at the same time, by the real clock."""

from __future__ import annotations

import asyncio
import ctypes
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from otel_patterns.clock import SYSTEM_CLOCK
from otel_patterns.journal.append import Journal, Receipt
from otel_patterns.journal.cursor import BEGINNING
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.lines import read_lines
from otel_patterns.journal.tail import RunTail
from otel_patterns.model.events import PatternEvent
from tests.faults.programs import run
from tests.faults.writers import Found, line_of


def check_cursors(path: Path, lines: list[bytes], receipts: list[Receipt]) -> None:
    """Check that the receipts' cursors enclose exactly their lines."""
    content = path.read_bytes()
    for line, receipt in zip(lines, receipts, strict=True):
        assert receipt.start is not None
        assert receipt.end is not None
        assert content[receipt.start.offset : receipt.end.offset] == line


def test_eight_processes_of_four_threads_lose_damage_and_double_nothing(path: Path) -> None:
    """Lines of 200 B to 200 kB from 32 writers stand whole, once, each writer's in its order."""
    assert run("many_writers", path) == {"statuses": [0] * 8}
    found = Found(path)
    assert not found.damaged
    assert found.numbers == {f"p{process}.t{thread}": list(range(25)) for process in range(8) for thread in range(4)}
    content = path.read_bytes()
    # It was a contest: writers followed one another in more than their own number of turns.
    with path.open("rb") as file:
        writers = [line.data.split(b'"writer":"', 1)[1][:5] for line in read_lines(file)]
    assert sum(before != after for before, after in pairwise(writers)) > 64
    assert max(map(len, content.split(b"\n"))) > 100_000


def test_threads_of_one_process_get_cursors_of_their_lines(path: Path, journal: Journal) -> None:
    """Also when threads contend, each receipt points at the bytes of its own line."""
    lines = [line_of(f"t{number % 8}", number // 8, largest=3000) for number in range(800)]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(journal.append, lines))
    check_cursors(path, lines, receipts)
    assert sorted(path.read_bytes().splitlines()) == sorted(line[:-1] for line in lines)


def test_tasks_on_the_loop_and_in_threads_append_together(path: Path, journal: Journal) -> None:
    """Asyncio tasks may append directly or by a thread; each task's lines keep their order."""

    async def append_all(writer: str, *, in_thread: bool) -> list[Receipt]:
        receipts: list[Receipt] = []
        for number in range(50):
            line = line_of(writer, number, largest=3000)
            receipts.append(await asyncio.to_thread(journal.append, line) if in_thread else journal.append(line))
            await asyncio.sleep(0)
        return receipts

    async def append_in_tasks() -> list[list[Receipt]]:
        return await asyncio.gather(*[append_all(f"task{task}", in_thread=task % 2 == 0) for task in range(10)])

    for task, receipts in enumerate(asyncio.run(append_in_tasks())):
        check_cursors(path, [line_of(f"task{task}", number, largest=3000) for number in range(50)], receipts)
    found = Found(path)
    assert not found.damaged
    assert found.numbers == {f"task{task}": list(range(50)) for task in range(10)}


class Follower:
    """Follows a journal in a thread and notes when each line came."""

    def __init__(self, path: Path) -> None:
        self.lines: list[bytes] = []
        self.times: list[float] = []
        self.restarts: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, args=(path,))
        self._thread.start()

    def _follow(self, path: Path) -> None:
        for line in follow_lines(path, start=BEGINNING, stop=self._stop, on_restart=self.restarts.append):
            self.times.append(time.monotonic())
            self.lines.append(line.data + b"\n")

    def wait_for(self, count: int) -> None:
        """Wait until so many lines came."""
        deadline = time.monotonic() + 20
        while len(self.lines) < count and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(self.lines) == count

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


class LibcWithoutInotify:
    """A C library as other systems have it."""

    def __init__(self, _name: str | None, *, use_errno: bool) -> None:
        assert use_errno


@pytest.mark.parametrize("has_inotify", [True, False])
def test_follow_sees_lines_within_a_quarter_of_a_second(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, *, has_inotify: bool
) -> None:
    """A watcher sees a line within 0.25 s, with inotify and by polling, also when the directory comes later."""
    if not has_inotify:
        monkeypatch.setattr(ctypes, "CDLL", LibcWithoutInotify)
    follower = Follower(path)
    delays: list[float] = []
    try:
        for number in range(12):
            # Not in step with the polls.
            time.sleep(0.037 * (number % 4))
            journal.append(line_of("writer", number))
            appended = time.monotonic()
            follower.wait_for(number + 1)
            delays.append(follower.times[-1] - appended)
    finally:
        follower.stop()
    assert follower.lines == [line_of("writer", number) for number in range(12)]
    assert statistics.median(delays) < 0.25
    if has_inotify:
        # Polling alone takes a tenth of a second at the mean.
        assert statistics.median(delays) < 0.08


def test_follow_through_rotation_of_contended_journal_sees_every_line(path: Path, journal: Journal) -> None:
    """While four threads write and the file is renamed away again and again, each line comes exactly once."""
    follower = Follower(path)
    total = 4 * 400

    def append_all(writer: str) -> None:
        for number in range(400):
            journal.append(line_of(writer, number, largest=2000))
            time.sleep(0.002)

    threads = [threading.Thread(target=append_all, args=(f"t{thread}",)) for thread in range(4)]
    try:
        for thread in threads:
            thread.start()
        for number in range(3):
            time.sleep(0.1)
            path.rename(path.with_name(f"former-{number}"))
            # A reader that polls must get its look at each file.
            while len(follower.restarts) < number + 1 and any(thread.is_alive() for thread in threads):
                time.sleep(0.005)
        for thread in threads:
            thread.join()
        follower.wait_for(total)
    finally:
        follower.stop()
    assert follower.restarts == ["replaced"] * 3
    assert sorted(follower.lines) == sorted(
        line_of(f"t{thread}", number, largest=2000) for thread in range(4) for number in range(400)
    )


def test_tail_of_contended_journal_has_runs_in_journal_order(path: Path, journal: Journal) -> None:
    """While other threads write the same runs, each look has the run's events as the journal has them, to the note."""
    runs = [f"PRUN-{SYSTEM_CLOCK.new_ulid()}" for _ in range(3)]
    stop = threading.Event()

    def emit(run_id: str) -> Receipt:
        event = PatternEvent.create("pattern.execution.started", "JOB-1", run_id, "PAT-1", "in_progress", {})
        return journal.append(event.to_line())

    def emit_others() -> None:
        while not stop.is_set():
            for run_id in runs:
                emit(run_id)

    threads = [threading.Thread(target=emit_others) for _ in range(2)]
    emit(runs[0])
    tail = RunTail(str(path), clock=SYSTEM_CLOCK)
    looks: list[tuple[str, list[str], int]] = []
    try:
        for thread in threads:
            thread.start()
        for number in range(60):
            run_id = runs[number % 3]
            receipt = emit(run_id)
            assert receipt.start is not None
            assert receipt.end is not None
            events = tail.events(run_id, receipt.start, receipt.end, made_here=number % 2 == 0)
            looks.append((run_id, [event.event_id for event in events], receipt.end.offset))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        tail.close()
    with path.open("rb") as file:
        lines = list(read_lines(file))
    for run_id, event_ids, end in looks:
        expected = [line.data[13:43].decode() for line in lines if run_id.encode() in line.data]
        assert event_ids == expected[: len(event_ids)]
        assert len(event_ids) >= sum(1 for line in lines if run_id.encode() in line.data and line.end <= end)
    assert os.path.getsize(path) == lines[-1].end

"""Appending: one whole line, alone on its line, once, or a receipt that says otherwise."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.errors import Guard
from otel_patterns.journal import append as append_module
from otel_patterns.journal.append import Journal, Receipt, end_journal, open_journal
from otel_patterns.journal.job_log import append_once
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.read import read_documents
from tests.unit.journal.lines import NO_SPACE, Writes, add, all_lines, bytes_at, event_ids, event_line

Shim = Callable[..., Any]


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let files get exactly the mode that is asked for."""
    former = os.umask(0)
    yield
    os.umask(former)


class FakeTime:
    """Stands in for the module `time`: seconds go by only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Replace the clock that decides when a failed journal is tried again."""
    fake = FakeTime()
    monkeypatch.setattr(append_module, "time", fake)
    return fake


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a journal."""
    with open(f"{path}.lock", "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.usefixtures("no_umask")
def test_append_without_directory_makes_private_files(tmp_path: Path) -> None:
    """Directories are made 0700 and files 0600: events may hold what other users must not see."""
    journal = Journal(tmp_path / "state" / "events" / "pattern_events.jsonl")
    assert journal.append(event_line(1)).state == "journaled"
    journal.close()
    modes = {str(made.relative_to(tmp_path)): stat.S_IMODE(made.stat().st_mode) for made in tmp_path.rglob("*")}
    assert modes == {
        "state": 0o700,
        "state/events": 0o700,
        "state/events/pattern_events.jsonl": 0o600,
        "state/events/pattern_events.jsonl.lock": 0o600,
    }


def test_append_several_lines_stand_in_order_where_receipts_say(path: Path, journal: Journal) -> None:
    """Each receipt's cursors enclose exactly the line, in a file that holds the lines and nothing else."""
    lines = [event_line(number, size=size) for number, size in enumerate((0, 5000, 200_000, 1))]
    receipts = [journal.append(line) for line in lines]
    assert path.read_bytes() == b"".join(lines)
    assert [bytes_at(path, receipt) for receipt in receipts] == lines


def test_append_after_torn_tail_begins_new_line(path: Path) -> None:
    """Cut at every byte of the last line, a journal keeps all others, reports the fragment, and takes the next line."""
    first, last, new = event_line(1), event_line(2), event_line(3)
    for cut in range(len(last) + 1):
        path.write_bytes(first + last[:cut])
        journal = Journal(path)
        receipt = journal.append(new)
        journal.close()
        is_torn = 0 < cut < len(last)
        assert path.read_bytes() == first + last[:cut] + (b"\n" if is_torn else b"") + new
        assert bytes_at(path, receipt) == new
        report = ReadReport()
        numbers = [document["details"]["number"] for _, document in read_documents(path, report=report)]
        is_whole = cut >= len(last) - 1
        assert numbers == ([1, 2, 3] if is_whole else [1, 3])
        skipped = [(bad.offset, bad.length) for bad in report.bad_lines]
        assert skipped == ([] if is_whole or cut == 0 else [(len(first), cut)])


def test_append_short_write_goes_on(path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that took only a part is continued with the rest."""
    journal.append(event_line(1))
    writes = Writes(100, 1, 50)
    monkeypatch.setattr(os, "write", writes)
    line = event_line(2)
    receipt = journal.append(line)
    assert writes.sizes == [len(line), len(line) - 100, len(line) - 101, len(line) - 151]
    assert receipt.state == "journaled"
    assert bytes_at(path, receipt) == line
    assert path.read_bytes() == event_line(1) + line


@pytest.mark.parametrize("script", [(NO_SPACE,), (100, NO_SPACE), (100, 3, OSError(errno.EIO, "broken"))])
def test_append_write_error_cuts_back_and_keeps_line(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, script: tuple[int | Exception, ...]
) -> None:
    """A line that cannot be written whole leaves no byte behind, is counted, and is written once writing works."""
    journal.append(event_line(1))
    writes = Writes(*script)
    monkeypatch.setattr(os, "write", writes)
    receipt = journal.append(event_line(2))
    assert len(writes.sizes) == len(script)
    assert receipt == Receipt("spooled")
    assert path.read_bytes() == event_line(1)
    assert journal.guard.counts == {"spooled": 1}
    assert not is_locked(path)
    assert journal.flush() == 0
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_append_after_failure_writes_kept_lines_first(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """Lines stay in order: what was kept in memory is written before the line that found writing possible again."""
    monkeypatch.setattr(os, "write", Writes(NO_SPACE))
    states = [journal.append(event_line(number)).state for number in (1, 2, 3)]
    time.seconds += 1.01
    receipt = journal.append(event_line(4))
    assert states == ["spooled"] * 3
    assert receipt.state == "journaled"
    assert path.read_bytes() == b"".join(event_line(number) for number in (1, 2, 3, 4))
    assert bytes_at(path, receipt) == event_line(4)
    assert journal.spooled == 0


def test_append_within_second_of_failure_does_not_try(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """For a second after a failure nothing is tried: a try may cost the lock's whole deadline."""
    writes = Writes(NO_SPACE, NO_SPACE)
    monkeypatch.setattr(os, "write", writes)
    journal.append(event_line(1))
    for _ in range(50):
        time.seconds += 0.0199
        assert journal.append(event_line(2)).state == "spooled"
    assert len(writes.sizes) == 1
    time.seconds += 0.0199
    assert journal.append(event_line(3)).state == "spooled"
    assert len(writes.sizes) == 2


def test_append_line_larger_than_spool_is_lost_and_not_tried_again_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """The second of rest holds also when nothing could be kept: else every emit would wait for the deadline."""
    monkeypatch.setattr(append_module, "SPOOL_BYTES", 100)
    writes = Writes(NO_SPACE)
    monkeypatch.setattr(os, "write", writes)
    journal = Journal(path)
    assert journal.append(event_line(1)).state == "lost"
    assert journal.append(event_line(2)).state == "lost"
    assert len(writes.sizes) == 1
    assert journal.guard.counts == {"lost": 2}
    time.seconds += 2
    assert journal.append(event_line(3)).state == "journaled"
    journal.close()
    assert path.read_bytes() == event_line(3)


def test_append_to_full_spool_counts_loss(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full spool keeps what it has, and every line beyond is counted as lost."""
    monkeypatch.setattr(os, "write", Writes(NO_SPACE))
    journal = Journal(path, spool_lines=3)
    states = [journal.append(event_line(number)).state for number in range(5)]
    assert states == ["spooled", "spooled", "spooled", "lost", "lost"]
    assert journal.guard.counts == {"spooled": 3, "lost": 2}
    assert journal.flush() == 0
    journal.close()
    assert path.read_bytes() == b"".join(event_line(number) for number in range(3))


def test_append_spool_bytes_are_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written from the spool makes room in it again."""
    monkeypatch.setattr(append_module, "SPOOL_BYTES", len(event_line(0)) * 2)
    journal = Journal(path)
    for round_number in range(5):
        monkeypatch.setattr(os, "write", Writes(NO_SPACE))
        states = [journal.append(event_line(number)).state for number in range(3)]
        assert states == ["spooled", "spooled", "lost"], round_number
        assert journal.flush() == 0
    journal.close()
    assert event_ids(path) == [f"EVT-{number:026d}" for number in (0, 1)] * 5


def test_flush_while_writing_fails_keeps_lines(path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush that fails raises nothing, loses nothing, and says how many lines wait."""
    monkeypatch.setattr(os, "write", Writes(NO_SPACE, 10, NO_SPACE))
    journal.append(event_line(1))
    journal.append(event_line(2))
    assert journal.flush() == 2
    assert path.read_bytes() == b""
    assert journal.flush() == 0
    assert journal.flush() == 0
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_flush_after_failure_lets_appends_write_again(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, time: FakeTime
) -> None:
    """Once a flush wrote, nobody waits for the rest of the second."""
    monkeypatch.setattr(os, "write", Writes(NO_SPACE))
    journal.append(event_line(1))
    journal.flush()
    assert journal.append(event_line(2)).state == "journaled"
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_append_any_error_is_swallowed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception leaves append, also none that no system call raises: the engine may be deep in recursion."""
    monkeypatch.setattr(os, "write", Writes(RecursionError("maximum recursion depth exceeded")))
    assert journal.append(event_line(1)).state == "spooled"
    assert journal.flush() == 0


@pytest.mark.parametrize("call", ["flock", "lstat", "write", "lseek"])
def test_append_from_signal_handler_within_append_is_written_by_it(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Wherever a signal handler's append interrupts another one, both lines stand whole, once, before that one ends."""
    journal.append(event_line(1))
    nested: list[Receipt] = []
    module: Any = fcntl if call == "flock" else os
    original = getattr(module, call)

    def interrupted(*args: Any) -> Any:
        before = original(*args)
        if len(nested) < 2:
            nested.append(journal.append(event_line(2 + len(nested))))
            journal.flush()
        return before

    monkeypatch.setattr(module, call, interrupted)
    receipt = journal.append(event_line(9))
    assert {interruption.state for interruption in nested} == {"spooled"}
    assert receipt.state == "journaled"
    assert bytes_at(path, receipt) == event_line(9)
    numbers = (1, *range(2, 2 + len(nested)), 9)
    assert sorted(event_ids(path)) == [f"EVT-{number:026d}" for number in numbers]
    assert journal.spooled == 0
    # Nothing failed, so nothing is reported.
    assert not journal.guard.counts
    assert not is_locked(path)


@pytest.mark.parametrize("script", [(KeyboardInterrupt(),), (50, KeyboardInterrupt())])
def test_append_interrupted_by_exception_leaves_no_fragment_and_no_lock(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch, script: tuple[int | BaseException, ...]
) -> None:
    """Ctrl-C passes through, and the journal works on: no fragment, no lock kept."""
    journal.append(event_line(1))
    writes = Writes(*script)
    monkeypatch.setattr(os, "write", writes)
    with pytest.raises(KeyboardInterrupt):
        journal.append(event_line(2))
    assert len(writes.sizes) == len(script)
    assert path.read_bytes() == event_line(1)
    assert not is_locked(path)
    assert journal.append(event_line(3)).state == "journaled"


def test_append_while_thread_hangs_in_write_returns_within_deadline(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that hangs in its write costs another one the deadline once, and then nothing for a second."""
    monkeypatch.setattr(append_module, "LOCK_TIMEOUT_SECONDS", 0.05)
    hanging, go_on = threading.Event(), threading.Event()
    write = os.write

    def hang(descriptor: int, data: Any) -> int:
        hanging.set()
        go_on.wait(30)
        return write(descriptor, data)

    waits: list[float] = []

    class Lock:
        """A lock that notes who waits for it."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if not blocking:
                return real.acquire(blocking=False)
            waits.append(timeout)
            return real.acquire(timeout=timeout)

        def release(self) -> None:
            real.release()

    real = threading.RLock()
    monkeypatch.setattr(journal, "_lock", Lock())
    monkeypatch.setattr(os, "write", hang)
    thread = threading.Thread(target=journal.append, args=(event_line(1),))
    thread.start()
    assert hanging.wait(10)
    states = [journal.append(event_line(number)).state for number in (2, 3, 4)]
    go_on.set()
    thread.join()
    assert states == ["spooled"] * 3
    # Of the first that waited for the thread that hangs, and of that one as it wrote what the others left.
    assert waits == [0.05, 0.05]
    # The hanging thread wrote them when its own write was done.
    assert path.read_bytes() == b"".join(event_line(number) for number in (1, 2, 3, 4))


def test_append_after_close_opens_again(path: Path) -> None:
    """A closed journal holds no descriptor, and works again when it is used again."""
    before = set(os.listdir("/proc/self/fd"))
    journal = Journal(path)
    for number in (1, 2):
        assert journal.append(event_line(number)).state == "journaled"
        journal.close()
        assert set(os.listdir("/proc/self/fd")) <= before
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_open_journal_asked_again_returns_same_object(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However a path is written, a process has one journal, so one pair of descriptors, for it."""
    monkeypatch.chdir(path.parent)
    assert open_journal(path) is open_journal(str(path)) is open_journal(path.name)
    assert open_journal(path.with_name("other")) is not open_journal(path)


def test_append_once_leaves_no_descriptor(path: Path, tmp_path: Path) -> None:
    """Per-job logs are many: none keeps a descriptor open."""
    before = set(os.listdir("/proc/self/fd"))
    guard = Guard()
    jobs = [str(tmp_path / "jobs" / f"JOB-{number}" / "pattern_events.jsonl") for number in range(3)]
    states = [append_once(job, event_line(1), lock_path=f"{path}.lock", guard=guard).state for job in jobs * 2]
    assert states == ["journaled"] * 6
    assert set(os.listdir("/proc/self/fd")) <= before
    assert [Path(job).read_bytes() for job in jobs] == [event_line(1) * 2] * 3


def test_append_once_that_fails_counts_loss(path: Path, tmp_path: Path) -> None:
    """What nobody will write later is not called spooled."""
    (tmp_path / "jobs").write_bytes(b"")
    guard = Guard()
    receipt = append_once(str(tmp_path / "jobs" / "log"), event_line(1), lock_path=f"{path}.lock", guard=guard)
    assert receipt.state == "lost"
    assert guard.counts == {"lost": 1}


def test_append_to_foreign_bytes_heals_them_once(path: Path, journal: Journal) -> None:
    """Fragments of other programs are closed by one newline each, and lines behind them are whole."""
    expected = b""
    for number in range(5):
        add(path, b'{"half')
        journal.append(event_line(number))
        expected += b'{"half\n' + event_line(number)
    assert path.read_bytes() == expected
    assert len(all_lines(path)) == 10


def test_append_to_an_ended_journal_is_lost(path: Path, time: FakeTime) -> None:
    """A journal that was ended writes nothing more, however long one waits; who opens its path again gets another."""
    ended = open_journal(path)
    assert ended.append(event_line(1)).state == "journaled"
    end_journal(path)
    time.seconds += 1000
    assert ended.append(event_line(2)).state == "lost"
    assert (ended.guard.counts["lost"], ended.flush()) == (1, 0)
    again = open_journal(path)
    assert again is not ended
    assert again.append(event_line(3)).state == "journaled"
    end_journal(path)
    assert path.read_bytes() == event_line(1) + event_line(3)


def test_end_of_a_journal_counts_what_was_spooled(path: Path, time: FakeTime) -> None:
    """Lines that wait in memory when their journal ends are lost, and counted so."""
    path.mkdir()
    journal = Journal(path)
    assert journal.append(event_line(1)).state == "spooled"
    journal.end()
    assert (journal.guard.counts["lost"], journal.spooled) == (1, 0)

"""Lines that cannot be written wait in a file, survive their process, and are merged by whoever writes next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_patterns.journal import append as append_module
from otel_patterns.journal import spool as spool_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.spool import SpoolFile, spool_directory
from tests.unit.journal.lines import event_line

MakeJournal = Callable[[], Journal]


@pytest.fixture
def new_journal(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeJournal]:
    """Yield a function that returns another journal at `path`, as another process has one; each try is made at once."""
    monkeypatch.setattr(append_module, "_RETRY_SECONDS", 0.0)
    journals: list[Journal] = []

    def make() -> Journal:
        journal = Journal(path)
        journal.spools_to_file = True
        journals.append(journal)
        return journal

    yield make
    for journal in journals:
        journal.end()


def refuse(*_: object) -> None:
    """Fail as a full disk does."""
    raise OSError(28, "No space left on device")


def spool_files(path: Path) -> list[Path]:
    """Return the spool files of a journal."""
    return sorted(Path(spool_directory(str(path))).glob("*.jsonl"))


def test_line_that_cannot_be_written_waits_in_a_file_and_is_written_in_order(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spooled lines are in the kernel at return, stand before the next line later, and leave no file."""
    journal = new_journal()
    journal.append(event_line(0))
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write_locked", refuse)
        states = [journal.append(event_line(number)).state for number in (1, 2)]
        assert states == ["spooled", "spooled"]
        [file] = spool_files(path)
        assert file.read_bytes() == event_line(1) + event_line(2)
        assert file.stat().st_mode & 0o777 == 0o600
        assert (journal.spooled, journal.only_in_memory) == (2, 0)
    assert journal.append(event_line(3)).state == "journaled"
    assert path.read_bytes() == b"".join(map(event_line, range(4)))
    assert (journal.spooled, spool_files(path)) == (0, [])


def test_lines_wait_in_memory_behind_those_in_the_file(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file is full the next lines wait in memory, and all are written in their order."""
    monkeypatch.setattr(spool_module, "SPOOL_FILE_BYTES", 2 * len(event_line(1)))
    journal = new_journal()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write_locked", refuse)
        for number in range(5):
            assert journal.append(event_line(number)).state == "spooled"
        assert (journal.spooled, journal.only_in_memory) == (5, 3)
    assert journal.flush() == 0
    assert path.read_bytes() == b"".join(map(event_line, range(5)))


def test_spool_that_cannot_be_written_leaves_memory(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no spool file can be made lines wait in memory as before."""
    Path(spool_directory(str(path))).touch()
    journal = new_journal()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write_locked", refuse)
        assert journal.append(event_line(1)).state == "spooled"
        assert journal.only_in_memory == 1
    assert journal.flush() == 0
    assert path.read_bytes() == event_line(1)


def leave_behind(path: Path, name: str, data: bytes) -> Path:
    """Write a spool file whose process is gone."""
    file = Path(spool_directory(str(path))) / f"pattern_events.{name}.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    return file


def test_file_of_a_process_that_is_gone_is_merged_when_the_journal_is_opened(
    path: Path, new_journal: MakeJournal
) -> None:
    """Its whole lines stand before the opener's own, a fragment is left out, and the file goes."""
    leave_behind(path, "host-1-2", event_line(1) + event_line(2) + event_line(3)[:100])
    leave_behind(path, "host-2-2", event_line(4))
    other = Path(spool_directory(str(path))) / "another_journal.host-1-2.jsonl"
    other.write_bytes(event_line(9))
    assert new_journal().append(event_line(5)).state == "journaled"
    assert path.read_bytes() == b"".join(map(event_line, (1, 2, 4, 5)))
    assert spool_files(path) == [other]


def test_file_of_a_process_that_lives_is_left_alone(path: Path, new_journal: MakeJournal) -> None:
    """A spool file is locked as long as its process lives; the lock goes with it, however it ends."""
    alive = SpoolFile(str(path))
    assert alive.keep(event_line(1))
    new_journal().append(event_line(2))
    assert path.read_bytes() == event_line(2)
    alive.close()
    new_journal().append(event_line(3))
    assert path.read_bytes() == event_line(2) + event_line(1) + event_line(3)


def test_file_that_cannot_be_merged_now_is_merged_later(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the merge cannot be written either, the file stays, and its lines are written once."""
    file = leave_behind(path, "host-1-2", event_line(1))
    journal = new_journal()
    with monkeypatch.context() as patched:
        patched.setattr(append_module.os, "write", refuse)
        assert journal.append(event_line(2)).state == "spooled"
    assert file.read_bytes() == event_line(1)
    assert journal.append(event_line(3)).state == "journaled"
    assert path.read_bytes() == event_line(1) + event_line(2) + event_line(3)
    assert spool_files(path) == []


def test_lost_lines_are_put_on_record_when_writing_works_again(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gap is counted in the state file with the next line that is written; the journal holds no record of it."""
    monkeypatch.setattr(append_module, "SPOOL_BYTES", 0)
    monkeypatch.setattr(spool_module, "SPOOL_FILE_BYTES", 0)
    journal = new_journal()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write_locked", refuse)
        assert [journal.append(event_line(number)).state for number in range(3)] == ["lost"] * 3
    journal.append(event_line(3))
    journal.append(event_line(4))
    state = json.loads(Path(f"{path}.state").read_text())
    assert state["lost"] == 3
    assert [gap["lines"] for gap in state["gaps"]] == [3]
    assert path.read_bytes() == event_line(3) + event_line(4)


def test_opening_asks_for_left_files_once(path: Path, new_journal: MakeJournal) -> None:
    """Only whoever opens the file looks for what others have left: an append costs nothing more."""
    journal = new_journal()
    journal.append(event_line(1))
    leave_behind(path, "host-1-2", event_line(2))
    journal.append(event_line(3))
    assert path.read_bytes() == event_line(1) + event_line(3)


def test_line_kept_by_another_thread_while_the_spool_is_written_is_not_lost(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came into the spool file after it was read stays in it, and is written next."""
    journal = new_journal()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write_locked", refuse)
        journal.append(event_line(1))
    read = SpoolFile.read

    def read_and_be_late(file: SpoolFile) -> bytes:
        data = read(file)
        if data == event_line(1):
            assert file.keep(event_line(2))
        return data

    monkeypatch.setattr(SpoolFile, "read", read_and_be_late)
    journal.append(event_line(3))
    assert path.read_bytes() == event_line(1) + event_line(3) + event_line(2)
    assert (journal.spooled, spool_files(path)) == (0, [])


def test_files_left_behind_that_cannot_be_read_do_not_keep_others_from_writing(
    path: Path, new_journal: MakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spool file on a bad block costs its lines, counted, and no more."""
    leave_behind(path, "host-1-2", event_line(1))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spool_module, "_read", fail)
    journal = new_journal()
    assert journal.append(event_line(2)).state == "journaled"
    assert journal.guard.counts == {"spool": 1}
    assert path.read_bytes() == event_line(2)

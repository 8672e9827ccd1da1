"""Levels of durability: what is synced when, what a receipt says, and what becomes of a sync that fails."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_patterns.journal import sync as sync_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.read import read_documents
from otel_patterns.journal.segments import identity_of, sealed_segments
from otel_patterns.journal.sync import Syncer
from otel_patterns.settings import Durability
from tests.unit.journal.lines import event_line, segment_at


class Disk:
    """Stands in for the disk, and for the thread: what is to be synced is synced when the test says so."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._directory = str(directory)
        self.synced: list[int] = []
        self.failures = 0
        self.calls: list[bool] = []
        monkeypatch.setattr(sync_module, "sync_data", self._sync)
        monkeypatch.setattr(Syncer, "_call", self._call)

    def _sync(self, descriptor: int) -> None:
        if not os.readlink(f"/proc/self/fd/{descriptor}").startswith(self._directory):
            # The thread of another test's journal.
            return
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        self.synced.append(os.fstat(descriptor).st_ino)

    def _call(self, *, is_urgent: bool) -> None:
        self.calls.append(is_urgent)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Return a disk that does nothing by itself."""
    return Disk(tmp_path, monkeypatch)


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Yield a journal of level `group`."""
    journal = Journal(path)
    journal.durability = "group"
    yield journal
    journal.close()


def syncer_of(journal: Journal) -> Syncer:
    """Return the syncer of a journal."""
    return journal._syncer  # pyright: ignore[reportPrivateUsage]  # the thread calls it


def numbers_of(path: Path) -> list[int]:
    """Return the numbers of the distinct events of a journal."""
    found = {document["event_id"]: document["details"]["number"] for _, document in read_documents(path)}
    return list(found.values())


def test_group_line_is_durable_after_the_sync(journal: Journal, disk: Disk) -> None:
    """A line is not called durable before a sync that began after its write has come back."""
    first, second = journal.append(event_line(1)), journal.append(event_line(2))
    assert not first.durable
    syncer_of(journal).sync()
    third = journal.append(event_line(3))
    assert (first.durable, second.durable, third.durable) == (True, True, False)
    assert len(disk.synced) == 1


def test_os_line_is_never_called_durable(journal: Journal, disk: Disk) -> None:
    """At level `os` nobody syncs, so nobody knows; waiting returns at once."""
    receipt = journal.append(event_line(1), durability="os", is_terminal=True)
    syncer_of(journal).sync()
    assert (receipt.durable, receipt.wait(60), disk.calls, disk.synced) == (False, False, [], [])


@pytest.mark.parametrize(
    ("level", "is_terminal", "is_urgent"),
    [("group", False, False), ("group", True, True), ("each", False, True), ("each", True, True)],
)
def test_waiting_appends_call_at_once(
    journal: Journal, disk: Disk, level: Durability, *, is_terminal: bool, is_urgent: bool
) -> None:
    """`each` and the end of a run wait for a sync that begins at once; what nobody waits for may wait for others."""
    syncer = syncer_of(journal)

    def call(_syncer: Syncer, *, is_urgent: bool) -> None:
        disk.calls.append(is_urgent)
        if is_urgent:
            syncer.sync()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Syncer, "_call", call)
        receipt = journal.append(event_line(1), durability=level, is_terminal=is_terminal)
    assert (disk.calls[-1], receipt.durable) == (is_urgent, is_urgent)


def test_one_sync_serves_all_that_wait_and_calls_once(journal: Journal, disk: Disk) -> None:
    """Lines written between two syncs call the thread once and share one sync."""
    receipts = [journal.append(event_line(number)) for number in range(50)]
    assert disk.calls == [False]
    syncer_of(journal).sync()
    assert all(receipt.durable for receipt in receipts)
    assert len(disk.synced) == 1
    syncer_of(journal).sync()
    assert len(disk.synced) == 1, "nothing was written since"


def test_rotated_file_is_synced_although_the_journal_has_closed_it(journal: Journal, disk: Disk, path: Path) -> None:
    """Lines of a sealed file that were not synced yet are synced by a descriptor of the syncer's own."""
    journal.rotate(1)
    receipts = [journal.append(event_line(number)) for number in range(3)]
    files = [os.stat(segment.path).st_ino for segment in sealed_segments(path)] + [path.stat().st_ino]
    syncer_of(journal).sync()
    assert disk.synced == files
    assert all(receipt.durable for receipt in receipts)
    assert len(syncer_of(journal)._files) == 1  # pyright: ignore[reportPrivateUsage]  # no descriptor is left behind


def test_j19_failed_sync_is_final_and_its_lines_are_written_again(journal: Journal, disk: Disk, path: Path) -> None:
    """The file is left and never synced again; unsynced lines are in a new one, durable when that is synced."""
    good = journal.append(event_line(0))
    syncer_of(journal).sync()
    lines = [journal.append(event_line(number)) for number in (1, 2)]
    suspect = path.stat().st_ino
    disk.failures = 1
    disk.synced.clear()
    syncer_of(journal).sync()
    [segment] = sealed_segments(path)
    assert os.stat(segment.path).st_ino == suspect
    assert (good.durable, *(line.durable for line in lines)) == (True, False, False)
    assert path.read_bytes() == b"\n" + event_line(1) + event_line(2)
    later = journal.append(event_line(3))
    syncer_of(journal).sync()
    assert disk.synced == [path.stat().st_ino]
    assert all(receipt.durable for receipt in (good, *lines, later))
    assert numbers_of(path) == [0, 1, 2, 3]
    assert journal.guard.counts == {"sync": 1}
    state = json.loads(Path(f"{path}.state").read_text())
    assert (state["failed_syncs"], state["last_failed_sync"]["segment"]) == (1, identity_of(segment))
    assert state["last_failed_sync"]["error"] == "Input/output error"


def test_j19_files_that_begin_with_the_same_line_stay_distinct(journal: Journal, disk: Disk, path: Path) -> None:
    """When all lines of a file are written again, blank lines tell the two apart, however often it fails."""
    journal.append(event_line(1))
    disk.failures = 4
    for _ in range(4):
        syncer_of(journal).sync()
    names = [*map(identity_of, sealed_segments(path)), segment_at(path)]
    assert len(names) == len(set(names)) == 5
    assert numbers_of(path) == [1]
    assert path.read_bytes() == b"\n" * 4 + event_line(1)


def test_j19_lines_that_were_not_kept_are_never_called_durable(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: a line that cannot be written again after a failure stays not durable for good."""
    monkeypatch.setattr(sync_module, "KEPT_BYTES", 2 * len(event_line(1)))
    receipts = [journal.append(event_line(number)) for number in range(1, 5)]
    disk.failures = 1
    syncer_of(journal).sync()
    syncer_of(journal).sync()
    assert [receipt.durable for receipt in receipts] == [False, False, True, True]


def test_j19_failed_sync_while_nothing_can_be_written_is_made_up_for_later(
    journal: Journal, disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the new file cannot be made either, the lines are kept, nothing is called durable, and it is tried again."""
    receipt = journal.append(event_line(1))
    disk.failures = 1

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        syncer_of(journal).sync()
        syncer_of(journal).sync()
    assert (receipt.durable, disk.synced, sealed_segments(path)) == (False, [], [])
    syncer_of(journal).sync()
    syncer_of(journal).sync()
    assert receipt.durable
    assert disk.synced == [path.stat().st_ino]
    assert numbers_of(path) == [1]


def test_j19_file_that_another_process_has_left_is_not_sealed_again(journal: Journal, disk: Disk, path: Path) -> None:
    """Who learns of the failure later writes its own lines into the file that is there by then."""
    other = Journal(path)
    other.durability = "group"
    journal.append(event_line(1))
    other.append(event_line(2))
    for each in (journal, other):
        disk.failures = 1
        syncer_of(each).sync()
    other.close()
    assert len(sealed_segments(path)) == 1
    assert path.read_bytes().replace(b"\n\n", b"\n") == b"\n" + event_line(1) + event_line(2)


def test_line_for_which_no_descriptor_is_left_is_journaled_and_counted(
    journal: Journal, disk: Disk, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the syncer cannot have a descriptor of its own, the line is written once, and not called durable."""

    def refuse(_descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", refuse)
        receipt = journal.append(event_line(1), is_terminal=True)
    assert (receipt.state, receipt.durable, journal.guard.counts) == ("journaled", False, {"sync": 1})
    later = journal.append(event_line(2))
    syncer_of(journal).sync()
    assert (later.durable, disk.synced) == (True, [path.stat().st_ino])
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_full_sync_of_the_drive_is_asked_for_where_there_is_one(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """On macOS `fsync` leaves data in the drive's cache; `F_FULLFSYNC` does not, but not every volume has it."""
    asked: list[tuple[int, int]] = []
    path.touch()
    number = os.open(path, os.O_RDWR)

    def fcntl(descriptor: int, command: int) -> int:
        if descriptor != number:
            # The thread of another test's journal.
            raise OSError(errno.ENOTSUP, "Operation not supported")
        asked.append((descriptor, command))
        if len(asked) == 2:
            raise OSError(errno.ENOTSUP, "Operation not supported")
        if len(asked) == 3:
            raise OSError(errno.EIO, "Input/output error")
        return 0

    monkeypatch.setattr(sync_module, "_FULL_SYNC", 51)
    monkeypatch.setattr(sync_module.fcntl, "fcntl", fcntl)
    try:
        sync_module.sync_data(number)
        sync_module.sync_data(number)
        with pytest.raises(OSError, match="Input/output error"):
            sync_module.sync_data(number)
    finally:
        os.close(number)
    assert asked == [(number, 51)] * 3

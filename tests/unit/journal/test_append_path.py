"""Appending when the path, or the descriptor's number, has come to mean something else."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_patterns.journal.append import Journal
from tests.unit.journal.lines import NO_SPACE, Writes, bytes_at, event_line


def descriptors_of(path: Path) -> list[int]:
    """Return the numbers of this process's descriptors of a journal and its lock file."""
    numbers = [
        int(entry.name)
        for entry in Path("/proc/self/fd").iterdir()
        # The listing's own descriptor is closed by now.
        if os.path.lexists(entry) and str(entry.readlink()) in (str(path), f"{path}.lock")
    ]
    assert len(numbers) == 2
    return numbers


def test_append_after_rename_writes_to_new_file(path: Path, journal: Journal) -> None:
    """A journal that was renamed away is not written any more: the path decides."""
    before = journal.append(event_line(1))
    path.rename(path.with_suffix(".1"))
    after = journal.append(event_line(2))
    assert path.with_suffix(".1").read_bytes() == event_line(1)
    assert bytes_at(path, after) == path.read_bytes() == event_line(2)
    assert before.start is not None
    assert after.start is not None
    assert before.start.segment != after.start.segment


def test_append_after_replacement_writes_to_file_at_path(path: Path, journal: Journal, tmp_path: Path) -> None:
    """A file that was moved over the journal is continued behind its end."""
    journal.append(event_line(1))
    (tmp_path / "other").write_bytes(event_line(7) + b'{"torn')
    (tmp_path / "other").replace(path)
    receipt = journal.append(event_line(2))
    assert path.read_bytes() == event_line(7) + b'{"torn\n' + event_line(2)
    assert bytes_at(path, receipt) == event_line(2)


def test_append_after_delete_makes_file_again(path: Path, journal: Journal) -> None:
    """A deleted journal is made anew: writes to the deleted file would vanish."""
    journal.append(event_line(1))
    path.unlink()
    assert bytes_at(path, journal.append(event_line(2))) == event_line(2)
    assert path.read_bytes() == event_line(2)


def test_append_after_directory_was_deleted_makes_it_again(tmp_path: Path) -> None:
    """Also when the whole directory went away, lock file and all, the next line is written."""
    path = tmp_path / "events" / "pattern_events.jsonl"
    journal = Journal(path)
    journal.append(event_line(1))
    (tmp_path / "events").rename(tmp_path / "gone")
    assert journal.append(event_line(2)).state == "journaled"
    journal.close()
    assert path.read_bytes() == event_line(2)


def test_append_after_truncation_begins_at_zero(path: Path, journal: Journal) -> None:
    """After copytruncate the file goes on at its beginning, without a hole of NUL bytes."""
    journal.append(event_line(1))
    os.truncate(path, 0)
    receipt = journal.append(event_line(2))
    assert path.read_bytes() == event_line(2)
    assert bytes_at(path, receipt) == event_line(2)


def cut_at_next_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Empty the file from outside just after append has looked at its size; return what happened."""
    happened: list[str] = []
    lstat = os.lstat

    def look(there: str) -> os.stat_result:
        status = lstat(there)
        if there == str(path) and not happened:
            os.truncate(path, 0)
            happened.append("cut")
        return status

    monkeypatch.setattr(os, "lstat", look)
    return happened


def test_append_truncated_between_look_and_write_points_at_line(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursors are where the line came to stand, not where it was expected."""
    journal.append(event_line(1))
    happened = cut_at_next_look(path, monkeypatch)
    receipt = journal.append(event_line(2))
    assert happened == ["cut"]
    assert bytes_at(path, receipt) == event_line(2)


def test_append_cut_back_after_truncation_leaves_no_hole(
    path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cutting back goes to where the write began: the size from before a truncation would make NUL bytes."""
    journal.append(event_line(1))
    happened = cut_at_next_look(path, monkeypatch)
    monkeypatch.setattr(os, "write", Writes(100, NO_SPACE))
    assert journal.append(event_line(2)).state == "spooled"
    assert happened == ["cut"]
    assert path.read_bytes() == b""


def make_directory(path: Path) -> None:
    """Put a directory at the path."""
    path.mkdir()


def make_fifo(path: Path) -> None:
    """Put a FIFO at the path."""
    os.mkfifo(path)


def make_symlink(path: Path) -> None:
    """Put a symbolic link to a file at the path."""
    path.with_name("target").write_bytes(b"precious\n")
    path.symlink_to("target")


def make_dangling_symlink(path: Path) -> None:
    """Put a symbolic link to nothing at the path."""
    path.symlink_to("nothing")


OBSTACLES = [make_directory, make_fifo, make_symlink, make_dangling_symlink]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("suffix", ["", ".lock"])
@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_append_to_what_is_no_file_keeps_line_and_names_path(
    path: Path, obstacle: Callable[[Path], None], suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no regular file is neither written nor waited for; the log names it, and the line is kept."""
    place = Path(f"{path}{suffix}")
    obstacle(place)
    journal = Journal(path)
    with caplog.at_level(logging.WARNING, logger="otel_patterns"):
        assert journal.append(event_line(1)).state == "spooled"
    assert str(place) in caplog.text
    assert journal.guard.counts == {"spooled": 1}
    if obstacle is make_symlink:
        assert place.with_name("target").read_bytes() == b"precious\n"
    assert not place.with_name("nothing").exists()
    if obstacle is make_directory:
        place.rmdir()
    else:
        place.unlink()
    assert journal.flush() == 0
    journal.close()
    assert path.read_bytes() == event_line(1)


def test_append_below_a_file_keeps_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A path below something that is no directory is an obstacle like any other."""
    (tmp_path / "state").write_bytes(b"")
    journal = Journal(tmp_path / "state" / "events" / "pattern_events.jsonl")
    with caplog.at_level(logging.WARNING, logger="otel_patterns"):
        assert journal.append(event_line(1)).state == "spooled"
    assert journal.path in caplog.text
    (tmp_path / "state").unlink()
    assert journal.flush() == 0
    journal.close()


def test_append_to_journal_that_became_symlink_is_refused(path: Path, journal: Journal, tmp_path: Path) -> None:
    """A symbolic link is refused while running as it is at the start, even when it leads to the opened file."""
    journal.append(event_line(1))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to("elsewhere")
    assert journal.append(event_line(2)).state == "spooled"
    assert (tmp_path / "elsewhere").read_bytes() == event_line(1)


def test_append_after_all_descriptors_were_closed_opens_again(path: Path, journal: Journal) -> None:
    """A program that closes every descriptor to become a daemon does not end its own journal."""
    journal.append(event_line(1))
    for number in descriptors_of(path):
        os.close(number)
    assert journal.append(event_line(2)).state == "journaled"
    assert path.read_bytes() == event_line(1) + event_line(2)


def test_append_does_not_touch_file_that_got_its_number(path: Path, journal: Journal, tmp_path: Path) -> None:
    """When a descriptor's number means somebody else's file by now, that is neither written, locked nor closed."""
    journal.append(event_line(1))
    numbers = descriptors_of(path)
    for number in numbers:
        os.close(number)
    others = [os.open(tmp_path / f"other{index}", os.O_RDWR | os.O_CREAT) for index in range(2)]
    assert sorted(others) == sorted(numbers)
    assert journal.append(event_line(2)).state == "journaled"
    journal.close()
    assert path.read_bytes() == event_line(1) + event_line(2)
    for index, number in enumerate(others):
        assert os.fstat(number).st_size == 0
        assert Path(f"/proc/self/fd/{number}").readlink() == tmp_path / f"other{index}"
        os.close(number)

"""What the files beside a journal tell, and that looking changes none of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from otel_patterns.journal import health
from otel_patterns.journal.append import Journal
from otel_patterns.journal.health import count_quarantined, find_obstacle, find_spooled
from tests.unit.journal.lines import event_line


def deny(_path: str, _mode: int) -> bool:
    """Answer as `os.access` does to whom nothing is allowed."""
    return False


def full(_path: str) -> SimpleNamespace:
    """Answer as `os.statvfs` does of a full disk."""
    return SimpleNamespace(f_bavail=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal that was written to."""
    path = tmp_path / "state" / "pattern_events.jsonl"
    journal = Journal(path)
    journal.append(event_line(0))
    journal.close()
    return path


def test_journal_that_can_be_written_has_no_obstacle(path: Path, tmp_path: Path) -> None:
    """Neither has one whose directories are to be made; they are not made by looking."""
    assert find_obstacle(str(path)) is None
    assert find_obstacle(str(tmp_path / "none" / "here" / "j.jsonl")) is None
    assert not (tmp_path / "none").exists()


def test_obstacle_is_what_stands_at_the_path(path: Path) -> None:
    """No regular file, a link, and a directory that is a file: each is named, as writing would find it."""
    path.unlink()
    os.mkfifo(path)
    assert find_obstacle(str(path)) == f"{path}: is no regular file"
    path.unlink()
    path.symlink_to("elsewhere")
    assert find_obstacle(str(path)) == f"{path}: is a symbolic link"
    below = path.parent / "file"
    below.touch()
    assert str(find_obstacle(str(below / "j.jsonl"))).endswith(("Not a directory", "is no directory"))
    journal = Journal(path, spool_lines=0)
    assert journal.append(event_line(1)).state == "lost"
    journal.close()


def test_obstacle_is_a_file_that_may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Journal and lock must be open to writing, and the directory when one of them is to be made."""

    def refuse(name: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", name)

    with monkeypatch.context() as patch:
        patch.setattr(health.os, "open", refuse)
        assert find_obstacle(str(path)) == f"{path}: Permission denied"
    monkeypatch.setattr(health.os, "access", deny)
    assert find_obstacle(str(path)) is None
    Path(f"{path}.lock").unlink()
    assert find_obstacle(str(path)) == f"{path.parent}: no file can be made here"


def test_obstacle_is_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for others than root is none."""
    monkeypatch.setattr(health.os, "statvfs", full)
    assert find_obstacle(str(path)) == f"{path.parent}: the disk is full"


def test_empty_spool_files_and_missing_directories_are_nothing(path: Path) -> None:
    """A process keeps its spool file as long as it lives."""
    assert (list(find_spooled(str(path))), count_quarantined(str(path))) == ([], 0)
    spool = path.parent / "spool"
    spool.mkdir()
    (spool / "pattern_events.host-1-2.jsonl").touch()
    assert list(find_spooled(str(path))) == []
    (spool / "pattern_events.host-1-2.jsonl").write_bytes(event_line(1) + event_line(2))
    assert [each.lines for each in find_spooled(str(path))] == [2]

"""Which files a command has made."""

import os
from pathlib import Path

import pytest

from otel_patterns.runner.artifacts import MAX_ARTIFACTS, Artifacts


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the working directory."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def test_artifacts_are_the_files_created_or_changed(folder: Path) -> None:
    """What matched before and is as it was is no artifact; paths are relative and sorted, each once."""
    (folder / "old.txt").write_text("old")
    (folder / "changed.txt").write_text("before")
    (folder / "gone.txt").write_text("gone")
    artifacts = Artifacts(["*.txt", "**/*.txt", "./*.txt"])
    (folder / "changed.txt").write_text("and after")
    (folder / "gone.txt").unlink()
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "new.txt").write_text("new")
    (folder / "other.log").write_text("does not match")
    (folder / "folder.txt").mkdir()
    assert artifacts.changed() == ["changed.txt", "deep/er/new.txt"]


def test_artifacts_copied_with_an_old_time_count(folder: Path) -> None:
    """A file that is new here is an artifact whatever its time says, as after `cp -p`."""
    artifacts = Artifacts(["*"])
    (folder / "new").write_text("new")
    os.utime(folder / "new", (0, 0))
    assert artifacts.changed() == ["new"]


def test_artifacts_outside_of_the_working_directory_are_absolute(folder: Path, tmp_path: Path) -> None:
    """An absolute pattern gives absolute paths, unless they lie below the working directory."""
    artifacts = Artifacts([f"{tmp_path}/**"])
    (tmp_path / "outside").write_text("")
    (folder / "inside").write_text("")
    assert artifacts.changed() == [str(tmp_path / "outside"), "inside"]


def test_artifacts_are_bounded(folder: Path) -> None:
    """A pattern that matches a cache does not fill the journal."""
    artifacts = Artifacts(["*"])
    for number in range(MAX_ARTIFACTS + 10):
        (folder / f"{number:05}").touch()
    assert artifacts.changed() == [f"{number:05}" for number in range(MAX_ARTIFACTS)]


def test_artifacts_without_a_working_directory_are_none(folder: Path) -> None:
    """A working directory that is gone, before or after, is no reason to fail."""
    artifacts = Artifacts(["*"])
    folder.rmdir()
    assert artifacts.changed() == []
    assert Artifacts(["*"]).changed() == []

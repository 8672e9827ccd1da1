"""The watch only shortens waits: with inotify, without it, and with a directory that is not there yet."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

from otel_patterns.journal import watch as watch_module
from otel_patterns.journal.watch import DirectoryWatch


class Naps:
    """Stands in for the module `time` and notes what was slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


class Libc:
    """A C library without inotify."""

    def __init__(self, _name: str | None, *, use_errno: bool) -> None:
        assert use_errno


class LibcWithoutInstances(Libc):
    """A C library whose inotify refuses."""

    def inotify_init1(self, _flags: int) -> int:
        return -1


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    """Let the watch note its naps instead of taking them."""
    naps = Naps()
    monkeypatch.setattr(watch_module, "time", naps)
    return naps


def test_wait_after_change_returns_at_once(tmp_path: Path, naps: Naps) -> None:
    """What happened since the last wait ends the next one: between a look and a wait nothing is missed."""
    (tmp_path / "journal").touch()
    watch = DirectoryWatch(str(tmp_path))
    (tmp_path / "journal").write_bytes(b"line\n")
    before = time.monotonic()
    watch.wait(30)
    assert time.monotonic() - before < 10
    # One rest, so that a busy journal wakes the follower once for many lines.
    assert naps.seconds == [0.01]
    watch.close()


@pytest.mark.parametrize("change", ["write", "create", "move"])
def test_wait_wakes_for_every_kind_of_change(tmp_path: Path, naps: Naps, change: str) -> None:
    """Writing, creating and moving into place each wake, and each is told once."""
    (tmp_path / "journal").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other").touch()
    watch = DirectoryWatch(str(tmp_path))
    if change == "write":
        (tmp_path / "journal").write_bytes(b"line\n")
    elif change == "create":
        (tmp_path / "new").touch()
    else:
        (elsewhere / "other").rename(tmp_path / "moved")
    watch.wait(30)
    watch.wait(0)
    assert naps.seconds == [0.01]
    watch.close()


def test_wait_without_inotify_sleeps(tmp_path: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no inotify, a wait is a sleep."""
    monkeypatch.setattr(ctypes, "CDLL", Libc)
    watch = DirectoryWatch(str(tmp_path))
    watch.wait(0.2)
    watch.wait(0.1)
    watch.close()
    assert naps.seconds == [0.2, 0.1]


def test_wait_without_free_instances_sleeps(tmp_path: Path, naps: Naps, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the user's inotify instances are used up, a wait is a sleep."""
    monkeypatch.setattr(ctypes, "CDLL", LibcWithoutInstances)
    watch = DirectoryWatch(str(tmp_path))
    watch.wait(0.2)
    watch.close()
    assert naps.seconds == [0.2]


def test_wait_for_directory_that_appears_wakes_from_then_on(tmp_path: Path, naps: Naps) -> None:
    """A directory that is not there is slept for, without leaving descriptors, and watched once it is there."""
    before = set(os.listdir("/proc/self/fd"))
    directory = tmp_path / "later"
    watch = DirectoryWatch(str(directory))
    watch.wait(0.2)
    assert naps.seconds == [0.2]
    assert set(os.listdir("/proc/self/fd")) == before
    directory.mkdir()
    watch.wait(0)
    (directory / "journal").touch()
    watch.wait(30)
    assert naps.seconds == [0.2, 0.01]
    watch.close()
    watch.close()
    assert set(os.listdir("/proc/self/fd")) == before

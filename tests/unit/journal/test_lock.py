"""The lock between processes; two objects stand for two processes here, for `flock` belongs to the opened file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.errors import JournalError
from otel_patterns.journal import lock as lock_module
from otel_patterns.journal.lock import FileLock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a lock file."""
    return tmp_path / "journal.lock"


@pytest.fixture
def locks(path: Path) -> Iterator[tuple[FileLock, FileLock]]:
    """Yield two locks on one path."""
    pair = FileLock(str(path)), FileLock(str(path))
    yield pair
    for lock in pair:
        lock.close()


class FakeTime:
    """Stands in for the module `time`: sleeping only moves the clock."""

    def __init__(self) -> None:
        self.seconds = 5.0
        self.naps: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds


def test_lock_held_elsewhere_is_refused_at_deadline(
    path: Path, locks: tuple[FileLock, FileLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting ends exactly at the deadline, with an error that names the lock file."""
    fake = FakeTime()
    monkeypatch.setattr(lock_module, "time", fake)
    mine, other = locks
    other.acquire(0)
    with pytest.raises(JournalError, match=r"locked by another process for 2\.0 s") as caught:
        mine.acquire(2.0)
    assert caught.value.path == str(path)
    assert fake.seconds == pytest.approx(7.0)
    assert max(fake.naps) <= 0.005
    other.release()
    mine.acquire(0)


def test_lock_closed_is_free(locks: tuple[FileLock, FileLock]) -> None:
    """Closing gives the lock back, and the object can take it again."""
    mine, other = locks
    mine.acquire(0)
    mine.close()
    other.acquire(0)
    other.close()
    mine.acquire(0)


def test_lock_release_of_what_was_never_taken_does_nothing(locks: tuple[FileLock, FileLock]) -> None:
    """Cleaning up after a failed attempt raises nothing and frees nobody else's lock."""
    mine, other = locks
    mine.release()
    other.acquire(0)
    with pytest.raises(JournalError):
        mine.acquire(0)
    mine.release()
    with pytest.raises(JournalError):
        mine.acquire(0)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_lock_file_removed_or_replaced_is_noticed_before_use(
    path: Path, locks: tuple[FileLock, FileLock], monkeypatch: pytest.MonkeyPatch, *, is_replaced: bool
) -> None:
    """Who takes the lock holds the file that stood at the path 20 ms ago, or a newer one."""
    fake = FakeTime()
    monkeypatch.setattr(lock_module, "time", fake)
    mine, other = locks
    mine.acquire(0)
    mine.release()
    path.unlink()
    if is_replaced:
        path.touch()
    fake.seconds += 0.021
    mine.acquire(0)
    with pytest.raises(JournalError):
        other.acquire(0)


def test_lock_file_removed_a_moment_ago_is_noticed_when_told(path: Path, locks: tuple[FileLock, FileLock]) -> None:
    """Whoever finds that something was moved there asks for another look, and does not wait for the next one."""
    mine, other = locks
    mine.acquire(0)
    mine.release()
    path.unlink()
    mine.look_again()
    mine.acquire(0)
    with pytest.raises(JournalError):
        other.acquire(0)


def test_lock_descriptor_closed_by_others_is_opened_again(path: Path, locks: tuple[FileLock, FileLock]) -> None:
    """A program that closes all descriptors, as one that becomes a daemon does, still gets a lock that holds."""
    mine, other = locks
    mine.acquire(0)
    mine.release()
    opened = [int(number) for number in os.listdir("/proc/self/fd") if is_open_at(int(number), path)]
    os.close(opened[0])
    mine.acquire(0)
    with pytest.raises(JournalError):
        other.acquire(0)


def is_open_at(number: int, path: Path) -> bool:
    """Tell whether a descriptor of this process is the file at a path."""
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False


def test_lock_file_replaced_between_open_and_lock_is_noticed(
    path: Path, locks: tuple[FileLock, FileLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look at the path comes after the lock was taken, not before."""
    mine, other = locks
    replaced: list[int] = []
    flock = fcntl.flock

    def replace_first(descriptor: int, operation: int) -> None:
        if not replaced:
            replaced.append(path.stat().st_ino)
            path.rename(path.with_suffix(".former"))
            path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    mine.acquire(0)
    assert replaced
    assert path.stat().st_ino not in replaced
    with pytest.raises(JournalError):
        other.acquire(0)


def test_lock_interrupted_right_after_it_was_taken_can_be_released(
    locks: tuple[FileLock, FileLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt between the system call and whatever follows it does not leave the lock held."""
    mine, other = locks
    flock = fcntl.flock

    def interrupted(descriptor: int, operation: int) -> Any:
        flock(descriptor, operation)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mine.acquire(0)
    with pytest.raises(JournalError):
        other.acquire(0)
    mine.release()
    other.acquire(0)


@pytest.mark.timeout(10)
def test_lock_path_that_is_fifo_is_refused(path: Path) -> None:
    """Anything but a regular file is refused with its path, without waiting for its other end."""
    os.mkfifo(path)
    lock = FileLock(str(path))
    with pytest.raises(JournalError, match="is no regular file"):
        lock.acquire(0)
    lock.close()

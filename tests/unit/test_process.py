"""Processes: what identifies one, and whether it still lives."""

import os
import subprocess
import sys

import pytest

from otel_patterns import process
from otel_patterns.process import is_gone, writer_of


def test_process_that_lives_is_not_gone() -> None:
    """Ours is there, as it described itself."""
    assert is_gone(writer_of(os.getpid())) is False


def test_process_that_has_ended_is_gone() -> None:
    """Also while nobody has asked for its exit code yet."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        writer = dict(writer_of(child.pid))
        assert is_gone(writer) is False
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(writer) is True
    assert is_gone(writer) is True


def test_process_whose_number_another_one_has_is_gone() -> None:
    """A number is used again: the start time tells the two apart."""
    writer = writer_of(os.getpid())
    assert is_gone({**writer, "start": writer["start"] - 1}) is True


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere"},
        {"boot": "00000000-0000-0000-0000-000000000000"},
        {"boot": ""},
        {"boot": None},
        {"start": None},
        {"start": "1"},
        {"pid": None},
        {"pid": True},
        {"pid": 0},
    ],
    ids=str,
)
def test_process_of_another_host_or_boot_may_live_or_not(change: dict[str, object]) -> None:
    """What cannot be looked at from here is not called gone."""
    assert is_gone({**writer_of(os.getpid()), **change}) is None


def test_process_without_procfs_is_described_by_host_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without procfs records less, and nothing is concluded from that."""
    monkeypatch.setattr(process, "_boot_id", lambda: "")
    writer = writer_of.__wrapped__(os.getpid())
    assert writer == {"host": os.uname().nodename, "pid": os.getpid()}
    assert is_gone(writer) is None

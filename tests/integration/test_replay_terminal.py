"""`otel-patterns replay` with somebody at a terminal: what he sees of its progress."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.journals import write_journal
from otel_patterns.journal.segments import path_of_number
from tests.receiver import Receiver, Reply
from tests.terminals import CTRL_C, screen

REDRAWN = b"\r\x1b[K"


def slowly(_number: int) -> Reply:
    """Answer after a while."""
    time.sleep(0.3)
    return Reply()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a journal of two files, whose runs take several requests."""
    path = tmp_path / "pattern_events.jsonl"
    write_journal(path, 15_000)
    lines = path.read_bytes().splitlines(keepends=True)
    Path(path_of_number(str(path), 1)).write_bytes(b"".join(lines[:10_000]))
    path.write_bytes(b"".join(lines[10_000:]))
    return path


def command(journal: Path, *arguments: str) -> list[str]:
    """Return the command line of a replay."""
    return [sys.executable, "-m", "otel_patterns", "replay", "--journal", str(journal), *arguments]


def environment(receiver: Receiver, **more: str) -> dict[str, str]:
    """Return its variables."""
    return {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url,
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        **more,
    }


def test_replay_on_a_terminal_draws_how_far_it_is_in_one_line(journal: Path, tmp_path: Path) -> None:
    """It grows in its place, keeps to the window's width, and nothing of it is left at the end."""
    with (
        Receiver(slowly) as receiver,
        screen(command(journal), env=environment(receiver), cwd=str(tmp_path), columns=70) as opened,
    ):
        opened.wait_for("spans/s", times=2)
        opened.resize(24, 40)
        assert opened.end() == 0
        *drawn, last = opened.seen.split(REDRAWN)
    shares = [int(line.split(b"%")[0].split()[-1]) for line in drawn if b"%" in line]
    assert shares == sorted(shares)
    assert len(set(shares)) > 2
    assert all(b"\n" not in line for line in drawn)
    assert max(len(line.decode()) for line in drawn) < 70
    assert last.startswith(b"otel-patterns: http")
    assert b" runs delivered (" in last
    assert last.count(b"\n") == 1


def test_replay_that_is_interrupted_leaves_no_half_drawn_line(journal: Path, tmp_path: Path) -> None:
    """Ctrl-C ends it at once, and the next replay goes on."""
    with (
        Receiver(slowly) as receiver,
        screen(command(journal), env=environment(receiver), cwd=str(tmp_path)) as opened,
    ):
        opened.wait_for("spans/s")
        opened.type(CTRL_C)
        assert opened.end() != 0
        assert b"spans/s" not in opened.seen.split(REDRAWN)[-1]


@pytest.mark.parametrize(("term", "arguments"), [("dumb", ()), ("xterm", ("--dry-run",))])
def test_replay_prints_lines_where_no_line_can_be_redrawn_or_all_are_wanted(
    journal: Path, tmp_path: Path, term: str, arguments: tuple[str, ...]
) -> None:
    """One for each run."""
    with (
        Receiver() as receiver,
        screen(command(journal, *arguments), env=environment(receiver, TERM=term), cwd=str(tmp_path)) as opened,
    ):
        assert opened.end() == 0
    assert opened.seen.count(b"PRUN-") > 2000
    assert REDRAWN not in opened.seen

"""Following a journal. Waiting is scripted: each wait performs the next step instead of letting time go by."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_patterns.errors import JournalError
from otel_patterns.journal import follow
from otel_patterns.journal.cursor import BEGINNING, Cursor
from otel_patterns.journal.follow import follow_lines
from tests.unit.journal.lines import CountingFile, add, cursor_at, event_line

Step = Callable[[], object]


class Script:
    """Follows a journal while steps happen to it."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.restarts: list[str] = []
        self.waits: list[float] = []
        self._steps: list[Step] = []
        self._stop = threading.Event()
        script = self

        class ScriptedWatch:
            def __init__(self, directory: str) -> None:
                assert directory == str(path.parent)

            def wait(self, seconds: float) -> None:
                script.waits.append(seconds)
                if script._steps:
                    script._steps.pop(0)()
                else:
                    script._stop.set()

            def close(self) -> None:
                pass

        monkeypatch.setattr(follow, "DirectoryWatch", ScriptedWatch)

    def run(self, *steps: Step, start: Cursor | None = None) -> list[bytes]:
        """Return the lines that are followed while the steps happen, one at each wait."""
        self._steps = list(steps)
        lines = [
            line.data + b"\n"
            for line in follow_lines(self.path, start=start, stop=self._stop, on_restart=self.restarts.append)
        ]
        assert not self._steps, "following ended before the last step"
        return lines


@pytest.fixture
def script(path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Return a follower of `path` whose waits are steps."""
    return Script(path, monkeypatch)


def test_follow_without_start_yields_new_lines_alone(path: Path, script: Script) -> None:
    """Following begins behind the last complete line; nothing is restarted, and no wait is longer than 0.2 s."""
    add(path, event_line(1) + event_line(2)[:50])
    found = script.run(lambda: add(path, event_line(2)[50:]), lambda: add(path, event_line(3) + event_line(4)))
    assert found == [event_line(2), event_line(3), event_line(4)]
    assert script.restarts == []
    assert set(script.waits) == {0.2}


def test_follow_from_start_goes_on_there(path: Path, script: Script) -> None:
    """A follower that knows where it was gets exactly what came after."""
    _, end = add(path, event_line(1))
    add(path, event_line(2))
    assert script.run(lambda: add(path, event_line(3)), start=cursor_at(path, end)) == [event_line(2), event_line(3)]


def test_follow_from_beyond_end_begins_again(path: Path, script: Script) -> None:
    """A position that the file does not have any more was in a longer one: reading begins at the beginning."""
    add(path, event_line(1))
    assert script.run(start=cursor_at(path, 10_000)) == [event_line(1)]
    assert script.restarts == ["truncated"]


def test_follow_torn_line_yields_it_once_when_complete(path: Path, script: Script) -> None:
    """A line that is written byte by byte is yielded once, when its newline came."""
    add(path, event_line(1))
    pieces = [event_line(2)[at : at + 60] for at in range(0, len(event_line(2)), 60)]
    steps = [lambda piece=piece: add(path, piece) for piece in pieces]
    assert len(steps) > 3
    assert script.run(*steps) == [event_line(2)]


def test_follow_write_cut_back_is_no_restart(path: Path, script: Script) -> None:
    """A writer that cuts back its own unfinished line has truncated nothing that was read."""
    size = add(path, event_line(1))[1]
    found = script.run(
        lambda: add(path, event_line(7, size=500)[:400]),
        lambda: os.truncate(path, size),
        lambda: add(path, event_line(2)),
        lambda: add(path, b'{"torn again'),
        lambda: (os.truncate(path, size + len(event_line(2))), add(path, event_line(3, size=300))),
    )
    assert found == [event_line(2), event_line(3, size=300)]
    assert script.restarts == []


def test_follow_truncated_file_begins_again(path: Path, script: Script) -> None:
    """After copytruncate what is there now is read from its beginning, and the consumer is told."""
    add(path, event_line(1) + event_line(2))
    found = script.run(
        lambda: add(path, event_line(3)),
        lambda: os.truncate(path, 0),
        lambda: add(path, event_line(4)),
    )
    assert found == [event_line(3), event_line(4)]
    assert script.restarts == ["truncated"]


def test_follow_deleted_file_is_followed_when_it_is_back(path: Path, script: Script) -> None:
    """A deleted journal that is made again is read from its beginning."""
    add(path, event_line(1))
    found = script.run(path.unlink, lambda: add(path, event_line(2)), lambda: add(path, event_line(3)))
    assert found == [event_line(2), event_line(3)]
    assert script.restarts == ["replaced"]


def test_follow_renamed_file_is_read_to_its_end_first(path: Path, script: Script) -> None:
    """Lines that came into the former file after the last look are not lost, and come before the new file's."""
    add(path, event_line(1))

    def rename() -> None:
        add(path, event_line(2))
        path.rename(path.with_suffix(".1"))
        add(path.with_suffix(".1"), event_line(3))
        add(path, event_line(4))

    assert script.run(rename, lambda: add(path, event_line(5))) == [event_line(number) for number in (2, 3, 4, 5)]
    assert script.restarts == ["replaced"]


def test_follow_line_written_between_last_look_and_rename_is_not_lost(
    path: Path, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a follower leaves a file that was renamed away, it looks at it once more."""
    add(path, event_line(1))
    stat = os.stat
    happened: list[str] = []

    def rename_first(*arguments: Any, **options: Any) -> os.stat_result:
        if arguments == (path,):
            happened.append("look")
        # The first look is the one with which following begins.
        if len(happened) == 2:
            happened.append("renamed")
            add(path, event_line(2))
            path.rename(path.with_suffix(".1"))
            add(path, event_line(3))
        return stat(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", rename_first)
        found = script.run()
    assert happened[:3] == ["look", "look", "renamed"]
    assert found == [event_line(2), event_line(3)]


def test_follow_replacement_of_same_size_and_time_is_read(path: Path, script: Script, tmp_path: Path) -> None:
    """A file that was moved over the journal is read also when its size and time are the former one's."""
    add(path, event_line(1))
    other = tmp_path / "other"
    add(other, event_line(2))

    def move_over() -> None:
        status = path.stat()
        assert other.stat().st_size == status.st_size
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)

    assert script.run(move_over) == [event_line(2)]


def test_follow_file_moved_over_is_read_from_beginning(path: Path, script: Script, tmp_path: Path) -> None:
    """A file that was moved over the journal is another one, however long it is."""
    add(path, event_line(1))
    add(tmp_path / "other", event_line(8) * 5)
    assert script.run(lambda: (tmp_path / "other").replace(path)) == [event_line(8)] * 5
    assert script.restarts == ["replaced"]


def test_follow_missing_file_yields_all_of_it_when_it_appears(path: Path, script: Script) -> None:
    """Everything in a journal that was not there when following began is new."""
    found = script.run(lambda: None, lambda: add(path, event_line(1)), lambda: add(path, event_line(2)))
    assert found == [event_line(1), event_line(2)]
    assert script.restarts == []


def test_follow_missing_directory_yields_all_when_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following may begin before the first event has made the directory."""
    path = tmp_path / "state" / "events" / "pattern_events.jsonl"
    script = Script(path, monkeypatch)
    found = script.run(lambda: None, lambda: path.parent.mkdir(parents=True), lambda: add(path, event_line(1)))
    assert found == [event_line(1)]


def test_follow_path_below_what_became_a_file_goes_on_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the directory is replaced by something else, the follower waits for it to be back."""
    path = tmp_path / "events" / "pattern_events.jsonl"
    path.parent.mkdir()
    add(path, event_line(1))
    script = Script(path, monkeypatch)

    def bring_back() -> None:
        path.parent.unlink()
        path.parent.mkdir()
        add(path, event_line(2))

    gone = tmp_path / "gone"
    found = script.run(lambda: path.parent.rename(gone), lambda: path.parent.write_bytes(b""), bring_back)
    assert found == [event_line(2)]


def test_follow_path_that_is_directory_raises(path: Path, script: Script) -> None:
    """What can never be followed is an error that names it."""
    path.mkdir()
    with pytest.raises(JournalError, match="is no regular file"):
        script.run()


def test_follow_stop_within_lines_ends_at_once(path: Path) -> None:
    """A consumer that stops gets no further line, also when many are at hand."""
    add(path, event_line(1) * 50)
    stop = threading.Event()
    found = 0
    for _ in follow_lines(path, start=BEGINNING, stop=stop):
        found += 1
        if found == 3:
            stop.set()
    assert found == 3


def test_follow_closed_leaves_no_descriptor(path: Path) -> None:
    """Who breaks off following leaves neither the file nor the watch open."""
    add(path, event_line(1))
    before = set(os.listdir("/proc/self/fd"))
    lines = follow_lines(path, start=BEGINNING)
    next(lines)
    assert set(os.listdir("/proc/self/fd")) != before
    lines.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_follow_costs_what_is_new(path: Path, script: Script, counting: type[CountingFile]) -> None:
    """Each line is read once, whatever stands before it: 100 new lines behind 20 MB cost 100 lines."""
    add(path, event_line(1, size=200_000) * 100)
    found = script.run(*[lambda number=number: add(path, event_line(number)) for number in range(100)])
    assert len(found) == 100
    look_for_end = 64 * 1024
    assert counting.bytes_read <= look_for_end + 100 * len(event_line(99))


def test_follow_unfinished_line_is_not_read_while_nothing_happens(
    path: Path, script: Script, counting: type[CountingFile]
) -> None:
    """A fragment that nobody completes is not read again and again: the follower of a killed writer idles."""
    start = cursor_at(path, add(path, event_line(1))[1])
    add(path, b"x" * 5_000_000)
    found = script.run(*[lambda: None] * 100, lambda: add(path, b"\n" + event_line(2)), start=start)
    assert found == [event_line(2)]
    assert counting.bytes_read < 3 * 5_000_000


STEPS = st.lists(
    st.sampled_from(["line", "line", "lines", "fragment", "blank", "oversized", "rename", "delete", "nothing"]),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_follow_any_history_yields_every_line_once_in_order(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever happens between two looks, every complete line comes exactly once, in the order of writing."""
    path = tmp_path_factory.mktemp("follow") / "journal"
    expected: list[bytes] = []
    fragment = b""

    def write(*lines: bytes) -> None:
        nonlocal fragment
        if fragment:
            expected.append(fragment + b"\n")
            add(path, b"\n")
            fragment = b""
        for line in lines:
            expected.append(line)
            add(path, line)

    def perform(step: str, number: int) -> None:
        nonlocal fragment
        if step == "line":
            write(event_line(number))
        elif step == "lines":
            write(event_line(number), event_line(100 + number, size=9000))
        elif step == "blank":
            write()
            add(path, b"\n")
        elif step == "oversized":
            write()
            add(path, b"y" * 1_100_000 + b"\n")
        elif step == "fragment":
            add(path, piece := f'{{"fragment {number}'.encode())
            fragment += piece
        elif step in ("rename", "delete") and path.exists():
            write()
            if step == "rename":
                path.rename(path.with_suffix(f".{number}"))
            else:
                path.unlink()
            add(path, b"")

    with pytest.MonkeyPatch.context() as monkeypatch:
        script = Script(path, monkeypatch)
        found = script.run(
            *[lambda step=step, number=number: perform(step, number) for number, step in enumerate(steps)]
        )
    assert found == expected

"""The journal under kills, stopped processes, forks, signals, full disks and forbidden directories.

A test's number is that of the fault in the fault list: J for the journal, R for its readers.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.journal import append as append_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.compress import is_plain
from otel_patterns.journal.cursor import Cursor, segment_of_file
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.index import index_directory, load_index
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.lookup import read_run
from otel_patterns.journal.read import read_documents
from otel_patterns.journal.segments import identity_of, sealed_segments
from otel_patterns.journal.state import JournalState
from otel_patterns.model.names import MAX_LINE_BYTES
from tests.faults.dying import kill_at_each_step
from tests.faults.programs import ROOT, command, run, started
from tests.faults.storm import SEED, STORM
from tests.faults.writers import Found, line_of

STORM_KILLS = 200


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal that does not exist yet."""
    return tmp_path / "pattern_events.jsonl"


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """Yield a directory that every user reaches; pytest's own are private."""
    directory = Path(tempfile.mkdtemp(prefix="otel-patterns-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def test_j1_storm_of_kills_loses_no_acknowledged_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Writers killed at random instants: every acknowledged line stands whole, once, in order, alone on its line."""
    counts: Counter[str] = Counter()
    for number in range(STORM):
        counts.update(storm(tmp_path / str(number), f"{SEED}/{number}"))
    with capsys.disabled():
        print(f"\nstorm of kills, seed {SEED}: {dict(counts)}")


def storm(directory: Path, seed: str, *, max_bytes: int = 0) -> dict[str, int]:
    """Let a storm rage, check what it leaves, and return its figures."""
    directory.mkdir()
    path = directory / "pattern_events.jsonl"
    told = run("storm", path, seed, STORM_KILLS, max_bytes)
    found = Found(path)
    assert told["kills"] >= STORM_KILLS, seed
    # The fault happened: some were killed inside their write, unless rotating left little time for that.
    assert (not max_bytes) <= len(found.damaged) <= told["kills"], seed
    assert sum(told["acknowledged"]) > 100, seed
    lines = sum(map(len, found.numbers.values()))
    check_acknowledged(told, found, seed)
    sealed = sealed_segments(path)
    # A number may have been passed over by a writer that was killed before its rename; none was given twice.
    assert not sealed or JournalState(str(path)).number("sealed") >= sealed[-1].number >= len(sealed), seed
    assert len({identity_of(segment) for segment in sealed}) == len(sealed), seed
    report = ReadReport()
    events = sum(1 for _ in read_documents(path, report=report))
    assert events == lines, seed
    assert report.skipped + bool(report.unfinished_bytes) == len(found.damaged), seed
    shutil.rmtree(directory)
    return {
        "kills": told["kills"],
        "acknowledged": sum(told["acknowledged"]),
        "fragments": len(found.damaged),
        "sealed": len(sealed),
        "packed": sum(not is_plain(segment) for segment in sealed),
        "lost or doubled": 0,
    }


def check_acknowledged(told: dict[str, Any], found: Found, seed: str) -> None:
    """Check that every acknowledged line of a storm stands whole, once, in its writer's order."""
    assert told["fresh"] == "journaled"
    assert found.numbers.pop("fresh") == [0]
    for slot, acknowledged in enumerate(told["acknowledged"]):
        numbers = found.numbers.pop(f"w{slot}", [])
        # The kill may come between the write and the acknowledgement: one line more is whole then.
        assert numbers in (list(range(acknowledged)), list(range(acknowledged + 1))), (seed, slot)
    assert not found.numbers


def test_j2_kill_inside_huge_write_leaves_fragment_that_glues_to_nothing(path: Path) -> None:
    """After a writer died inside a write of 30 MB the next line is whole, and the fragment is reported."""
    size = 0
    for _ in range(20):
        path.unlink(missing_ok=True)
        with started("write_huge_line", path) as process:
            while process.poll() is None and not (path.exists() and path.stat().st_size):
                pass
        size = path.stat().st_size
        if 0 < size < 30_000_001:
            break
    assert 0 < size < 30_000_001, "no kill came inside the write"
    journal = Journal(path)
    assert journal.append(line_of("next", 0)).state == "journaled"
    journal.close()
    assert Found(path).numbers == {"next": [0]}
    report = ReadReport()
    assert len(list(read_documents(path, report=report))) == 1
    # A fragment of less than a page's multiple may be short enough to be read and found to be no event.
    assert [(bad.offset, bad.length) for bad in report.bad_lines] == [(0, size)]
    assert size > MAX_LINE_BYTES or report.bad_lines[0].reason.startswith("not JSON")


def test_j13_lock_held_by_stopped_process_costs_one_deadline(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process that holds the lock costs the engine the deadline once; its lines come later, in order."""
    monkeypatch.setattr(append_module, "LOCK_TIMEOUT_SECONDS", 0.3)
    with started("hold_lock_and_stop", path) as holder:
        while "\nState:\tT" not in Path(f"/proc/{holder.pid}/status").read_text():
            time.sleep(0.001)
        journal = Journal(path)
        begun = time.monotonic()
        assert journal.append(line_of("waiting", 0)).state == "spooled"
        assert 0.3 <= time.monotonic() - begun < 1.0
        begun = time.monotonic()
        states = {journal.append(line_of("waiting", number)).state for number in range(1, 200)}
        assert time.monotonic() - begun < 0.3
        assert states == {"spooled"}
        # Later tries do not wait for the whole deadline again, however long the lock is held.
        monkeypatch.setattr(append_module, "_RETRY_SECONDS", 0.0)
        time.sleep(1)
        begun = time.monotonic()
        for number in (200, 201):
            assert journal.append(line_of("waiting", number)).state == "spooled"
        assert 0.1 <= time.monotonic() - begun < 0.3
        assert journal.guard.counts == {"spooled": 202}
        assert path.read_bytes() == b""
        holder.send_signal(signal.SIGCONT)
        assert holder.wait(30) == 0
    assert journal.append(line_of("waiting", 202)).state == "journaled"
    journal.close()
    found = Found(path)
    assert found.numbers == {"stopped": [0], "waiting": list(range(203))}
    assert not found.damaged


def test_j14_lock_file_deleted_under_stopped_holder_lets_nobody_write_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a lock whose file is deleted gets it when the holder ends, and then uses the file at the path."""
    monkeypatch.setattr(append_module, "LOCK_TIMEOUT_SECONDS", 0.1)
    journal = Journal(path)
    journal.append(line_of("waiting", 0))
    with started("hold_lock_and_stop", path):
        assert journal.append(line_of("waiting", 1)).state == "spooled"
        Path(f"{path}.lock").unlink()
        assert journal.flush() == 1
    assert journal.flush() == 0
    journal.close()
    assert Path(f"{path}.lock").exists()
    assert Found(path).numbers == {"waiting": [0, 1]}


def test_j12_fork_while_thread_appends_lets_both_write(path: Path) -> None:
    """A child forked while a thread holds both locks waits by a lock of its own, and loses and doubles nothing."""
    told = run("fork_within_append", path)
    assert told == {"has_child_waited": True, "child": 0, "parent": "journaled"}
    found = Found(path)
    assert found.numbers == {"parent": [0, 1], "thread": [0], "child": [0, 1, 2]}
    assert not found.damaged


def test_j12_fork_of_killed_writer_does_not_keep_its_lock(path: Path) -> None:
    """A child that never writes does not hold the lock on for a parent that was killed while holding it."""
    with started("leave_child_behind", path) as parent:
        child = int(Path(f"{path}.child").read_text())
        try:
            parent.kill()
            parent.wait()
            assert Path(f"/proc/{child}").exists()
            journal = Journal(path)
            assert journal.append(line_of("next", 0)).state == "journaled"
            journal.close()
        finally:
            os.kill(child, signal.SIGKILL)
    assert Found(path).numbers == {"next": [0]}


def test_j12_fork_with_kept_lines_writes_them_once(path: Path) -> None:
    """Lines that wait in memory are the parent's to write: a child that ends in the orderly way does not."""
    told = run("fork_with_kept_lines", path)
    assert told == {"kept": "spooled", "child": 0, "left": 0}
    assert Found(path).numbers == {"child": [0], "parent": [0]}


def test_j23_exit_writes_kept_lines(path: Path) -> None:
    """What waits in memory when the process ends is tried once more."""
    assert run("exit_with_kept_lines", path, "recover") == {"states": ["spooled"] * 3}
    assert Found(path).numbers == {"exiting": [0, 1, 2]}


def test_j23_exit_with_lines_that_cannot_be_written_tells_the_loss(path: Path) -> None:
    """What is lost with the process is told as it ends."""
    ended = subprocess.run(
        command("exit_with_kept_lines", path, "stay"), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "3 events kept in memory are lost at exit" in ended.stderr


def test_j23_exit_without_cleaning_up_loses_nothing(path: Path) -> None:
    """What was appended is in the kernel: `os._exit` right behind it loses nothing."""
    subprocess.run(command("exit_at_once", path), cwd=ROOT, timeout=60, check=True)
    assert Found(path).numbers == {"exiting": list(range(100))}


def test_j11_signal_handler_that_appends_loses_and_tears_nothing(path: Path) -> None:
    """A handler may append wherever it interrupts: no deadlock, and every line whole, once, in order."""
    told = run("append_in_signal_handler", path)
    assert told["nested"] > 10, "no signal came inside an append"
    assert (told["refused"], told["left"], told["counts"]) == (0, 0, {})
    found = Found(path)
    # A handler may interrupt another one between its number and its append.
    found.numbers["handler"].sort()
    assert found.numbers == {"main": list(range(told["main"])), "handler": list(range(told["handler"]))}
    assert not found.damaged


def test_j8_file_size_limit_keeps_lines_until_it_is_lifted(path: Path) -> None:
    """At a limit of file size a short write is cut back, lines are kept and counted, and written in order later."""
    told = run("exceed_size_limit", path)
    assert told["shorts"], "no write was short"
    complete = b"".join(line_of("writer", number) for number in range(told["kept"]))
    assert told["sizes"] == [len(complete)] * 2
    assert told["left"] == [4, 0]
    assert told["counts"]["spooled"] == 4
    assert path.read_bytes() == complete + b"".join(
        line_of("writer", number) for number in range(told["kept"], told["kept"] + 4)
    )


def can_mount() -> bool:
    """Tell whether this user may mount a file system in a namespace of his own."""
    try:
        return subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not can_mount(), reason="user namespaces are not allowed here")
def test_j7_full_disk_keeps_lines_until_there_is_room(tmp_path: Path) -> None:
    """On a full disk a short write is cut back to whole lines, and what was kept is written in order later."""
    script = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
    told = run("fill_disk", tmp_path / "journal", prefix=["unshare", "-Urm", "sh", "-c", script, str(tmp_path)])
    assert told["shorts"], "no write was short"
    assert told["ends_with_line"]
    assert told["left"] == [2, 0]
    assert told["numbers"] == list(range(told["kept"] + 2))
    assert told["damaged"] == 0


def test_j10_read_only_directory_keeps_lines_and_names_path(public_directory: Path) -> None:
    """Where nothing may be written nothing is raised: lines are kept, counted, and the log names the journal."""
    path = public_directory / "pattern_events.jsonl"
    told = run("write_into_read_only_directory", path)
    assert told["states"] == ["spooled"] * 3
    assert told["counts"] == {"spooled": 3}
    assert told["files"] == []
    assert len(told["messages"]) == 1
    assert str(path) in told["messages"][0]
    assert "PermissionError" in told["messages"][0]


def test_j15_rotation_in_storm_of_kills_loses_and_doubles_no_acknowledged_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a file for every few lines, packed meanwhile, and all killed at random: nothing lost, nothing twice."""
    counts: Counter[str] = Counter()
    for number in range(STORM):
        counts.update(storm(tmp_path / str(number), f"{SEED}/{number}", max_bytes=100_000))
    assert min(counts["sealed"], counts["packed"]) > 10 * STORM, SEED
    with capsys.disabled():
        print(f"\nstorm of kills with rotation and compression, seed {SEED}: {dict(counts)}")


def new_directory(parent: Path, number: int) -> Path:
    """Return a directory that was made now."""
    directory = parent / str(number)
    directory.mkdir()
    return directory


def test_j15_kill_at_each_step_of_a_rotation_leaves_a_whole_journal(tmp_path: Path) -> None:
    """Whichever system call was the last: the line before is there once, and the next writer goes on."""
    outcomes: set[tuple[int, bool]] = set()
    for path in kill_at_each_step("rotate", lambda step: new_directory(tmp_path, step) / "pattern_events.jsonl"):
        outcomes.add((len(sealed_segments(path)), path.exists()))
        assert [document["event_id"] for _, document in read_documents(path)][:1] == ["EVT-first.0"]
        journal = Journal(path)
        journal.rotate(1)
        assert journal.append(line_of("next", 0)).state == "journaled"
        journal.close()
        found = Found(path)
        assert not found.damaged
        assert found.numbers.pop("dying", [0]) == [0]
        assert found.numbers == {"first": [0], "next": [0]}
    # Killed before the rename, between it and the new file, and after both.
    assert outcomes == {(0, True), (1, False), (1, True)}


def test_j15_kill_at_each_step_of_making_an_index_hides_no_line(tmp_path: Path) -> None:
    """There is the former index or the new one, never a part of one, and the run is found with either."""
    lines = [line_of("first", number) for number in range(3)]

    def journal_of(step: int) -> Path:
        path = new_directory(tmp_path, step) / "pattern_events.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    covered: set[int] = set()
    leftover = 0
    for path in kill_at_each_step("make_index", journal_of):
        with path.open("rb") as file:
            index = load_index(path, file, segment_of_file(file))
        assert index is not None
        covered.add(index.covered)
        leftover += any(name.endswith(".tmp") for name in os.listdir(index_directory(path)))
        assert len(read_run(path, json.loads(lines[0])["pattern_run_id"])) == 4
    assert covered == {len(b"".join(lines)), len(b"".join(lines)) + len(line_of("grown", 0))}
    assert leftover, "it was never killed while it wrote"


def test_j4_torn_tail_at_every_byte_costs_the_torn_line_alone(path: Path) -> None:
    """Cut at any byte of its last line a journal has all lines before; the fragment is reported when others follow."""
    complete, last = line_of("writer", 0) + line_of("writer", 1), line_of("writer", 2)
    for size in range(len(last)):
        path.write_bytes(complete + last[:size])
        report = ReadReport()
        assert len(list(read_documents(path, report=report))) == 2
        assert (report.skipped, report.unfinished_bytes, report.end) == (0, size, len(complete))
        journal = Journal(path)
        assert journal.append(line_of("next", 0)).state == "journaled"
        journal.close()
        report = ReadReport()
        events = [document["event_id"] for _, document in read_documents(path, report=report)]
        is_whole = size == len(last) - 1
        assert events == ["EVT-writer.0", "EVT-writer.1", *(["EVT-writer.2"] if is_whole else []), "EVT-next.0"]
        expected = [] if size == 0 or is_whole else [(len(complete), size)]
        assert [(bad.offset, bad.length) for bad in report.bad_lines] == expected


def test_j6_nul_bytes_and_foreign_line_ends_follow_the_documented_rule(path: Path) -> None:
    """NUL bytes and bad UTF-8 are damage; a byte order mark at the start and CRLF are read; blank lines are nothing."""
    lines = [line_of("writer", number)[:-1] for number in range(4)]
    damage = (b"\0" * 40, b'{"event_id":"EVT-\xff"}', b"\r", b"")
    path.write_bytes(
        b"\n".join((b"\xef\xbb\xbf" + lines[0], damage[0], lines[1] + b"\r", *damage[1:], *lines[2:], b""))
    )
    with path.open("ab") as file:
        file.write(b"\0" * 500)
    report = ReadReport()
    events = [document["event_id"] for _, document in read_documents(path, report=report)]
    assert events == [f"EVT-writer.{number}" for number in range(4)]
    assert [bad.length for bad in report.bad_lines] == [40, len(damage[1])]
    assert report.unfinished_bytes == 500


@pytest.mark.parametrize("kind", ["rename", "copytruncate", "delete"])
def test_j16_rotation_from_outside_is_survived(path: Path, kind: str) -> None:
    """Renamed: all lines are in the two files. Cut or deleted: what comes after it is written and read."""
    journal = Journal(path)
    kept: list[str] = []
    for turn in range(5):
        for number in range(3):
            receipt = journal.append(line_of(f"turn{turn}", number))
            assert receipt.state == "journaled"
            with path.open("rb") as file:
                assert receipt.segment == segment_of_file(file)
        kept += [document["event_id"] for _, document in read_documents(path)]
        if kind == "rename":
            path.rename(path.with_name(f"moved.{turn}"))
        elif kind == "delete":
            path.unlink()
        else:
            shutil.copy(path, path.with_name(f"copied.{turn}"))
            os.truncate(path, 0)
    journal.close()
    assert kept == [f"EVT-turn{turn}.{number}" for turn in range(5) for number in range(3)]


def test_j22_sizes_beyond_all_limits_cost_flat_memory(path: Path) -> None:
    """A line of 100 MB is skipped, and what is nested 100,000 deep is refused, without memory for either."""
    told = run("read_monstrous_lines", path)
    assert told["events"] == ["EVT-writer.0", "EVT-writer.1", "EVT-writer.2", "EVT-writer.3"]
    assert told["skipped"] == 3
    assert told["grown_mib"] < 40


def test_r2_cursor_of_a_deleted_segment_starts_over_and_says_so(path: Path) -> None:
    """A cursor whose file is gone skips nothing: everything that is left comes, and the follower is told."""
    journal = Journal(path)
    journal.rotate(1)
    cursors = [journal.append(line_of("writer", number)).end for number in range(4)]
    Path(sealed_segments(path)[0].path).unlink()
    for cursor, expected, reasons in (
        (cursors[1], [2, 3], []),
        (cursors[0], [1, 2, 3], ["gone"]),
        (Cursor("0123456789abcdef", 7), [1, 2, 3], ["gone"]),
    ):
        told: list[str] = []
        lines = follow_lines(path, start=cursor, on_restart=told.append)
        found = [json.loads(next(lines).data)["details"]["number"] for _ in expected]
        lines.close()
        assert (found, told) == (expected, reasons)


def test_j19_failed_sync_among_waiting_threads_loses_nothing(path: Path) -> None:
    """One sync of many fails: its file is sealed, no file is believed again, and all lines are on disk in the end."""
    told = run("fail_one_sync", path)
    assert (told["failed"], told["is_synced"], told["durable"]) == (1, True, 80)
    assert told["counts"] == {"sync": 1}
    assert told["syncs"] < 80, "threads did not share syncs"
    assert len(sealed_segments(path)) == 1
    found = Found(path)
    assert not found.damaged
    assert {writer: sorted(set(numbers)) for writer, numbers in found.numbers.items()} == {
        f"t{thread}": list(range(20)) for thread in range(4)
    }
    assert JournalState(str(path)).number("failed_syncs") == 1


def test_j12_fork_while_the_thread_syncs_lets_both_sync(path: Path) -> None:
    """A child forked inside a sync has a thread and descriptors of its own, and waits for its own lines."""
    assert run("fork_while_syncing", path) == {"child": 0, "durable": True}
    assert Found(path).numbers == {"parent": [0, 1], "child": [0]}


def test_group_line_is_on_disk_within_the_promised_time(path: Path) -> None:
    """Without anybody waiting a line is synced within about 0.1 s, and an idle journal is not synced again."""
    journal = Journal(path)
    journal.durability = "group"
    receipt = journal.append(line_of("writer", 0))
    begun = time.monotonic()
    while not receipt.durable and time.monotonic() - begun < 5:
        time.sleep(0.005)
    assert receipt.durable
    assert time.monotonic() - begun < 1.0, "0.1 s and what a busy machine adds"
    journal.close()


def test_j7_lines_spooled_by_a_killed_process_are_written_by_the_next(path: Path) -> None:
    """What could not be written survives the death of its process in a file, and is merged by whoever opens next."""
    with started("wait_with_spooled_lines", path) as process:
        assert len(list((path.parent / "spool").iterdir())) == 1
        process.kill()
        process.wait()
    path.rmdir()
    journal = Journal(path)
    journal.spools_to_file = True
    assert journal.append(line_of("next", 0)).state == "journaled"
    journal.close()
    assert Found(path).numbers == {"killed": [0, 1, 2], "next": [0]}
    assert list((path.parent / "spool").iterdir()) == []


def test_j9_without_descriptors_lines_wait_and_are_written_later(path: Path) -> None:
    """When no file can be opened nothing is raised: lines wait in memory, counted, and are written later."""
    told = run("use_up_descriptors", path)
    assert told == {"states": ["spooled"] * 3, "counts": {"spooled": 3}, "left": 0, "durable": True}
    assert Found(path).numbers == {"writer": [0, 1, 2, 3]}

"""A journal of several files: what readers make of them, and how writers seal them."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_patterns.errors import Guard, JournalError
from otel_patterns.journal import rotation as rotation_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.compress import compress
from otel_patterns.journal.cursor import Cursor, first_line, segment_of
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.read import Filter, LastReport, read_documents, read_last
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.segments import identity_of, look, sealed_segments
from tests.unit.journal.lines import add, event_line, segment_at


def numbers_of(path: Path, report: ReadReport | None = None) -> list[int]:
    """Return the numbers of a journal's events."""
    return [document["details"]["number"] for _, document in read_documents(path, report=report)]


def sealed(path: Path, number: int) -> Path:
    """Return the path of a plain segment."""
    return path.with_name(f"{path.stem}-{number:08d}{path.suffix}")


def rotating(path: Path, max_bytes: int = 1, max_seconds: float = 0) -> Journal:
    """Return a journal that gives each line a file of its own, or as many as fit."""
    journal = Journal(path)
    journal.rotate(max_bytes, max_seconds)
    return journal


def test_rotation_seals_file_before_it_grows_over_the_size(path: Path) -> None:
    """Files are named by growing numbers, hold whole lines, none is larger than allowed, and all are one journal."""
    size = len(event_line(0))
    journal = rotating(path, 2 * size)
    for number in range(5):
        assert journal.append(event_line(number)).state == "journaled"
    journal.close()
    assert [segment.path for segment in sealed_segments(path)] == [str(sealed(path, 1)), str(sealed(path, 2))]
    assert [file.stat().st_size for file in (sealed(path, 1), sealed(path, 2), path)] == [2 * size, 2 * size, size]
    assert numbers_of(path) == [0, 1, 2, 3, 4]
    assert sealed(path, 1).stat().st_mode & 0o777 == 0o600


def test_rotation_of_line_larger_than_the_size_gives_it_a_file_of_its_own(path: Path) -> None:
    """The size is a wish: a line that is larger is written all the same, and an empty file is never sealed."""
    journal = rotating(path, 10)
    for number in range(3):
        journal.append(event_line(number))
    journal.close()
    assert [segment.number for segment in sealed_segments(path)] == [1, 2]
    assert numbers_of(path) == [0, 1, 2]


def test_rotation_by_age_counts_from_the_beginning_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The age is that of the file, also for a process that opens it later."""
    now = [1000.0]
    monkeypatch.setattr(rotation_module.time, "time", lambda: now[0])
    rotating(path, 0, 60).append(event_line(1))
    now[0] += 59
    later = rotating(path, 0, 60)
    later.append(event_line(2))
    assert sealed_segments(path) == []
    now[0] += 1
    later.append(event_line(3))
    assert numbers_of(sealed(path, 1)) == [1, 2]
    now[0] += 59
    later.append(event_line(4))
    assert numbers_of(path) == [1, 2, 3, 4]
    assert len(sealed_segments(path)) == 1


def test_rotation_numbers_are_not_given_again(path: Path) -> None:
    """The number of a segment that was deleted is not given to another one, also when it was the highest."""
    journal = rotating(path)
    for number in range(3):
        journal.append(event_line(number))
    sealed(path, 2).unlink()
    journal.append(event_line(3))
    assert [segment.number for segment in sealed_segments(path)] == [1, 3]
    Path(f"{path}.state").write_text("damaged")
    journal.append(event_line(4))
    assert [segment.number for segment in sealed_segments(path)] == [1, 3, 4]
    assert numbers_of(path) == [0, 2, 3, 4]


def test_rotation_seals_fragment_with_a_newline(path: Path) -> None:
    """What a killed writer has left at the end of a file is a line of its own in the sealed segment."""
    add(path, event_line(1) + b'{"torn')
    rotating(path).append(event_line(2))
    report = ReadReport()
    assert numbers_of(path, report) == [1, 2]
    assert [(bad.path, bad.offset) for bad in report.bad_lines] == [(str(sealed(path, 1)), len(event_line(1)))]
    assert sealed(path, 1).read_bytes().endswith(b'{"torn\n')


def test_rotation_by_another_writer_is_noticed(path: Path) -> None:
    """A writer whose file was sealed by somebody else goes on in the new one."""
    steady, other = Journal(path), rotating(path)
    steady.append(event_line(1))
    other.append(event_line(2))
    receipt = steady.append(event_line(3))
    assert numbers_of(path) == [1, 2, 3]
    assert receipt.start == Cursor(segment_at(path), len(event_line(2)))


def test_rotation_that_fails_goes_on_in_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a file cannot be renamed nothing is lost: lines are written behind it, and it is counted once."""
    journal = rotating(path)
    journal.append(event_line(0))
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        states = {journal.append(event_line(number)).state for number in range(1, 5)}
    assert states == {"journaled"}
    assert journal.guard.counts == {"rotation": 1}
    assert numbers_of(path) == [0, 1, 2, 3, 4]
    assert sealed_segments(path) == []
    assert sorted(os.listdir(path.parent)) == ["pattern_events.jsonl", "pattern_events.jsonl.lock"]


def refuse(*_: object) -> None:
    """Fail as a forbidden rename does."""
    raise PermissionError(13, "Permission denied")


def test_receipt_means_the_same_line_after_rotation_and_compression(path: Path) -> None:
    """A cursor names the file by what it begins with, so it survives the rename, compression and a restart."""
    journal = rotating(path, 3 * len(event_line(0)))
    receipts = [journal.append(event_line(number)) for number in range(7)]
    for segment in sealed_segments(path):
        compress(str(path), segment, "gzip")
    names = [identity_of(segment) for segment in sealed_segments(path)] + [segment_at(path)]
    assert len(set(names)) == 3
    for number, receipt in enumerate(receipts):
        assert receipt.start == Cursor(names[number // 3], number % 3 * len(event_line(0)))
        assert receipt.end == Cursor(names[number // 3], (number % 3 + 1) * len(event_line(0)))
    reopened = Journal(path).append(event_line(7)).start
    assert reopened == Cursor(names[2], len(event_line(0)))


def test_receipt_after_copytruncate_names_another_segment(path: Path) -> None:
    """A file that was cut and begins with another line is another segment, though its inode is the same."""
    journal = Journal(path)
    before = journal.append(event_line(1))
    os.truncate(path, 0)
    after = journal.append(event_line(2))
    assert before.segment != after.segment == segment_at(path)


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (b"", b""),
        (b"abc", b""),
        (b"abc\ndef\n", b"abc\n"),
        (b"\n\n", b""),
        (b"\n\nabc\ndef", b"\n\nabc\n"),
        (b"x" * 2**20, b"x" * 2**20),
    ],
)
def test_first_line_is_complete_and_keeps_blank_ones(data: bytes, head: bytes) -> None:
    """A file has an identity when its first line is complete; blank lines before it are part of it."""
    assert first_line(data) == head
    assert (segment_of(head) == "") is (head == b"")


def pack(file: Path, form: str) -> None:
    """Compress a file as another tool might: the plain one goes."""
    if form == "gzip":
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    else:
        zstandard = pytest.importorskip("zstandard")
        file.with_name(f"{file.name}.zst").write_bytes(zstandard.compress(file.read_bytes()))
    file.unlink()


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_compressed_segments_are_read_like_plain_ones(path: Path, form: str) -> None:
    """Forward, backward, filtered and folded: a compressed segment holds the same lines at the same offsets."""
    sealed(path, 1).write_bytes(event_line(1) + b"damaged\n" + event_line(2))
    path.write_bytes(event_line(3))
    reports = [ReadReport(), ReadReport()]
    plain = list(read_documents(path, report=reports[0]))
    pack(sealed(path, 1), form)
    assert list(read_documents(path, report=reports[1])) == plain
    assert [bad._replace(path="") for bad in reports[1].bad_lines] == [
        bad._replace(path="") for bad in reports[0].bad_lines
    ]
    assert reports[1].bad_lines[0].path.startswith(str(sealed(path, 1)))
    assert read_last(path, Filter(), 2) == plain[-2:]
    [run] = read_runs(path).values()
    assert run.events == [document["event_id"] for _, document in plain]
    assert len(run.read_events()) == 3


def test_compressed_and_plain_segment_is_read_once(path: Path) -> None:
    """When compressing was interrupted before the plain file went, its lines are not doubled."""
    sealed(path, 1).write_bytes(event_line(1))
    sealed(path, 1).with_name(f"{sealed(path, 1).name}.gz").write_bytes(gzip.compress(event_line(1)))
    path.write_bytes(event_line(2))
    assert numbers_of(path) == [1, 2]
    [segment] = sealed_segments(path)
    assert segment.path == str(sealed(path, 1))
    assert len(segment.files) == 2


def cut_in_half(data: bytes) -> bytes:
    """Damage a compressed file as a full disk does."""
    return data[: len(data) // 2]


def overwrite(data: bytes) -> bytes:
    """Damage a compressed file from its beginning on."""
    return data[:2] + bytes(50)


@pytest.mark.parametrize("damage", [cut_in_half, overwrite])
def test_compressed_segment_that_is_damaged_costs_only_its_rest(path: Path, damage: Callable[[bytes], bytes]) -> None:
    """Lines before the damage and other segments are read; the damage is reported with its file."""
    lines = b"".join(event_line(number, size=os.urandom(1)[0]) for number in range(2000))
    packed = sealed(path, 1).with_name(f"{sealed(path, 1).name}.gz")
    packed.write_bytes(damage(gzip.compress(lines)))
    path.write_bytes(event_line(9999))
    report = ReadReport()
    found = numbers_of(path, report)
    assert found == [*range(len(found) - 1), 9999]
    assert report.bad_lines[-1].path == str(packed)
    assert "the compression is damaged" in report.bad_lines[-1].reason


def test_zstd_without_its_library_says_how_to_get_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks the extra is told the command that installs it, when reading and when compressing."""
    sealed(path, 1).write_bytes(event_line(1))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(JournalError, match=r"pip install 'otel-patterns\[zstd\]'"):
        compress(str(path), sealed_segments(path)[0], "zstd")
    assert numbers_of(path) == [1]
    sealed(path, 1).rename(sealed(path, 1).with_name(f"{sealed(path, 1).name}.zst"))
    with pytest.raises(JournalError, match=r"pip install 'otel-patterns\[zstd\]'"):
        numbers_of(path)


def test_compress_killed_before_the_plain_file_goes_is_finished_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each step both or one of the files are whole, nothing else is left, and a second try ends with one file."""
    lines = b"".join(map(event_line, range(50)))
    for step in ("rename", "unlink"):
        sealed(path, 1).write_bytes(lines)
        with monkeypatch.context() as patched:
            patched.setattr(os, step, refuse)
            with pytest.raises(JournalError, match="cannot be compressed"):
                compress(str(path), sealed_segments(path)[0], "gzip")
        assert numbers_of(path) == list(range(50))
        compress(str(path), sealed_segments(path)[0], "gzip")
        [segment] = sealed_segments(path)
        assert segment.files == (f"{sealed(path, 1)}.gz",)
        assert numbers_of(path) == list(range(50))


def test_compress_what_does_not_unpack_to_the_same_keeps_the_plain_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed file is read again before it may take the place of the plain one."""
    sealed(path, 1).write_bytes(event_line(1))

    def write_nothing(_file: gzip.GzipFile, data: bytes) -> int:
        return len(data)

    monkeypatch.setattr(gzip.GzipFile, "write", write_nothing)
    with pytest.raises(JournalError, match="not the same"):
        compress(str(path), sealed_segments(path)[0], "gzip")
    assert sorted(os.listdir(path.parent)) == ["pattern_events-00000001.jsonl", "pattern_events.jsonl.lock"]


def test_sealed_segments_are_ordered_by_number_and_nothing_else_is_one(path: Path) -> None:
    """Numbers of more than eight digits come last; other files of the directory are no segments."""
    for name in (
        "pattern_events-100000000.jsonl", "pattern_events-99999999.jsonl", "pattern_events-00000002.jsonl.gz",
        "pattern_events-1.jsonl", "pattern_events-00000003.jsonl.tmp", "pattern_events-0000000x.jsonl",
        "other-00000001.jsonl", "pattern_events-00000004.json", "pattern_events-00000005.jsonl.12.tmp.gz",
    ):  # fmt: skip
        (path.parent / name).touch()
    assert [segment.number for segment in sealed_segments(path)] == [2, 99_999_999, 100_000_000]


def test_reading_a_sealed_segment_reads_that_one_alone(path: Path) -> None:
    """A sealed segment that is given as a journal is just this file, compressed or not."""
    sealed(path, 1).write_bytes(event_line(1))
    sealed(path, 2).write_bytes(event_line(2))
    path.write_bytes(event_line(3))
    assert numbers_of(sealed(path, 1)) == [1]
    pack(sealed(path, 2), "gzip")
    assert numbers_of(sealed(path, 2).with_name(f"{sealed(path, 2).name}.gz")) == [2]


def test_sealed_segment_without_last_newline_reports_its_tail(path: Path) -> None:
    """Nobody will complete a sealed segment's last line, so it is a bad one; in the active file it is not yet."""
    sealed(path, 1).write_bytes(event_line(1) + b'{"torn')
    path.write_bytes(event_line(2) + b'{"torn')
    report = ReadReport()
    assert numbers_of(path, report) == [1, 2]
    assert [(bad.path, bad.offset, bad.length) for bad in report.bad_lines] == [
        (str(sealed(path, 1)), len(event_line(1)), 6)
    ]
    assert report.unfinished_bytes == 6


def test_look_during_rotation_misses_and_doubles_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation between the opening of the active file and the list of segments is noticed."""
    path.write_bytes(event_line(1))
    listdir, waiting, is_rotating = os.listdir, [2, 3, 4], [False]

    def rotate_first(directory: str) -> list[str]:
        if waiting and not is_rotating[0]:
            is_rotating[0] = True
            rotating(path).append(event_line(waiting.pop(0)))
            is_rotating[0] = False
        return listdir(directory)

    monkeypatch.setattr("otel_patterns.journal.segments.os.listdir", rotate_first)
    assert numbers_of(path) == [1, 2, 3, 4]
    assert not waiting


def test_segment_compressed_after_the_look_is_still_read(path: Path) -> None:
    """A reader that has listed a plain segment finds it compressed; one that was deleted is passed over."""
    for number in (1, 2, 3):
        sealed(path, number).write_bytes(event_line(number))
    path.write_bytes(event_line(4))
    documents = read_documents(path)
    assert next(documents)[1]["details"]["number"] == 1
    compress(str(path), sealed_segments(path)[1], "gzip")
    sealed(path, 3).unlink()
    assert [document["details"]["number"] for _, document in documents] == [2, 4]


def test_journal_right_after_rotation_has_no_active_file(path: Path) -> None:
    """Killed between rename and new file a journal is what was sealed, and the next writer goes on."""
    sealed(path, 1).write_bytes(event_line(1))
    assert numbers_of(path) == [1]
    assert look(path).active is None
    assert [document["details"]["number"] for _, document in read_last(path, Filter(), 9)] == [1]
    Journal(path).append(event_line(2))
    assert numbers_of(path) == [1, 2]


def test_read_last_cursor_stands_behind_the_last_event(path: Path) -> None:
    """The cursor names the file of the last event found, whichever it is; none was found, none is there."""
    sealed(path, 1).write_bytes(event_line(1))
    path.write_bytes(event_line(2, status="failed"))
    for wanted, cursor in (
        (Filter(), Cursor(segment_at(path), path.stat().st_size)),
        (Filter(status="in_progress"), Cursor(segment_at(sealed(path, 1)), len(event_line(1)))),
        (Filter(status="skipped"), None),
    ):
        report = LastReport()
        read_last(path, wanted, 1, report=report)
        assert report.cursor == cursor


def test_runs_over_segments_are_read_again_where_they_stand(path: Path) -> None:
    """A run with an event in each segment is folded from all of them, and a segment deleted meanwhile is told."""
    journal = rotating(path)
    # More than there are blocks in memory.
    for number in range(20):
        journal.append(event_line(number))
    [run] = read_runs(path).values()
    assert [event.details["number"] for event in run.read_events()] == list(range(20))
    [run] = read_runs(path).values()
    sealed(path, 2).unlink()
    with pytest.raises(JournalError, match="was deleted while it was read"):
        run.read_events()


def test_state_file_holds_the_number_of_the_last_segment(path: Path) -> None:
    """Beside the journal stands what its writers must remember, as JSON."""
    journal = rotating(path)
    for number in range(3):
        journal.append(event_line(number))
    assert json.loads(Path(f"{path}.state").read_text()) == {"sealed": 2}


def test_guard_of_journal_that_rotates_counts_nothing(path: Path) -> None:
    """A rotation that works is no failure."""
    guard = Guard()
    journal = Journal(path, guard=guard)
    journal.rotate(1)
    for number in range(5):
        journal.append(event_line(number))
    assert guard.counts == {}

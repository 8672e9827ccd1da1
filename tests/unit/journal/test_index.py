"""Indexes of a journal's files: what they spare, and that they hide nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from otel_patterns.journal import compress, index, lines, lookup, prune, rotation, tail
from otel_patterns.journal.append import Journal
from otel_patterns.journal.cursor import Cursor
from otel_patterns.journal.index import index_directory, load_index, update_index
from otel_patterns.journal.lines import Line, ReadReport
from otel_patterns.journal.lookup import read_run
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.journal.tail import RunTail
from otel_patterns.testing import FakeClock

from .lines import add, event_line, run_id_at, segment_at

RUN, OTHER = "PRUN-ONE", "PRUN-OTHER"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a journal whose files are indexed from a kilobyte on, and read in blocks as large."""
    for module in (lookup, index, rotation):
        monkeypatch.setattr(module, "INDEXED_BYTES", 1024)
    monkeypatch.setattr(lines, "_CHUNK_BYTES", 1024)
    return tmp_path / "pattern_events.jsonl"


@pytest.fixture
def read(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the sizes of the blocks that lookups read from now on."""
    sizes: list[int] = []

    def read_blocks(
        file: BinaryIO, start: int = 0, end: int | None = None, *, report: ReadReport | None = None
    ) -> Iterator[tuple[int, bytes]]:
        for offset, block in lines.read_blocks(file, start, end, report=report):
            sizes.append(len(block))
            yield offset, block

    assert path
    monkeypatch.setattr(lookup, "read_blocks", read_blocks)
    return sizes


def write(path: Path, *run_ids: str, first: int = 0) -> None:
    """Append an event of each run."""
    add(path, b"".join(event_line(number, run_id=run_id) for number, run_id in enumerate(run_ids, start=first)))


def seal(path: Path, number: int = 1) -> Path:
    """Seal the active file, and return where it is."""
    return path.rename(path.with_name(f"pattern_events-{number:08d}.jsonl"))


def found(path: Path, run_id: str = RUN) -> list[str]:
    """Return the ids of a run's events, shortened."""
    return [event.event_id.removeprefix("EVT-").lstrip("0") or "0" for event in read_run(path, run_id)]


def index_of(path: Path) -> Path:
    """Return where the index of a file is."""
    return Path(index_directory(path.with_name("pattern_events.jsonl"))) / segment_at(path)


def test_lookup_reads_the_blocks_of_the_run_alone(path: Path, read: list[int]) -> None:
    """The first one makes the index; then files without the run are not read at all."""
    write(path, *[OTHER] * 40, RUN, *[OTHER] * 40)
    seal(path)
    write(path, *[OTHER] * 40, first=100)
    assert found(path) == ["40"]
    read.clear()
    assert found(path) == ["40"]
    assert len(read) == 1
    read.clear()
    assert found(path, "PRUN-NONE") == []
    assert read == []


def test_lines_behind_the_index_are_read(path: Path, read: list[int]) -> None:
    """A few more lines do not make the index anew."""
    write(path, *[RUN, OTHER] * 10)
    found(path)
    before = index_of(path).read_bytes()
    write(path, OTHER, RUN, first=20)
    read.clear()
    assert found(path)[-1] == "21"
    assert index_of(path).read_bytes() == before
    write(path, *[OTHER] * 3, RUN, first=30)
    assert found(path)[-2:] == ["21", "33"]
    assert index_of(path).read_bytes() != before


def test_index_with_any_byte_spoilt_hides_nothing(path: Path) -> None:
    """Every byte of it is covered by a checksum, or decides nothing."""
    write(path, *[RUN, OTHER] * 3)
    assert found(path) == ["0", "2", "4"]
    whole = index_of(path).read_bytes()
    for at in range(len(whole)):
        index_of(path).write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert found(path) == ["0", "2", "4"], at
    for size in range(0, len(whole), 97):
        index_of(path).write_bytes(whole[:size])
        assert found(path) == ["0", "2", "4"], size


def test_packed_segment_with_an_index_of_its_beginning_is_read(path: Path) -> None:
    """Only an index that was made of the sealed segment says what is in all of it."""
    write(path, *[RUN, OTHER] * 4)
    found(path)
    beginning = index_of(path).read_bytes()
    write(path, *[RUN] * 3, first=20)
    seal(path)
    [segment] = sealed_segments(path)
    compress.compress(str(path), segment, "gzip")
    Path(index_directory(path), os.listdir(index_directory(path))[0]).write_bytes(beginning)
    assert found(path) == ["0", "2", "4", "6", "20", "21", "22"]


def test_compressing_makes_the_index_that_saves_unpacking(path: Path, read: list[int]) -> None:
    """What is not in a packed segment is known without reading it."""
    write(path, *[OTHER] * 20)
    seal(path)
    [segment] = sealed_segments(path)
    compress.compress(str(path), segment, "zstd")
    assert found(path) == []
    assert read == []


def test_file_that_was_cut_and_grew_again_gets_a_new_index(path: Path) -> None:
    """Also when it begins as before, and is longer by now."""
    write(path, OTHER, *[OTHER] * 6)
    found(path)
    os.truncate(path, len(event_line(0, run_id=OTHER)))
    write(path, *[RUN] * 9, first=50)
    assert found(path) == [str(number) for number in range(50, 59)]


def test_directory_that_may_not_be_written_costs_the_index_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then every lookup reads."""

    def refuse(_path: str, _data: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(index, "replace_file", refuse)
    write(path, *[RUN, OTHER] * 4)
    assert found(path) == ["0", "2", "4", "6"]
    assert not Path(index_directory(path)).exists()


def test_sealing_makes_an_index_and_delays_nobody(path: Path) -> None:
    """A thread does it; a small segment gets none."""
    journal = Journal(path)
    journal.rotate(2048)
    for number in range(12):
        journal.append(event_line(number, run_id=RUN))
        for thread in threading.enumerate():
            if thread.name == "otel-patterns-index":
                thread.join()
    journal.close()
    segments = sealed_segments(path)
    assert segments
    for segment in segments:
        with open(segment.path, "rb") as file:
            made = load_index(path, file, segment_at(Path(segment.path)))
        assert made is not None
        assert made.is_sealed
    assert not index_of(path).exists()


def test_run_of_another_process_is_found_by_the_index(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery thread does not search a sealed segment that has one."""
    clock = FakeClock()
    run_id = run_id_at(clock.now_unix_nano() - 10**15)
    write(path, run_id, *[OTHER] * 20)
    sealed = seal(path)
    with sealed.open("rb") as file:
        update_index(path, file, is_sealed=True)
    write(path, OTHER, first=50)
    searched: list[int] = []

    def search(file: BinaryIO, end: int, *_args: object) -> tuple[list[Line], bool]:
        searched.append(os.fstat(file.fileno()).st_ino)
        return [], False

    monkeypatch.setattr(tail, "_search_backward", search)
    run_tail = RunTail(str(path), clock=clock)
    start, end = add(path, event_line(60, run_id=run_id))
    segment = segment_at(path)
    events = run_tail.events(run_id, Cursor(segment, start), Cursor(segment, end), made_here=False)
    run_tail.close()
    assert sealed.stat().st_ino not in searched
    assert [event.event_id[-2:] for event in events] == ["00", "60"]


def test_pruning_deletes_the_index_with_its_segment(path: Path) -> None:
    """And no other one."""
    for number in (1, 2):
        write(path, *[RUN] * 5, first=10 * number)
        seal(path, number)
    write(path, *[RUN] * 5, first=50)
    found(path)
    assert len(os.listdir(index_directory(path))) == 3
    prune.delete_segments(str(path), sealed_segments(path)[:1])
    assert sorted(os.listdir(index_directory(path))) == sorted(
        [segment_at(path), segment_at(Path(sealed_segments(path)[0].path))]
    )

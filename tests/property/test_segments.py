"""One journal, however it is split: the same lines in one file or in many, plain or compressed, read the same."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_patterns.journal import follow
from otel_patterns.journal.cursor import BEGINNING, Cursor
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.read import Filter, read_documents, read_events, read_last, read_raw
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.journal.tail import RunTail
from otel_patterns.testing import FakeClock
from tests.documents import RUN_ID
from tests.unit.journal.lines import event_line, segment_at

OTHER_RUN = "PRUN-OTHER"
LINES = st.lists(st.sampled_from(["event", "event", "other", "damaged", "blank", "copy"]), min_size=1, max_size=25)


def line_of(kind: str, number: int) -> bytes:
    """Return a line of a kind."""
    if kind == "event":
        return event_line(number)
    if kind == "other":
        return event_line(number, run_id=OTHER_RUN, status="failed")
    if kind == "copy":
        return event_line(0)
    return b"\n" if kind == "blank" else b'{"damaged":\n'


def write_split(directory: Path, lines: list[bytes], cuts: list[int], forms: list[str]) -> Path:
    """Write lines into files that end at the cuts, and return the journal's path."""
    path = directory / "pattern_events.jsonl"
    bounds = [0, *sorted(min(cut, len(lines)) for cut in cuts), len(lines)]
    for number, (start, end) in enumerate(itertools.pairwise(bounds), start=1):
        data = b"".join(lines[start:end])
        if number == len(bounds) - 1:
            path.write_bytes(data)
        elif (form := forms[number % len(forms)]) == "gzip":
            (directory / f"pattern_events-{number:08d}.jsonl.gz").write_bytes(gzip.compress(data))
        elif form == "zstd":
            (directory / f"pattern_events-{number:08d}.jsonl.zst").write_bytes(zstandard.compress(data))
        else:
            (directory / f"pattern_events-{number:08d}.jsonl").write_bytes(data)
    return path


@given(
    kinds=LINES,
    cuts=st.lists(st.integers(0, 25), max_size=6),
    forms=st.lists(st.sampled_from(["plain", "gzip", "zstd"]), min_size=1, max_size=6),
    count=st.integers(0, 12),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_split_of_lines_into_segments_reads_the_same(
    kinds: list[str], cuts: list[int], forms: list[str], count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Events, raw lines, the last ones, runs, what is reported and what is followed: all as from one file."""
    lines = [line_of(kind, number) for number, kind in enumerate(kinds, start=1)]
    whole = tmp_path_factory.mktemp("whole") / "pattern_events.jsonl"
    whole.write_bytes(b"".join(lines))
    split = write_split(tmp_path_factory.mktemp("split"), lines, cuts, forms)
    for wanted in (Filter(), Filter(pattern_run_id=OTHER_RUN), Filter(status="failed")):
        reports = [ReadReport(), ReadReport()]
        one, many = (
            [document for _, document in read_documents(path, wanted, report=report)]
            for path, report in zip((whole, split), reports, strict=True)
        )
        assert many == one
        assert (reports[1].events, reports[1].skipped) == (reports[0].events, reports[0].skipped)
        assert [(bad.length, bad.reason) for bad in reports[1].bad_lines] == [
            (bad.length, bad.reason) for bad in reports[0].bad_lines
        ]
        assert [document for _, document in read_last(split, wanted, count)] == one[len(one) - min(count, len(one)) :]
        assert b"".join(read_raw(split, wanted)) == b"".join(read_raw(whole, wanted))
    assert list(read_events(split)) == list(read_events(whole))
    assert {run_id: run.run.to_dict() for run_id, run in read_runs(split).items()} == {
        run_id: run.run.to_dict() for run_id, run in read_runs(whole).items()
    }
    assert followed(split) == [line for line in lines if line != b"\n"]


def followed(path: Path) -> list[bytes]:
    """Return the lines that a follower yields before it waits for the first time."""
    stop = threading.Event()

    class Watch:
        def __init__(self, directory: str) -> None:
            pass

        def wait(self, _seconds: float) -> None:
            stop.set()

        def close(self) -> None:
            pass

    found: list[bytes] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(follow, "DirectoryWatch", Watch)
        found.extend(line.data + b"\n" for line in follow_lines(path, start=BEGINNING, stop=stop))
    return found


class Rotated:
    """A journal that is written, sealed and compressed in any order."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "pattern_events.jsonl"
        self.lines: list[bytes] = []
        self.cursors: list[tuple[Cursor, Cursor]] = []

    def perform(self, step: str) -> None:
        """Do what rotation, compression and writers do."""
        if step == "seal":
            if self.path.exists() and self.path.stat().st_size:
                number = max((segment.number for segment in sealed_segments(self.path)), default=0) + 1
                self.path.rename(self.path.with_name(f"pattern_events-{number:08d}.jsonl"))
        elif step == "compress":
            for segment in sealed_segments(self.path):
                if segment.path.endswith(".jsonl"):
                    Path(f"{segment.path}.gz").write_bytes(gzip.compress(Path(segment.path).read_bytes()))
                    Path(segment.path).unlink()
        else:
            self.write(line_of(step, len(self.lines) + 1))

    def write(self, line: bytes) -> None:
        """Append a line."""
        with self.path.open("ab") as file:
            start = file.tell()
            file.write(line)
        segment = segment_at(self.path)
        self.lines.append(line)
        self.cursors.append((Cursor(segment, start), Cursor(segment, start + len(line))))


STEPS = st.lists(st.sampled_from(["event", "event", "other", "seal", "seal", "compress", "look"]), max_size=25)


@given(steps=STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_follow_over_any_rotations_yields_every_line_once(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However often the journal is sealed and compressed between two looks, nothing is lost, doubled or restarted."""
    journal = Rotated(tmp_path_factory.mktemp("follow"))
    waiting = list(steps)
    restarts: list[str] = []

    stop = threading.Event()

    class Watch:
        def __init__(self, directory: str) -> None:
            pass

        def wait(self, _seconds: float) -> None:
            if not waiting:
                stop.set()
                return
            while waiting and (step := waiting.pop(0)) != "look":
                journal.perform(step)
            # Somebody writes again: right after a seal there is nothing new to follow.
            if not waiting:
                journal.perform("event")

        def close(self) -> None:
            pass

    found: list[bytes] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(follow, "DirectoryWatch", Watch)
        lines = follow_lines(journal.path, stop=stop, on_restart=restarts.append)
        found.extend(line.data + b"\n" for line in lines)
    assert found == journal.lines
    assert restarts == []


@given(steps=STEPS, first=st.integers(0, 10))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_run_tail_over_any_rotations_has_the_whole_run(
    steps: list[str], first: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A run's prefix is exact at each of its lines, wherever the journal was sealed and whenever the tail began."""
    journal = Rotated(tmp_path_factory.mktemp("tail"))
    tail: RunTail | None = None
    runs = {"event": RUN_ID, "other": OTHER_RUN}
    written: dict[str, list[str]] = {RUN_ID: [], OTHER_RUN: []}
    for number, step in enumerate([*steps, "event", "other"]):
        if number >= first and tail is None:
            tail = RunTail(str(journal.path), clock=FakeClock())
        if step == "look":
            if tail is not None:
                tail.catch_up()
            continue
        journal.perform(step)
        if step not in runs:
            continue
        run_id = runs[step]
        written[run_id].append(json.loads(journal.lines[-1])["event_id"])
        # Not at each one: then several rotations lie between two questions.
        if tail is not None and (number % 3 == 0 or number >= len(steps)):
            start, end = journal.cursors[-1]
            events = tail.events(run_id, start, end, made_here=False)
            assert [event.event_id for event in events] == written[run_id]
            if number % 2:
                tail.forget(run_id)
    if tail is not None:
        tail.close()
    assert os.path.exists(journal.path)

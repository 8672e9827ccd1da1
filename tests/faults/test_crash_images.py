"""The journal after a power cut: every disk that one may leave is read, and written on.

A recorded writer tells which calls it made and which events were reported durable; `images` makes the disks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otel_patterns.journal import follow as follow_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.check import BAD_LINE, TORN_TAIL, check
from otel_patterns.journal.cursor import BEGINNING
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.parse import parse_slowly
from otel_patterns.journal.read import Filter, read_documents, read_last, read_raw
from otel_patterns.journal.runs import read_runs
from tests.faults.images import Call, Image, distinct_images, read_recording
from tests.faults.programs import ROOT
from tests.faults.recorder import JOURNAL
from tests.faults.storm import SEED, STORM
from tests.faults.writers import line_of

# The default suite looks at every so many of the images, beginning at one that the seed chooses.
_STEP = 1 if STORM > 1 else 4
FRESH = line_of("fresh", 0)
FAULTS = ("everything or no data", "new entries lost", "cut", "NUL tail", "NUL hole", "garbage tail", "garbage line")


class Recording(NamedTuple):
    """What the writer did, and what it said at its end."""

    calls: list[Call]
    told: dict[str, Any]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Return the recording of one scenario."""
    directory = tmp_path_factory.mktemp("recorded")
    (directory / "root").mkdir()
    command = [sys.executable, "-m", "tests.faults.recorder", str(directory / "root"), str(directory / "calls")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return Recording(read_recording(directory / "calls"), json.loads(ended.stdout))


class NoWatch:
    """Takes the place of the watch on a directory: all that is to be read stands there already."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def wait(self, seconds: float) -> None:
        """Refuse to wait."""
        raise AssertionError(f"nothing came within {seconds} s in {self.directory}")

    def close(self) -> None:
        """Do nothing."""


def ids_of(path: Path, emitted: dict[str, bytes], report: ReadReport | None = None) -> set[str]:
    """Return the ids of a journal's events, each of which is one that was emitted, byte for byte."""
    found: set[str] = set()
    for line, document in read_documents(path, report=report):
        assert line.json + b"\n" == emitted[document["event_id"]], "an event that nobody emitted"
        found.add(document["event_id"])
    return found


def look_at(root: Path, image: Image) -> tuple[set[str], ReadReport]:
    """Read an image by every reader, append to it, and read on; return what was found and met before that."""
    path = root / JOURNAL
    emitted = {**image.emitted, "EVT-fresh.0": FRESH}
    report = ReadReport()
    found = ids_of(path, emitted, report)
    assert not image.durable - found, "events are lost that were reported durable"
    assert {data + b"\n" for raw in read_raw(path, Filter()) for data in raw.splitlines()} == {
        emitted[event_id] for event_id in found
    }
    assert {document["event_id"] for _, document in read_last(path, Filter(), 1000)} == found
    runs = read_runs(path)
    assert Counter(event for run in runs.values() for event in run.events) == Counter(found), "an event counts twice"
    is_told = any(finding.kind in (BAD_LINE, TORN_TAIL) for finding in check(str(path)))
    assert is_told == bool(report.skipped or report.unfinished_bytes)
    journal = Journal(path)
    journal.spools_to_file = True
    assert journal.append(FRESH).state == "journaled", "nothing can be appended"
    journal.close()
    again = ids_of(path, emitted)
    # Lines that waited in a spool file may have come back.
    assert again >= found | {"EVT-fresh.0"}
    lines = follow_lines(path, start=BEGINNING)
    followed: set[str] = set()
    while "EVT-fresh.0" not in followed:
        try:
            followed.add(parse_slowly(next(lines))["event_id"])
        except ValueError:  # noqa: PERF203  # damaged lines are the follower's to show
            continue
    lines.close()
    assert followed == again
    return found, report


def test_j18_power_cut_at_any_moment_loses_nothing_durable_and_invents_nothing(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever a power cut leaves: durable events are there, each one that is read was emitted, and writing goes on."""
    monkeypatch.setattr(follow_module, "DirectoryWatch", NoWatch)
    # The faults of the scenario happened.
    assert (recording.told["counts"], recording.told["left"]) == ({"spooled": 1, "sync": 2}, [])
    counts: Counter[str] = Counter()
    began = time.monotonic()
    images = distinct_images(recording.calls, SEED)
    for image in islice(images, SEED % _STEP, None, _STEP):
        root = tmp_path / "root"
        root.mkdir()
        image.write_to(root)
        try:
            found, report = look_at(root, image)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, {image.fault}, {len(image.emitted)} events") from error
        counts[image.fault] += 1
        counts["events lost"] += not image.emitted.keys() <= found
        counts["bad lines"] += bool(report.skipped)
        counts["unfinished"] += bool(report.unfinished_bytes)
        shutil.rmtree(root)
    checked = sum(counts[fault] for fault in FAULTS)
    with capsys.disabled():
        print(f"\n{checked} crash images in {time.monotonic() - began:.0f} s, seed {SEED}: {dict(counts)}")
    assert checked > 1000
    assert all(counts[fault] for fault in (*FAULTS, "events lost", "bad lines", "unfinished"))


def test_j18_sector_of_a_stranger_that_fits_is_taken_for_the_event(tmp_path: Path) -> None:
    """The limit of the promise: without a checksum, foreign bytes that keep a line an event are read as that event."""
    path = tmp_path / "pattern_events.jsonl"
    line = line_of("w", 0, largest=2000)
    position = line.index(b'"fill":"') + 8
    path.write_bytes(line[:position] + b"z" * 16 + line[position + 16 :])
    report = ReadReport()
    assert [document["event_id"] for _, document in read_documents(path, report=report)] == ["EVT-w.0"]
    assert report.skipped == 0

"""Runs in one pass: told at once where that is exact, folded from lines read again where it is not."""

import gc
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.errors import JournalError
from otel_patterns.journal import runs as runs_module
from otel_patterns.journal.lines import ReadReport
from otel_patterns.journal.read import Filter, read_events
from otel_patterns.journal.runs import read_runs
from otel_patterns.model import names
from otel_patterns.model.fold import fold
from tests.descriptors import opened_below
from tests.streams import Stream, failed_run, semgrep_run

RUN_IDS = [f"PRUN-{number}" for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal with three runs that overlap."""
    path = tmp_path / "pattern_events.jsonl"
    runs = [semgrep_run(Stream(RUN_IDS[0])), failed_run(Stream(RUN_IDS[1])), semgrep_run(Stream(RUN_IDS[2]))[:-1]]
    lines = [event.to_line() for run in runs for event in run]
    path.write_bytes(b"".join(lines[::2] + lines[1::2]))
    return path


def write(path: Path, *lines: bytes) -> Path:
    """Write a journal of these lines."""
    path.write_bytes(b"".join(lines))
    return path


def test_runs_of_a_plain_journal_are_told_without_reading_a_line_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose events stand in order needs one pass for everything but the whole of it."""
    path = write(tmp_path / "j", *(event.to_line() for event in semgrep_run()))
    expected = fold(read_events(path))

    def read_again(*_: Any) -> Any:
        raise AssertionError("a line is read again")

    monkeypatch.setattr(runs_module, "checked_event", read_again)
    [run] = read_runs(path).values()
    [whole] = expected.values()
    for name in ("job_id", "pattern_id", "operation_kind", "status", "started_at", "finished_at", "duration_seconds"):
        assert getattr(run, name) == getattr(whole, name)
    assert (run.events, run.outputs) == (whole.events, whole.outputs)
    with pytest.raises(AssertionError, match="read again"):
        _ = run.run


def test_run_of_a_plain_journal_has_the_pattern_that_was_resolved_first(tmp_path: Path) -> None:
    """A second resolution changes nothing, as in the fold."""
    stream = Stream()
    events = [stream.event(names.SELECTION_RESOLVED, pattern_id=pattern) for pattern in ("PAT-A", "PAT-B")]
    events.insert(0, Stream().event(names.SELECTION_STARTED, pattern_id="PAT-C", seconds=0.5))
    path = write(tmp_path / "j", *(event.to_line() for event in events))
    [run] = read_runs(path).values()
    assert (run.is_plain, run.pattern_id, run.run.pattern_id) == (True, "PAT-A", "PAT-A")


def test_runs_out_of_order_are_folded_from_their_lines(path: Path) -> None:
    """Events that stand in another order than that of their times make the same runs."""
    runs = read_runs(path)
    assert not runs[RUN_IDS[0]].is_plain
    assert {run_id: run.run.to_dict() for run_id, run in runs.items()} == {
        run_id: run.to_dict() for run_id, run in fold(read_events(path)).items()
    }


def test_runs_with_a_filter_are_those_of_the_events_that_pass(path: Path) -> None:
    """The filter is asked about events, not about runs."""
    report = ReadReport()
    runs = read_runs(path, Filter(pattern_run_id=RUN_IDS[1]), report=report)
    assert list(runs) == [RUN_IDS[1]]
    assert (runs[RUN_IDS[1]].status, report.events) == (names.FAILED, 2)


def test_runs_of_no_journal_are_none(tmp_path: Path) -> None:
    """Before the first event there is no file, and no error; what is no file is one."""
    assert read_runs(tmp_path / "missing") == {}
    with pytest.raises(JournalError, match="is no regular file"):
        read_runs(tmp_path)


def test_run_of_a_journal_that_is_gone_is_whole(path: Path) -> None:
    """Who was handed runs may ask for all of them, also when the journal was moved away meanwhile."""
    expected = {run_id: run.to_dict() for run_id, run in fold(read_events(path)).items()}
    runs = read_runs(path)
    path.unlink()
    assert {run_id: run.run.to_dict() for run_id, run in runs.items()} == expected


@pytest.mark.parametrize("size", [0, 100, 1500])
def test_run_of_a_journal_that_was_cut_is_an_error(path: Path, size: int) -> None:
    """What is not there any more is not made up."""
    write(path, *(event.to_line() for event in semgrep_run()))
    [run] = read_runs(path).values()
    assert run.is_plain
    os.truncate(path, size)
    with pytest.raises(JournalError, match="was changed while it was read"):
        _ = run.run


def test_runs_close_their_journal_when_none_is_left(path: Path) -> None:
    """The file is open as long as one of its runs can be asked for, and no longer."""
    runs = read_runs(path)
    assert opened_below(path) == [str(path)]
    del runs
    gc.collect()
    assert opened_below(path) == []


def test_runs_hold_no_events(tmp_path: Path) -> None:
    """Memory is that of ids and of a few texts a run, a small part of what events take."""
    with (tmp_path / "j").open("wb") as file:
        for number in range(1000):
            file.writelines(event.to_line() for event in semgrep_run(Stream(f"PRUN-{number}", job_id="JOB-1")))
    read_runs(tmp_path / "j")
    tracemalloc.start()
    runs = read_runs(tmp_path / "j")
    of_runs = tracemalloc.get_traced_memory()[0]
    events = list(read_events(tmp_path / "j"))
    of_events = tracemalloc.get_traced_memory()[0] - of_runs
    tracemalloc.stop()
    assert (len(runs), len(events)) == (1000, 7000)
    assert of_runs / len(events) < 500
    assert of_runs * 5 < of_events

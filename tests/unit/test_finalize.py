"""Ending runs that nobody ended: which are abandoned, and the event that ends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_patterns import finalize
from otel_patterns.errors import OtelPatternsError
from otel_patterns.finalize import Abandoned, abandoned, append_end, find_abandoned
from otel_patterns.journal.append import open_journal
from otel_patterns.journal.read import read_events
from otel_patterns.model import names
from otel_patterns.model.envelope import check_event
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import find_anomalies, fold_run
from otel_patterns.tracing.outcome import result_of
from otel_patterns.tracing.projection import project
from tests.streams import RUN_ID, Stream, recorded, semgrep_run

SECOND = 10**9
GONE, LIVING, UNKNOWN = {"pid": 1}, {"pid": 2}, {"pid": 3}


@pytest.fixture(autouse=True)
def _known_processes(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]  # a fixture
    """Let one process be gone, another one live, and a third be out of sight."""

    def is_gone(writer: Mapping[str, Any]) -> bool | None:
        return {1: True, 2: False}.get(writer["pid"])

    monkeypatch.setattr(finalize, "is_gone", is_gone)


def unfinished(*writers: dict[str, Any], run_id: str = RUN_ID) -> list[PatternEvent]:
    """Return the events of a run without an end, of which the first ones are each of another writer."""
    stream = Stream(run_id)
    events = [
        stream.event(names.EXECUTION_STARTED, {names.OTEL: recorded(writer=writer)}, step_id="STEP-1")
        for writer in writers
    ]
    return [*events, stream.event(names.SELECTION_STARTED, {"operation_kind": "scan"}, step_id="STEP-2")]


def judged(events: Sequence[PatternEvent], *, silent_for: float = 1.0, allowed: float = 60.0) -> Abandoned | None:
    """Return the verdict on a run that has been silent for so many seconds."""
    now = max(event.time_unix_nano for event in events) + round(silent_for * SECOND)
    return abandoned(events, now_unix_nano=now, silent_seconds=allowed)


@pytest.mark.parametrize(
    ("writers", "silent_for", "expected"),
    [
        ((GONE,), 0.0, "process 1 has ended"),
        ((GONE, GONE), 0.0, "process 1 has ended"),
        ((LIVING,), 1e6, None),
        ((GONE, LIVING), 1e6, None),
        ((UNKNOWN, LIVING), 1e6, None),
        ((UNKNOWN,), 59.0, None),
        ((UNKNOWN,), 60.0, "no event for 60 s"),
        ((GONE, UNKNOWN), 59.0, None),
        ((GONE, UNKNOWN), 61.0, "no event for 61 s"),
        ((), 59.0, None),
        ((), 60.0, "no event for 60 s"),
    ],
)
def test_run_is_abandoned_when_nobody_can_end_it(
    writers: tuple[dict[str, Any], ...], silent_for: float, expected: str | None
) -> None:
    """All its writers are gone; or one cannot be looked at, none is alive, and it was silent for long."""
    verdict = judged(unfinished(*writers), silent_for=silent_for)
    assert (None if verdict is None else verdict.reason) == expected
    if verdict is not None:
        is_seen = verdict.reason.startswith("process")
        assert verdict.silent_seconds == (None if is_seen else pytest.approx(silent_for))


def test_end_of_abandoned_run_follows_from_its_events_alone() -> None:
    """It comes a microsecond after the last event, is an event by every rule, and is the same whoever makes it."""
    events = unfinished(GONE)
    one, other = judged(events, silent_for=1), judged(events[::-1], silent_for=1e6)
    assert one is not None
    assert other is not None
    assert one.document == other.document
    assert not list(check_event(one.document, strict=True))
    end = PatternEvent.from_document(one.document)
    assert end.time_unix_nano == max(event.time_unix_nano for event in events) + 1000
    assert (end.step_id, end.event_type, end.details["error_type"]) == ("STEP-2", names.EXECUTION_FAILED, "abandoned")
    assert result_of(end) == "error"
    run = fold_run([*events, end])
    assert (run.status, run.error and run.error["type"]) == ("failed", "abandoned")
    trace = project([*events, end])
    assert trace is not None
    assert trace.root is not None
    assert trace.root.failed


def test_end_of_another_run_is_another_event() -> None:
    """Two runs of one job are ended by two events."""
    ids = {
        verdict.document["event_id"]
        for run_id in ("PRUN-1", "PRUN-2")
        if (verdict := judged(unfinished(GONE, run_id=run_id))) is not None
    }
    assert len(ids) == 2


def test_run_that_ends_itself_later_counts_as_it_ended_itself() -> None:
    """Its own end is folded, both ends are listed, and the trace stays as it was sent."""
    events = unfinished(GONE)
    verdict = judged(events)
    assert verdict is not None
    sent = [*events, PatternEvent.from_document(verdict.document)]
    stream = Stream()
    stream.clock.advance(60)
    whole = [*sent, stream.event(names.EXECUTION_COMPLETED, {"exit_code": 0}, status="success")]
    run = fold_run(whole)
    assert (run.status, run.error) == ("success", None)
    assert "second_end" in {anomaly.kind for anomaly in find_anomalies(whole)}
    assert project(whole) == project(sent)


def test_ends_are_found_in_a_journal_and_written_once(tmp_path: Path) -> None:
    """Of ended, living and abandoned runs only the last get an end, and when it is written nothing is left to do."""
    path = tmp_path / "pattern_events.jsonl"
    runs = [semgrep_run(Stream("PRUN-1")), unfinished(LIVING, run_id="PRUN-2"), unfinished(GONE, run_id="PRUN-3")]
    path.write_bytes(b"".join(event.to_line() for events in runs for event in events))
    before = path.read_bytes()
    now = runs[0][-1].time_unix_nano
    [found] = find_abandoned(path, now_unix_nano=now)
    assert found.run_id == "PRUN-3"
    assert path.read_bytes() == before
    append_end(path, found, job_scoped=True)
    assert path.read_bytes().startswith(before)
    assert [event.to_dict() for event in read_events(path)][-1] == found.document
    job_log = tmp_path / "jobs" / found.document["job_id"] / "pattern_events.jsonl"
    assert [event.to_dict() for event in read_events(job_log)] == [found.document]
    assert not list(find_abandoned(path, now_unix_nano=now))


def test_end_that_cannot_be_written_is_an_error_with_the_run(tmp_path: Path) -> None:
    """It must not look as if the run were ended."""
    (tmp_path / "journal").mkdir()
    verdict = judged(unfinished(GONE))
    assert verdict is not None
    with pytest.raises(OtelPatternsError, match=f"end of run {RUN_ID} cannot be written"):
        append_end(tmp_path / "journal", verdict)
    open_journal(tmp_path / "journal").end()

"""What is on record as settled whole is passed over, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_patterns.journal.cursor import BEGINNING
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.record import Event
from otel_patterns.testing import FakeClock
from otel_patterns.tracing import owed, projection, replay
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.backlog import Backlog
from otel_patterns.tracing.delivered import Checkpoint, DeliveryRecord, Settled
from otel_patterns.tracing.replay import Selection, traces_of
from otel_patterns.tracing.trace import RunTrace
from tests.unit.journal.lines import run_id_at

A, B, C, D = (run_id_at(1_700_000_000_000_000_000, number) for number in range(1, 5))
DESTINATION = "http://receiver.example/v1/traces"
STEPS = (names.SELECTION_RESOLVED, names.EXECUTION_STARTED, names.EXECUTION_COMPLETED)


class Taking:
    """A receiver that takes everything."""

    destination = DESTINATION

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Take it."""
        del body, timeout_seconds
        return Answer("acknowledged")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a journal with three runs, one after the other."""
    path = tmp_path / "pattern_events.jsonl"
    for run_id in (A, B, C):
        add_run(path, run_id)
    return path


def add_run(path: Path, run_id: str, steps: tuple[str, ...] = STEPS) -> None:
    """Append a run's events."""
    clock = FakeClock()
    with path.open("ab") as file:
        for step in steps:
            event = PatternEvent.create(step, "JOB-1", run_id, "PAT-A", "success", {}, clock=clock)
            file.write(event.to_line())


def read(path: Path, settled: Settled | None, only: str | None = None) -> Backlog:
    """Return the backlog of a whole journal."""
    backlog = Backlog(path, Checkpoint(), start=BEGINNING, only=only, settled=settled)
    while backlog.read(1):
        pass
    backlog.close()
    return backlog


def test_runs_on_record_as_whole_are_not_projected_again(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay, and who asks what is owed, read that they are there and no more; the counts are the same."""
    assert replay.replay(journal, Taking(), Selection()).sent == 3
    record = DeliveryRecord(journal, DESTINATION)
    # Its checkpoint is lost, what was settled is on record.
    Path(record.path).with_suffix(".json").unlink()
    projected: list[str] = []

    def project(events: list[Event]) -> RunTrace | None:
        projected.append(events[0].pattern_run_id)
        return projection.project(events)

    for module in (replay, owed):
        monkeypatch.setattr(module, "project", project)
    assert owed.owed_to(journal, record) == set()
    for selection in (Selection(job_id="JOB-1"), Selection(run_id=B), Selection()):
        report = replay.replay(journal, Taking(), selection)
        assert (report.sent, report.delivered) == (0, 1 if selection.run_id else 3)
    assert projected == []
    add_run(journal, D)
    assert owed.owed_to(journal, record) == {D}
    assert projected == [D]


def test_force_sends_runs_on_record_as_whole(journal: Path) -> None:
    """Who asks for it gets it."""
    replay.replay(journal, Taking(), Selection())
    assert replay.replay(journal, Taking(), Selection(), force=True).sent == 3


def test_backlog_keeps_the_runs_that_are_not_whole(journal: Path) -> None:
    """In the order of their beginnings, and those passed over are counted with what became of them."""
    settled = Settled(whole={A, C}, parked={C: {"0a": "refused: no"}})
    backlog = read(journal, settled)
    assert [(run.run_id, run.number, run.is_ended) for run in backlog.runs] == [(B, 1, True)]
    assert backlog.passed_over == {"delivered": 1, "parked": 1}
    checkpoint, passed = backlog.advance()
    assert (passed, checkpoint.before) == ({A}, {"delivered": 1})
    assert checkpoint.open_runs == {B, C}


def test_backlog_of_whole_runs_alone_moves_to_the_end(journal: Path) -> None:
    """As reading them would, with the latest time inside an id."""
    add_run(journal, f"PRUN-{FakeClock().new_ulid()}")
    whole = {trace.run_id for trace in traces_of(journal, Selection())}
    fast, slow = read(journal, Settled(whole=whole)), read(journal, Settled())
    for run in list(slow.runs):
        slow.settle(run, "delivered")
    assert fast.advance() == slow.advance()
    assert fast.passed_over["delivered"] == 4


def test_late_lines_of_whole_runs_are_passed_over(journal: Path) -> None:
    """Also when they stand among lines of others."""
    add_run(journal, A, (names.EXECUTION_FAILED,))
    add_run(journal, D)
    backlog = read(journal, Settled(whole={A, B, C}))
    assert [run.run_id for run in backlog.runs] == [D]


@pytest.mark.parametrize("only", [D, None])
def test_run_written_with_escapes_is_found(journal: Path, only: str | None) -> None:
    """Whoever wrote it, it is not taken for another one's line."""
    settled = Settled(whole={A, B, C})
    lines: list[bytes] = []
    for line in journal.read_bytes().splitlines()[:3]:
        document = {**json.loads(line), "pattern_run_id": D, "details": {"pattern_run_id": A}}
        lines.append(json.dumps(document).replace(D, D.replace("P", "\\u0050")).encode() + b"\n")
    with journal.open("ab") as file:
        file.writelines(lines)
    backlog = read(journal, None if only else settled, only)
    assert D in [run.run_id for run in backlog.runs]


def test_damaged_lines_among_whole_runs_hide_nothing(journal: Path) -> None:
    """A block with a line that is no event is read line by line."""
    lines = journal.read_bytes().splitlines(keepends=True)
    add_run(journal, D)
    added = journal.read_bytes()[sum(map(len, lines)) :]
    journal.write_bytes(b"".join(lines[:2]) + b"[]\n\n{\n" + b"".join(lines[2:]) + added)
    backlog = read(journal, Settled(whole={A, B, C}))
    assert [run.run_id for run in backlog.runs] == [D]


def test_run_whose_id_may_come_again_is_looked_at_span_by_span(journal: Path) -> None:
    """An id that is no ULID may name another run, whose spans have other ids: they are owed."""
    add_run(journal, "PRUN-TEST-001")
    replay.replay(journal, Taking(), Selection())
    record = DeliveryRecord(journal, DESTINATION)
    assert record.load().whole == {A, B, C}
    assert owed.owed_to(journal, record) == set()

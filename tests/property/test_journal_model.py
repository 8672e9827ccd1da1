"""The journal, its cursors and its delivery, by random steps, against a model that is a few lists and sets."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from otel_patterns.journal import follow as follow_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.compress import compress, is_plain
from otel_patterns.journal.cursor import Cursor
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.lines import Line, ReadReport
from otel_patterns.journal.parse import parse_slowly
from otel_patterns.journal.prune import delete_segments, find_prunable
from otel_patterns.journal.read import read_documents
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent, checked_event
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import FakeClock
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.owed import owed_runs
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.replay import Selection, replay
from tests.documents import DETAILS, event_document
from tests.faults.storm import STORM
from tests.receiver import spans_of

DESTINATION = "http://model:4318"
FORBIDDEN = 3600.0
STEPS = (
    names.SELECTION_STARTED,
    names.SELECTION_RESOLVED,
    names.TEMPLATE_EXPANDED,
    names.VALIDATION_STARTED,
    names.VALIDATION_COMPLETED,
    names.EXECUTION_STARTED,
)
ENDS = (names.EXECUTION_COMPLETED, names.EXECUTION_FAILED, names.VALIDATION_FAILED)


class NoWatch:
    """Takes the place of the watch on a directory: all that is to be followed stands there already."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def wait(self, seconds: float) -> None:
        """Refuse to wait."""
        raise AssertionError(f"a line is missing in {self.directory}: waiting {seconds} s")

    def close(self) -> None:
        """Do nothing."""


class Appended(NamedTuple):
    """An event of the model: its line, its run, and the cursor behind it."""

    line: bytes
    event: PatternEvent
    end: Cursor


class ScriptedReceiver:
    """Takes spans, refuses them or asks to come back, as the script says; then it takes all.

    Attributes:
        taken: The bytes of every span that was ever sent, by its id.
        acknowledged: The ids of the spans of which the sender was told so.
        parked: The ids of those that were refused one by one.
    """

    def __init__(self) -> None:
        self.script: list[str] = []
        self.taken: dict[str, bytes] = {}
        self.acknowledged: set[str] = set()
        self.parked: set[str] = set()
        self.sent: set[str] = set()

    @property
    def destination(self) -> str:
        """Return the name of the receiver."""
        return DESTINATION

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Answer a request by the script."""
        assert timeout_seconds is None or timeout_seconds > 0
        sent = {span.span_id.hex(): (group.resource, span) for group, span in spans_of(body)}
        self.sent |= sent.keys()
        for span_id, parts in sent.items():
            data = b"".join(part.SerializeToString(deterministic=True) for part in parts)
            assert self.taken.setdefault(span_id, data) == data, "another span under the same id"
            assert span_id not in self.acknowledged, "what was acknowledged is sent again"
            assert span_id not in self.parked, "what was refused is sent again"
        kind = self.script.pop(0) if self.script else "take"
        if kind == "later":
            return Answer("retry", "come back in an hour", retry_after_seconds=FORBIDDEN)
        if kind == "answer lost":
            return Answer("retry", "no answer", retry_after_seconds=FORBIDDEN)
        if kind == "wrong":
            return Answer("misconfigured", "who are you?")
        ids = sent.keys()
        if kind == "reject":
            self.parked |= ids
            return Answer("rejected", "too old", rejected_spans=len(ids))
        if kind == "refuse":
            if len(ids) == 1:
                self.parked |= ids
            return Answer("refused", "bad span")
        self.acknowledged |= ids
        return Answer("acknowledged")


class JournalMachine(RuleBasedStateMachine):
    """Random steps of writers, of whoever looks after the journal, and of a delivery."""

    cursors = Bundle("cursors")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.directory = tempfile.mkdtemp(prefix="otel-patterns-")
        self.path = os.path.join(self.directory, "pattern_events.jsonl")
        self.killed: list[Journal] = []
        self.writers = [Journal(self.path), Journal(self.path)]
        self.receiver = ScriptedReceiver()
        # The model: what stands in the journal, what was deleted, which runs there are, how many lines are torn.
        self.journal: list[Appended] = []
        self.deleted: list[Appended] = []
        self.open: list[str] = []
        self.is_torn = False
        self.patch = patch.object(follow_module, "DirectoryWatch", NoWatch)
        self.patch.start()

    def teardown(self) -> None:
        """Deliver what is owed, and check that everything is."""
        try:
            self.receiver.script = []
            self._deliver()
            for run_id in {kept.event.pattern_run_id for kept in self.journal} - set(self.open):
                assert self._is_settled(run_id), "a run that has ended is not delivered"
        finally:
            self.patch.stop()
            for writer in (*self.killed, *self.writers):
                writer.close()
            shutil.rmtree(self.directory)

    def _events(self, run_id: str) -> list[PatternEvent]:
        """Return all events of a run that were ever appended."""
        return [kept.event for kept in (*self.deleted, *self.journal) if kept.event.pattern_run_id == run_id]

    def _spans(self, run_id: str) -> set[str]:
        """Return the ids of the spans that a run has by now."""
        trace = project(self._events(run_id))
        assert trace is not None
        return {span.span_id for span in trace.spans}

    def _is_settled(self, run_id: str) -> bool:
        return self._spans(run_id) <= self.receiver.acknowledged | self.receiver.parked

    def _append(self, writer: Journal, run_id: str, event_type: str) -> Cursor:
        self.clock.advance(0.01)
        document = event_document(
            event_type,
            event_id=f"EVT-{self.clock.new_ulid()}",
            timestamp=format_timestamp(self.clock.now_unix_nano()),
            pattern_run_id=run_id,
            details=dict(DETAILS[event_type]),
        )
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        receipt = writer.append(line)
        assert receipt.state == "journaled"
        end = receipt.end
        assert end is not None
        self.journal.append(Appended(line, checked_event(document), end))
        self.is_torn = False
        return end

    @initialize(target=cursors)
    def begin_journal(self) -> Any:
        """The first line."""
        return self.begin_run(self.writers[0])

    def begin_run(self, writer: Journal) -> Cursor:
        """Begin a run."""
        run_id = f"PRUN-{self.clock.new_ulid()}"
        self.open.append(run_id)
        return self._append(writer, run_id, STEPS[0])

    @rule(target=cursors, writer=st.integers(0, 1))
    def append_first(self, writer: int) -> Any:
        """One of two processes begins a run."""
        return self.begin_run(self.writers[writer])

    @precondition(lambda self: self.open)
    @rule(target=cursors, writer=st.integers(0, 1), data=st.data(), steps=st.lists(st.sampled_from(STEPS), max_size=3))
    def append_steps(self, writer: int, data: st.DataObject, steps: list[str]) -> Any:
        """One of two processes goes on with a run."""
        run_id = data.draw(st.sampled_from(self.open))
        return multiple(*(self._append(self.writers[writer], run_id, step) for step in steps))

    @precondition(lambda self: self.open)
    @rule(target=cursors, writer=st.integers(0, 1), data=st.data(), end=st.sampled_from(ENDS))
    def append_end(self, writer: int, data: st.DataObject, end: str) -> Any:
        """One of two processes ends a run."""
        run_id = data.draw(st.sampled_from(self.open))
        self.open.remove(run_id)
        return self._append(self.writers[writer], run_id, end)

    @rule(target=cursors, writer=st.integers(0, 1))
    def append_all_ends(self, writer: int) -> Any:
        """One process ends all runs that go on."""
        runs, self.open = self.open, []
        return multiple(*(self._append(self.writers[writer], run_id, ENDS[0]) for run_id in runs))

    @rule(target=cursors, writer=st.integers(0, 1), data=st.data(), step=st.sampled_from(STEPS))
    def append_late(self, writer: int, data: st.DataObject, step: str) -> Any:
        """A process goes on with a run that has ended, as others may when the end comes from elsewhere."""
        ended = sorted({kept.event.pattern_run_id for kept in self.journal if kept.event.is_terminal})
        runs = [data.draw(st.sampled_from(ended))] if ended else []
        return multiple(*(self._append(self.writers[writer], run_id, step) for run_id in runs))

    @rule(target=cursors, writer=st.integers(0, 1))
    def rotate(self, writer: int) -> Any:
        """A process seals the file before its next line."""
        before = len(sealed_segments(self.path))
        self.writers[writer].rotate(1)
        cursor = self.begin_run(self.writers[writer])
        self.writers[writer].rotate()
        assert len(sealed_segments(self.path)) == before + 1
        return cursor

    @rule(form=st.sampled_from(["gzip", "zstd"]), data=st.data())
    def pack(self, form: Any, data: st.DataObject) -> None:
        """A sealed segment is compressed."""
        if plain := [segment for segment in sealed_segments(self.path) if is_plain(segment)]:
            compress(self.path, data.draw(st.sampled_from(plain)), form)

    @rule(size=st.integers(0, 300))
    def kill(self, size: int) -> None:
        """The processes are killed, one of them within its write."""
        self.killed += self.writers
        self.writers = [Journal(self.path), Journal(self.path)]
        if size:
            with open(self.path, "ab") as file:
                file.write(self.journal[-1].line[:size] if self.journal else b'{"event_id":'[:size])
            self.is_torn = True

    @rule()
    def restart(self) -> None:
        """The processes end in the orderly way, and others begin."""
        for writer in self.writers:
            writer.close()
        self.writers = [Journal(self.path), Journal(self.path)]

    @rule(script=st.lists(st.sampled_from(["take", "answer lost", "later", "wrong", "refuse", "reject"]), max_size=4))
    def deliver(self, script: list[str]) -> None:
        """What is owed is replayed."""
        self.receiver.script = script
        self._deliver()

    def _deliver(self) -> None:
        self.receiver.sent.clear()
        replay(self.path, self.receiver, Selection())
        runs = {kept.event.pattern_run_id for kept in self.journal}
        assert self.receiver.sent <= _all(map(self._spans, runs)), "a span is sent that no run has"
        record = DeliveryRecord(self.path, DESTINATION)
        settled = record.load()
        assert _all(settled.parked.values()) == self.receiver.parked
        for run_id in runs:
            on_record = {span_id for span_id in self._spans(run_id) if settled.has(run_id, [span_id])}
            said = self.receiver.acknowledged | self.receiver.parked
            assert on_record == self._spans(run_id) & said, "the record is not what was said"

    @precondition(lambda self: self.receiver.acknowledged or self.receiver.parked)
    @rule()
    def prune(self) -> None:
        """Whatever may be deleted is."""
        # As the command does it.
        needed = owed_runs(self.path) | {key for key, run in read_runs(self.path).items() if run.finished_at is None}
        segments = find_prunable(self.path, needed, before=None, keep_bytes=0).segments
        lines = {line.json for segment in segments for line, _ in read_documents(segment.path)}
        delete_segments(self.path, segments)
        event(f"segments pruned: {min(len(segments), 2)}")
        for kept in [kept for kept in self.journal if kept.line[:-1] in lines]:
            run_id = kept.event.pattern_run_id
            assert run_id not in self.open, "an event of a run that goes on is deleted"
            assert self._is_settled(run_id), "an event of a run that is owed is deleted"
            self.journal.remove(kept)
            self.deleted.append(kept)

    @rule(cursor=cursors)
    def follow(self, cursor: Cursor) -> None:
        """From a cursor each line behind it comes once, in order; from one that is gone, all that are there."""
        ends = [kept.end for kept in self.journal]
        told: list[str] = []
        expected = self.journal[ends.index(cursor) + 1 :] if cursor in ends else self.journal
        lines = follow_lines(self.path, start=cursor, on_restart=told.append)
        found = (
            list(islice((line.json + b"\n" for line in lines if _is_event(line)), len(expected))) if expected else []
        )
        lines.close()
        assert found == [kept.line for kept in expected]
        if expected:
            is_there = cursor.segment in {end.segment for end in ends}
            assert told == ([] if is_there else ["gone"])

    @invariant()
    def journal_has_every_line_once_in_order(self) -> None:
        """Every event that was appended and not deleted is read, byte by byte, in order; nothing else."""
        report = ReadReport()
        found = [line.json + b"\n" for line, _ in read_documents(self.path, report=report)]
        assert found == [kept.line for kept in self.journal]
        assert bool(report.unfinished_bytes) == self.is_torn


def _all(groups: Iterable[Iterable[str]]) -> set[str]:
    return {each for group in groups for each in group}


def _is_event(line: Line) -> bool:
    try:
        parse_slowly(line)
    except ValueError:
        return False
    return True


JournalMachine.TestCase.settings = settings(max_examples=60 if STORM == 1 else 100 * STORM, stateful_step_count=40)
test_journal_keeps_what_the_model_keeps = JournalMachine.TestCase

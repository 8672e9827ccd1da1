"""Paying in parts: however a journal grows meanwhile, each span is sent once, and nothing is left out."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from otel_patterns.journal import lines
from otel_patterns.journal.append import Journal
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.testing import FakeClock
from otel_patterns.tracing import delivered
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.otlp import single_spans
from otel_patterns.tracing.owed import owed_to
from otel_patterns.tracing.replay import Selection, replay, traces_of

RUNS = 6
STEPS = (
    names.SELECTION_STARTED,
    names.SELECTION_RESOLVED,
    names.EXECUTION_STARTED,
    names.EXECUTION_COMPLETED,
    # What comes after the end: of a run that is settled perhaps.
    names.EXECUTION_FAILED,
    names.VALIDATION_STARTED,
)


class Taking:
    """A receiver that takes everything, unless it is told not to, and remembers each span's bytes."""

    destination = "http://receiver.example/v1/traces"

    def __init__(self) -> None:
        self.spans: defaultdict[str, list[bytes]] = defaultdict(list)
        self.is_away = False

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Take the spans."""
        del timeout_seconds
        if self.is_away:
            return Answer("misconfigured", "away")
        for span_id, data in single_spans(body):
            self.spans[span_id].append(data)
        return Answer("acknowledged")


# Lines that are no event, although they name a run: torn, two on one line, an object, an object in an object.
ODD_LINES = {
    "torn": '{"event_id":"EVT-1","pattern_run_id":"%s","details":{',
    "glued": '{"pattern_run_id":"%s"}{"pattern_run_id":"%s"}',
    "object": '{"pattern_run_id":"%s"}',
    "nested": '{"details":{"pattern_run_id":"%s"}}',
}
# A run to go on with, or something else that happens: a payment, a payment that fails, a rotation, a lost checkpoint.
ACTIONS = st.one_of(st.integers(0, RUNS - 1), st.sampled_from(["replay", "away", "rotate", "forget", *ODD_LINES]))


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, max_size=60), st.booleans(), st.sampled_from([400, 80 * 1024]))
@example([0, 0, 0, 0, "replay", 1, 0, "replay", "rotate", 0, 1, 1, 1, "replay", 0, "replay"], False, 400)
@example([0, 0, 0, 0, "replay", 1, 0, "replay", "rotate", 0, 1, 1, 1, "replay", 0, "replay"], True, 400)
@example(
    [0, 0, 0, 0, "replay", "glued", 1, 1, 1, 1, "object", "forget", "torn", 2, 2, 2, 2, "replay"], False, 80 * 1024
)
def test_replays_in_between_send_each_span_once(actions: list[int | str], is_foreign: bool, block_bytes: int) -> None:
    """Runs overlap, get lines after their end, stand in several segments, and have ids that are ULIDs or not.

    And lines that are no events stand among theirs.
    """
    clock = FakeClock()
    receiver = Taking()
    # Whatever may be dropped from the record is dropped at once.
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(delivered, "_RUNS_WORTH_DROPPING", 1),
        patch.object(lines, "_CHUNK_BYTES", block_bytes),
    ):
        path = Path(folder) / "pattern_events.jsonl"
        journal = Journal(path)
        record = DeliveryRecord(path, receiver.destination)
        run_ids: dict[int, str] = {}
        steps: defaultdict[int, int] = defaultdict(int)
        for action in actions:
            clock.advance(0.01)
            if isinstance(action, int):
                run_id = run_ids.setdefault(action, f"PRUN-{f'RUN.{action}' if is_foreign else clock.new_ulid()}")
                event_type = STEPS[steps[action] % len(STEPS)]
                steps[action] += 1
                event = PatternEvent.create(event_type, "JOB-1", run_id, "PAT-A", "in_progress", {}, clock=clock)
                journal.append(event.to_line())
            elif action in ODD_LINES:
                known = [*run_ids.values(), "PRUN-NONE"]
                odd = ODD_LINES[action]
                journal.append((odd % ((known[0],) * odd.count("%s"))).encode() + b"\n")
            elif action == "rotate":
                journal.rotate(max_bytes=1)
            elif action == "forget":
                Path(record.path).with_suffix(".json").unlink(missing_ok=True)
            else:
                receiver.is_away = action == "away"
                report = replay(path, receiver, Selection())
                assert bool(report.owed) == bool(owed_to(path, record))
        receiver.is_away = False
        journal.close()
        replay(path, receiver, Selection())
        expected = {span.span_id for trace in traces_of(path, Selection()) for span in trace.spans}
        note(f"runs: {run_ids}")
        # A marker and stages of a run that had not ended then were sent as well; the end has no marker.
        assert expected <= receiver.spans.keys()
        assert all(len(set(copies)) == 1 for copies in receiver.spans.values())
        if "forget" not in actions:
            assert all(len(copies) == 1 for copies in receiver.spans.values())
        assert not owed_to(path, record)
        assert replay(path, receiver, Selection()).sent == 0

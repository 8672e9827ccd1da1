"""The fold gives one result for any order, split and duplication of the events (design section 4)."""

import json
from collections.abc import Iterable, Sequence
from itertools import chain

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import find_anomalies, fold, fold_run, in_order
from otel_patterns.model.runs import check_run
from otel_patterns.model.times import format_timestamp
from otel_patterns.store.aggregator import PatternRunAggregator
from tests.property.strategies import RUN_IDS, streams
from tests.schemas import RUN, SEED_RUN


class Source:
    """A journal in memory."""

    def __init__(self, events: Sequence[PatternEvent] = ()) -> None:
        self._events = events

    def get_events(self, job_id: str | None = None, pattern_run_id: str | None = None) -> list[PatternEvent]:
        """Return the events of a job, of a run, or all."""
        return [
            event
            for event in self._events
            if job_id in (None, event.job_id) and pattern_run_id in (None, event.pattern_run_id)
        ]


def folded(events: Iterable[PatternEvent]) -> list[tuple[str, str]]:
    """Return run ids and runs as JSON text, in the fold's order; 1, 1.0 and true differ in it."""
    return [(run_id, run.to_json()) for run_id, run in fold(events).items()]


@st.composite
def shuffles(draw: st.DrawFn, *, conflicts: bool) -> tuple[list[PatternEvent], list[PatternEvent]]:
    """Draw a stream, and the same events in another order with some of them again, as copies or as they are."""
    stream = draw(streams(conflicts=conflicts))
    again = draw(st.lists(st.sampled_from(stream), max_size=4))
    copies = [event if draw(st.booleans()) else _read_again(event) for event in again]
    return stream, draw(st.permutations([*stream, *copies]))


def _read_again(event: PatternEvent) -> PatternEvent:
    return PatternEvent.from_document(dict(reversed(event.to_dict().items())))


@settings(max_examples=200)
@given(shuffles(conflicts=True))
def test_fold_gives_the_same_runs_for_any_order_and_duplication(
    shuffled: tuple[list[PatternEvent], list[PatternEvent]],
) -> None:
    """Order and duplicates change neither the runs nor their order, also when copies with one id conflict."""
    stream, other = shuffled
    assert folded(other) == folded(stream)
    note(f"conflicts: {len({event.event_id for event in stream}) < len(stream)}")


@settings(max_examples=150)
@given(shuffles(conflicts=True))
def test_fold_of_a_run_is_the_same_alone_and_among_others(
    shuffled: tuple[list[PatternEvent], list[PatternEvent]],
) -> None:
    """Runs do not touch each other: interleaved or one by one, they fold alike."""
    stream, other = shuffled
    together = dict(folded(stream))
    for run_id, run in together.items():
        assert fold_run(event for event in other if event.pattern_run_id == run_id).to_json() == run


@settings(max_examples=150)
@given(shuffles(conflicts=False), st.integers(0, 16))
def test_aggregator_handed_events_one_by_one_ends_with_the_fold(
    shuffled: tuple[list[PatternEvent], list[PatternEvent]], cut: int
) -> None:
    """Incrementally, at once, or partly handed and partly read from the journal: the runs are the same."""
    stream, other = shuffled
    expected = dict(folded(stream))

    incremental = PatternRunAggregator(Source())
    latest = {event.pattern_run_id: incremental.handle_event(event) for event in other}
    assert {run_id: run.to_json() for run_id, run in latest.items()} == expected

    split = PatternRunAggregator(Source(other[cut:]))
    for event in other[:cut]:
        split.handle_event(event)
    assert {run_id: run.to_json() for run_id in expected if (run := split.get_run(run_id))} == expected

    rebuilt = PatternRunAggregator(Source(other))
    jobs = {event.job_id for event in stream}
    for job_id in jobs:
        of_job = [event for event in stream if event.job_id == job_id]
        if len(jobs) == 1:
            assert [(run.pattern_run_id, run.to_json()) for run in rebuilt.rebuild_from_events(job_id)] == folded(
                of_job
            )


@settings(max_examples=120)
@given(shuffles(conflicts=False))
def test_fold_of_every_part_counts_only_that_part(
    shuffled: tuple[list[PatternEvent], list[PatternEvent]],
) -> None:
    """An event that arrives late is folded as if it had come in time: each step equals the fold of what is there."""
    _, other = shuffled
    aggregator = PatternRunAggregator(Source())
    for number, event in enumerate(other, start=1):
        run = aggregator.handle_event(event)
        assert run.to_json() == dict(folded(other[:number]))[event.pattern_run_id]


@settings(max_examples=200)
@given(streams(conflicts=True))
def test_folded_run_is_always_a_valid_run(stream: list[PatternEvent]) -> None:
    """Whatever JSON the details hold, the run satisfies the schema and the check, as an object and as JSON text."""
    for run in fold(stream).values():
        assert RUN.problems(run.to_dict()) == []
        assert check_run(run.to_dict()) == []
        document = json.loads(run.to_json())
        assert RUN.problems(document) == []
        note(f"status {run.status}")


@settings(max_examples=150)
@given(streams(conflicts=True, run_ids=RUN_IDS[:1]))
def test_folded_run_with_ids_of_our_own_is_valid_under_the_seed_schema(stream: list[PatternEvent]) -> None:
    """When all ids are ULIDs, readers with the guide's schema can use the run."""
    (run,) = fold(stream).values()
    assert SEED_RUN.problems(json.loads(run.to_json())) == []


@settings(max_examples=200)
@given(streams(conflicts=True))
def test_times_of_a_folded_run_come_from_its_events(stream: list[PatternEvent]) -> None:
    """Start and end are times of events, and no duration is negative, with any skew of clocks."""
    runs = fold(stream)
    for run_id, run in runs.items():
        ordered = in_order(event for event in stream if event.pattern_run_id == run_id)
        starts = [event for event in ordered if event.event_type == names.EXECUTION_STARTED]
        ends = {format_timestamp(event.time_unix_nano) for event in ordered if event.is_terminal}
        assert run.started_at == format_timestamp((starts or ordered)[0].time_unix_nano)
        assert (run.finished_at is None) is (not ends)
        assert run.finished_at is None or run.finished_at in ends
        assert (run.duration_seconds is None) is (run.finished_at is None)
        assert run.duration_seconds is None or run.duration_seconds >= 0
        assert all(spent >= 0 for spent in run.metrics.values())
        assert run.events == [event.event_id for event in ordered]


@settings(max_examples=150)
@given(shuffles(conflicts=True))
def test_anomalies_are_the_same_for_any_order_and_duplication(
    shuffled: tuple[list[PatternEvent], list[PatternEvent]],
) -> None:
    """What is odd about a run does not depend on how its log was put together."""
    stream, other = shuffled
    for run_id in fold(stream):
        of_run, again = ([event for event in events if event.pattern_run_id == run_id] for events in shuffled)
        found = find_anomalies(of_run)
        assert set(find_anomalies(again)) == set(found)
        for anomaly in found:
            note(anomaly.kind)
    assert {event.event_id for event in chain(stream, other)} == {event.event_id for event in stream}

"""What is odd in a run's events: every kind, and where none is."""

from itertools import permutations
from typing import Any

import pytest

from otel_patterns.model import names
from otel_patterns.model.fold import Anomaly, find_anomalies, fold_run
from tests.documents import make_event, make_events

S, R, SF, T, V, VC, VF, X, XC, XF = names.EVENT_TYPES
PAUSED = "pattern.execution.paused"


def found(*steps: tuple[Any, ...]) -> list[tuple[str, int]]:
    """Return (kind, position of the event) of each anomaly, the first event being 1."""
    return [(anomaly.kind, int(anomaly.event_id[4:])) for anomaly in find_anomalies(make_events(*steps))]


@pytest.mark.parametrize(
    "event_types",
    [
        (S, R, T, V, VC, X, XC),
        (S, R, T, V, VC, V, VC, X, XF),
        (S, SF),
        (V, VF),
        (X, XC),
        (X,),
        (S,),
        (),
    ],
)
def test_ordinary_run_has_no_anomaly(event_types: tuple[str, ...]) -> None:
    """Runs that go as the guide describes, also those still going on, are not odd."""
    assert found(*((event_type, second) for second, event_type in enumerate(event_types))) == []


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(X, 0), (X, 1), (XC, 2)], [("second_start", 2)]),
        ([(X, 0), (XC, 1), (XF, 2)], [("second_end", 3)]),
        ([(X, 0), (XC, 1), (XC, 2), (XF, 3)], [("second_end", 3), ("second_end", 4)]),
        ([(X, 0), (XC, 1), (V, 2)], [("event_after_end", 3)]),
        ([(S, 0), (SF, 1), (X, 2), (XC, 3)], [("event_after_end", 3), ("second_end", 4)]),
        ([(XC, 0)], [("no_start", 1)]),
        ([(S, 0), (XF, 1)], [("no_start", 2)]),
        ([(XC, 0), (X, 1)], [("end_before_start", 1), ("event_after_end", 2)]),
        ([(X, 0), (PAUSED, 1), (XC, 2)], [("unknown_type", 2)]),
        ([(X, 0), (XC, 1), (PAUSED, 2)], [("unknown_type", 3)]),
    ],
)
def test_odd_run_has_the_anomalies_of_its_kind(steps: list[tuple[Any, ...]], expected: list[tuple[str, int]]) -> None:
    """Two starts, two ends, an end before or without a start, an event after the end, an unknown type."""
    assert found(*steps) == expected
    assert fold_run(make_events(*steps)).events == [event.event_id for event in make_events(*steps)]


def test_conflicting_copies_are_an_anomaly_and_plain_copies_are_none() -> None:
    """Duplicates are ordinary; two different events with one id are not."""
    event, other = make_event(X, number=1), make_event(X, number=1, details={"command": "make"})
    assert find_anomalies([event, make_event(X, number=1)]) == []
    expected = [Anomaly("conflicting_copy", event.event_id, "two different events have this id")]
    assert find_anomalies([event, other]) == expected
    assert find_anomalies([other, event]) == expected


def test_copies_that_differ_in_json_only_are_an_anomaly() -> None:
    """1 and true are equal to Python and differ in the journal."""
    copies = [make_event(X, number=1, details={"timeout_seconds": value}) for value in (1, True)]
    assert [anomaly.kind for anomaly in find_anomalies(copies)] == ["conflicting_copy"]


def test_event_of_another_job_is_an_anomaly_once() -> None:
    """A run belongs to one job; that of the earliest event counts, in whatever order the log has them."""
    events = [
        make_event(S, 0, number=1, job_id="JOB-b"),
        make_event(R, 1, number=2, job_id="JOB-a"),
        make_event(X, 2, number=3, job_id="JOB-a"),
    ]
    for order in permutations(events):
        (anomaly,) = find_anomalies(order)
        assert (anomaly.kind, anomaly.event_id) == ("other_job", events[1].event_id)
        assert anomaly.message == "the run belongs to JOB-b, this says JOB-a"


def test_anomaly_says_what_is_odd() -> None:
    """The message names the event types concerned."""
    messages = [anomaly.message for anomaly in find_anomalies(make_events((X, 0), (XC, 1), (XF, 2), ("deploy", 3)))]
    assert messages == [
        "pattern.execution.failed comes after pattern.execution.completed",
        "event type 'deploy' is not known",
    ]

"""Pairing of stages: which opening event belongs to which closing one."""

import pytest

from otel_patterns.model import names
from otel_patterns.model.stages import is_stage_closing, pair_stages
from tests.documents import make_events

S, R, SF, T, V, VC, VF, X, XC, XF = names.EVENT_TYPES


def paired(*event_types: str) -> list[tuple[str, int, int]]:
    """Return (stage, position of the opening event, position of the closing event), counted from 0."""
    events = make_events(*((event_type, second) for second, event_type in enumerate(event_types)))
    position = {event.event_id: index for index, event in enumerate(events)}
    return [
        (stage.name, position[stage.opening.event_id], position[stage.closing.event_id])
        for stage in pair_stages(events)
    ]


def test_stages_of_a_whole_run_are_four_in_closing_order() -> None:
    """Each stage lies between its own two events; the template begins when the selection was resolved."""
    assert paired(S, R, T, V, VC, X, XC) == [
        ("selection", 0, 1),
        ("template", 1, 2),
        ("validation", 3, 4),
        ("execution", 5, 6),
    ]


@pytest.mark.parametrize(
    ("event_types", "expected"),
    [
        # No opener, no stage.
        ((R,), []),
        ((T,), []),
        ((VC, XC), []),
        ((SF,), []),
        # The guide's own example: resolved without started.
        ((R, T, X, XC), [("template", 0, 1), ("execution", 2, 3)]),
        # A template after a selection that only started.
        ((S, T), [("template", 0, 1)]),
        # Failing ends close too.
        ((S, SF), [("selection", 0, 1)]),
        ((V, VF), [("validation", 0, 1)]),
        ((X, XF), [("execution", 0, 1)]),
        # A second validation is a second stage.
        ((V, VC, V, VF), [("validation", 0, 1), ("validation", 2, 3)]),
        # The latest opener counts, and is taken once.
        ((X, X, XC), [("execution", 1, 2)]),
        ((X, XC, XF), [("execution", 0, 1)]),
        ((S, R, R, T, T), [("selection", 0, 1), ("template", 2, 3)]),
        # Stages may overlap.
        ((X, V, XC, VC), [("execution", 0, 2), ("validation", 1, 3)]),
        # A stage that never closes is none.
        ((S, V, X), []),
        # Unknown types open and close nothing.
        ((X, "pattern.execution.paused", "deploy", XC), [("execution", 0, 3)]),
        ((), []),
    ],
)
def test_stages_of_odd_runs_pair_the_latest_free_opener(
    event_types: tuple[str, ...], expected: list[tuple[str, int, int]]
) -> None:
    """A closing event takes the latest preceding opener of its stage that no other has taken, or makes no stage."""
    assert paired(*event_types) == expected


def test_stage_depends_only_on_what_comes_before_its_end() -> None:
    """What happens later never changes a stage: its span was exported when it ended."""
    whole = (S, R, T, V, VF, V, VC, X, X, XF, XC, S, SF)
    stages = paired(*whole)
    for end in range(len(whole)):
        assert paired(*whole[:end]) == [stage for stage in stages if stage[2] < end]


def test_stage_closing_types_are_all_but_the_starts() -> None:
    """Three types open only; the other seven close a stage."""
    assert [event_type for event_type in names.EVENT_TYPES if not is_stage_closing(event_type)] == [S, V, X]
    assert not is_stage_closing("pattern.execution.paused")

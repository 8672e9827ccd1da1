"""Bars of stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_patterns.cli.output import ASCII, UNICODE
from otel_patterns.cli.waterfall import draw, waterfall_of
from otel_patterns.model.events import PatternEvent
from otel_patterns.testing import START_UNIX_NANO
from tests.unit.cli.support import event


@pytest.mark.parametrize(
    ("first", "last", "bar"),
    [
        (0, 32, "████"),
        (0, 1, "▏"),
        (0, 0, "▏"),
        (32, 32, "   ▏"),
        (8, 24, " ██"),
        (12, 20, " ▐▌"),
        (10, 20, " █▌"),
        (0, 12, "█▌"),
        (17, 20, "  ▍"),
    ],
)
def test_draw_bar_has_eighths_of_a_cell(first: int, last: int, bar: str) -> None:
    """A bar ends at an eighth of a cell and is never invisible."""
    assert draw(first, last, 4, UNICODE.eighths, UNICODE.right_half) == bar


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([UNICODE, ASCII]))
def test_draw_any_bar_stays_inside(first: int, last: int, symbols: object) -> None:
    """No bar is longer than the room it has, nor empty."""
    assert symbols in (UNICODE, ASCII)
    chosen = UNICODE if symbols is UNICODE else ASCII
    bar = draw(min(first, last), max(first, last), 50, chosen.eighths, chosen.right_half)
    assert 0 < len(bar) <= 50
    assert bar.strip()


def test_waterfall_stage_opened_again_counts_from_its_last_opener() -> None:
    """Of two openers without a closer between them the later one counts, as in the trace."""
    documents = [event("execution.started"), event("execution.started", 5)]
    waterfall = waterfall_of([PatternEvent.from_document(item) for item in documents], START_UNIX_NANO + 10 * 10**9)
    assert [(bar.name, bar.start_unix_nano - START_UNIX_NANO, bar.note) for bar in waterfall.bars] == [
        ("execution", 5 * 10**9, "running")
    ]


def test_waterfall_clock_behind_the_events_ends_with_the_last_event() -> None:
    """Events from a host whose clock is ahead do not give bars of negative length."""
    documents = [event("execution.started", 5)]
    waterfall = waterfall_of([PatternEvent.from_document(item) for item in documents], START_UNIX_NANO)
    assert waterfall.end_unix_nano == waterfall.start_unix_nano

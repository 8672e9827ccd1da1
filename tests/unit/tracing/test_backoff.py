"""Pauses between tries."""

import pytest

from otel_patterns.tracing import backoff
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.backoff import Backoff

RETRY = Answer("retry")


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success() -> None:
    """A receiver that is away for long is asked seldom, and after it took something it counts as healthy."""
    pauses = Backoff(longest_seconds=3.0, jitter=lambda: 1.0)
    assert not pauses.is_on
    assert [pauses.next_pause(RETRY) for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pauses.is_on
    pauses.reset()
    assert not pauses.is_on
    assert pauses.next_pause(RETRY) == 0.5


@pytest.mark.parametrize(
    ("asked", "pause"), [(None, 0.5), (0.0, 0.5), (7.0, 7.0), (3600.0, 300.0), (float("inf"), 300.0)]
)
def test_pause_is_as_long_as_the_receiver_asks_up_to_a_limit(asked: float | None, pause: float) -> None:
    """Nobody is asked sooner than he wants; an hour is cut, because by then another one may answer."""
    assert Backoff(jitter=lambda: 1.0).next_pause(Answer("retry", retry_after_seconds=asked)) == pause


def test_jitter_never_makes_a_pause_shorter_than_asked() -> None:
    """Jitter spreads clients; what was asked for is the least."""
    assert Backoff(jitter=lambda: 0.8).next_pause(Answer("retry", retry_after_seconds=10)) == 10
    assert Backoff(jitter=lambda: 1.2).next_pause(Answer("retry", retry_after_seconds=10)) == 12
    assert Backoff(jitter=lambda: 1.2).next_pause(RETRY) == 0.6


def test_wrong_configuration_is_tried_again_after_a_long_pause() -> None:
    """Somebody may repair it; until then there is no storm of requests."""
    pauses = Backoff(jitter=lambda: 1.0)
    assert [pauses.next_pause(Answer("misconfigured")) for _ in range(2)] == [backoff.MISCONFIGURED_SECONDS] * 2


def test_jitter_by_default_differs_and_stays_near() -> None:
    """Clients that failed at the same moment come back at different ones."""
    pauses = {Backoff().next_pause(RETRY) for _ in range(50)}
    assert len(pauses) > 1
    assert all(0.4 <= pause <= 0.6 for pause in pauses)

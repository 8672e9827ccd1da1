"""Asking a receiver whether it is there: one empty request, sent as spans are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from .answers import Answer, unix_seconds
from .sink import OtlpSink

if TYPE_CHECKING:
    from .endpoint import Endpoint

# An ExportTraceServiceRequest without spans has no bytes.
_EMPTY: Final = b""


class Probe(NamedTuple):
    """What came of it.

    Attributes:
        answer: As spans would have been answered.
        ahead_seconds: How far the receiver's clock is ahead of ours, less than zero when it is behind, and zero as far
            as can be told from whole seconds. None when it does not tell its time.
    """

    answer: Answer
    ahead_seconds: float | None


def probe(endpoint: Endpoint, now: Callable[[], int]) -> Probe:
    """Send an empty request and return what the receiver made of it. Never raises.

    Args:
        endpoint: The receiver.
        now: Returns the present time in nanoseconds since 1970.
    """
    sink = OtlpSink(endpoint)
    try:
        before = now()
        answer = sink.send(_EMPTY)
        return Probe(answer, _ahead(answer.date, before / 1e9, now() / 1e9))
    finally:
        sink.close()


def _ahead(date: str, before: float, after: float) -> float | None:
    then = unix_seconds(date) if date else None
    if then is None:
        return None
    # It was between `then` and a second later there, and between `before` and `after` here.
    return then - after if then > after else min(0.0, then + 1 - before)

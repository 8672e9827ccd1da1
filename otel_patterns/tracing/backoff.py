"""How long to leave a receiver alone that did not take what it was sent: one rule for live delivery and replay."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from .answers import Answer

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 30.0
# A receiver may ask for more; but it may also be another one by then.
LONGEST_ASKED_SECONDS: Final = 300.0
# What answers there is no receiver for us. Somebody may repair it while we run, so it is asked now and then.
MISCONFIGURED_SECONDS: Final = 300.0
# Not the module's own generator: a program that seeds it wants its numbers for itself.
_JITTER: Final = random.SystemRandom()


def _jitter() -> float:
    return _JITTER.uniform(0.8, 1.2)


class Backoff:
    """Pauses that double from one failure to the next, with jitter: clients that failed together come back apart."""

    def __init__(self, *, longest_seconds: float = LONGEST_SECONDS, jitter: Callable[[], float] = _jitter) -> None:
        self._longest_seconds = longest_seconds
        self._jitter = jitter
        self._seconds = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last answer was a failure."""
        return self._seconds > 0

    def next_pause(self, answer: Answer) -> float:
        """Return how many seconds to wait after an answer of the kind `retry` or `misconfigured`."""
        self._seconds = min(max(self._seconds * 2, FIRST_SECONDS), self._longest_seconds)
        if answer.kind == "misconfigured":
            return MISCONFIGURED_SECONDS * self._jitter()
        asked = min(answer.retry_after_seconds or 0.0, LONGEST_ASKED_SECONDS)
        # Never before the time that was asked for.
        return max(self._seconds * self._jitter(), asked * max(1.0, self._jitter()))

    def reset(self) -> None:
        """Begin anew: the receiver has taken something."""
        self._seconds = 0.0

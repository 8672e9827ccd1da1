"""A clock that a test moves by hand."""

from __future__ import annotations

import os
import weakref
from itertools import count
from typing import Final

from ..clock import Clock

START_UNIX_NANO: Final = 1_795_339_800_000_000_000
"""Where a `FakeClock` begins: 2026-11-22T09:30:00Z, the time in the examples of the docs."""
_BITS_OF_A_PROCESS: Final = 40


class FakeClock(Clock):
    """A clock that stands still until it is told to move, and whose random bits count up from 1.

    So ids follow from the time and from how many were made before. Thread-safe; threads that race for ids get them in
    the order of the race. A forked child counts on from a number of its own: its ids are never the parent's.

    Args:
        start_unix_nano: Where it begins, in nanoseconds since 1970; 2026-11-22T09:30:00Z unless told otherwise.

    Attributes:
        unix_nano: The wall clock in nanoseconds since 1970; may be set to any time, also back.
        monotonic_seconds: What `monotonic` returns; moved by `advance` alone.
    """

    def __init__(self, start_unix_nano: int = START_UNIX_NANO) -> None:
        super().__init__()
        self.unix_nano = start_unix_nano
        self.monotonic_seconds = 0.0
        self._bits = count(1)
        _alive.add(self)

    def now_unix_nano(self) -> int:
        """Return the time that was set."""
        return self.unix_nano

    def monotonic(self) -> float:
        """Return the seconds the clock was advanced by."""
        return self.monotonic_seconds

    def random_bits(self) -> int:
        """Return 1 at the first call, 2 at the second, and so on."""
        return next(self._bits)

    def advance(self, seconds: float) -> None:
        """Move both clocks forward.

        Args:
            seconds: How far, by any part of a second down to nanoseconds.
        """
        self.unix_nano += round(seconds * 1e9)
        self.monotonic_seconds += seconds

    def forget(self) -> None:
        """Start a new sequence of ids, as a forked child must: readers drop the second event of an id."""
        super().forget()
        self._bits = count((os.getpid() << _BITS_OF_A_PROCESS) + 1)


_alive: weakref.WeakSet[FakeClock] = weakref.WeakSet()


def _after_fork() -> None:
    for clock in list(_alive):
        clock.forget()


os.register_at_fork(after_in_child=_after_fork)

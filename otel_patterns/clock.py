"""Time and ids: the only place that asks the operating system for either."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
_REMEMBERED = 20_000
_TAIL_BITS = 20
_TAIL_MASK = (1 << _TAIL_BITS) - 1
_TAIL_LENGTH = 4
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]


def encode_ulid(value: int) -> str:
    """Return the 26 characters of a ULID for a 128-bit number (ULID spec: Crockford base 32, upper case)."""
    pairs = [_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)]
    return "".join(pairs)


class Clock:
    """The system's time and fresh ids. Thread-safe and fork-safe.

    Event ids are monotonic within a process, so events of one millisecond keep their order.
    Run ids are not: samplers look at the low bits of the trace id, which are the run id's.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._making = False
        self._last = 0
        self._head = (-1, "")
        self._made: OrderedDict[str, None] = OrderedDict()

    def now_unix_nano(self) -> int:
        """Return the wall clock in nanoseconds since 1970."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def random_bits(self) -> int:
        """Return 80 random bits."""
        return int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")

    def new_ulid(self) -> str:
        """Return a ULID with fresh randomness."""
        ulid = encode_ulid((self.now_unix_nano() // 1_000_000) << _RANDOM_BITS | self.random_bits())
        self._made[ulid] = None
        if len(self._made) > _REMEMBERED:
            # The eldest, in one step: other threads make ids as well.
            self._made.popitem(last=False)
        return ulid

    def made(self, ulid: str) -> bool:
        """Tell whether `new_ulid` made this ULID lately: then its time is by this clock, without any skew.

        For the package itself.
        """
        return ulid in self._made

    def new_monotonic_ulid(self) -> str:
        """Return a ULID greater than every earlier one of this process, also when the wall clock goes back."""
        with self._lock:
            if self._making:
                # A signal handler came in between: counting on would give its id to two events.
                return encode_ulid((self.now_unix_nano() // 1_000_000) << _RANDOM_BITS | self.random_bits())
            self._making = True
            try:
                milliseconds = self.now_unix_nano() // 1_000_000
                last = self._last + 1
                if milliseconds > self._last >> _RANDOM_BITS:
                    last = milliseconds << _RANDOM_BITS | self.random_bits()
                self._last = last
                head, text = self._head
                if head != last >> _TAIL_BITS:
                    # All but the last characters of the ids of one millisecond are the same.
                    head = last >> _TAIL_BITS
                    text = encode_ulid(head << _TAIL_BITS)[:-_TAIL_LENGTH]
                    self._head = (head, text)
                tail = last & _TAIL_MASK
                return f"{text}{_PAIRS[tail >> 10]}{_PAIRS[tail & 1023]}"
            finally:
                self._making = False

    def forget(self) -> None:
        """Start a new monotonic sequence with a new lock, as a forked child must: it shares the parent's last id."""
        self._lock = threading.RLock()
        self._making = False
        self._last = 0


SYSTEM_CLOCK = Clock()
"""The clock of everything that is given no other."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SYSTEM_CLOCK.forget)

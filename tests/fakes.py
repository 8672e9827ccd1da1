"""Doubles for what a test must not take from the machine."""

from otel_patterns.clock import Clock

# 2026-11-22T09:30:00Z: the time in the examples of the docs.
START_UNIX_NANO = 1_795_339_800_000_000_000


class FakeClock(Clock):
    """A clock that stands still until it is told to move, and whose random bits count up from 1.

    Attributes:
        unix_nano: The wall clock in nanoseconds since 1970; may be set to any time, also back.
        monotonic_seconds: What `monotonic` returns; moved by `advance` alone.
    """

    def __init__(self, start_unix_nano: int = START_UNIX_NANO) -> None:
        super().__init__()
        self.unix_nano = start_unix_nano
        self.monotonic_seconds = 0.0
        self._bits = 0

    def now_unix_nano(self) -> int:
        """Return the time that was set."""
        return self.unix_nano

    def monotonic(self) -> float:
        """Return the seconds the clock was advanced by."""
        return self.monotonic_seconds

    def random_bits(self) -> int:
        """Return 1 at the first call, 2 at the second, and so on."""
        self._bits += 1
        return self._bits

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self.unix_nano += round(seconds * 1e9)
        self.monotonic_seconds += seconds

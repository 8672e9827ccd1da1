"""A journal with tails of it, and what they say of a run."""

from __future__ import annotations

from pathlib import Path

from otel_patterns.journal.cursor import Cursor
from otel_patterns.journal.tail import RunTail
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import FakeClock
from tests.unit.journal.lines import add, event_ids, event_line, run_id_at, segment_at

SECOND = 1_000_000_000


class Bench:
    """A journal, a clock, and tails of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.tails: list[RunTail] = []
        self._number = 0

    def tail(self) -> RunTail:
        """Begin a tail of the journal as it is now."""
        self.tails.append(RunTail(str(self.path), clock=self.clock))
        return self.tails[-1]

    def close(self) -> None:
        """Close all tails."""
        for tail in self.tails:
            tail.close()

    def run_id(self, seconds_ago: float = 0.0) -> str:
        """Return the id of a run born now, or some time ago."""
        self._number += 1
        return run_id_at(self.clock.unix_nano - round(seconds_ago * SECOND), self._number)

    def line(self, run_id: str, *, size: int = 0, number: int | None = None) -> bytes:
        """Return a new event's line, or, with a number, one with the same id as before."""
        if number is None:
            self._number += 1
            number = self._number
        return event_line(number, run_id=run_id, size=size, timestamp=format_timestamp(self.clock.unix_nano))

    def write(self, data: bytes) -> tuple[Cursor, Cursor]:
        """Append bytes a moment later, and return the cursors of their beginning and end."""
        self.clock.advance(0.001)
        start, end = add(self.path, data)
        segment = segment_at(self.path)
        return Cursor(segment, start), Cursor(segment, end)

    def emit(self, run_id: str, *, size: int = 0) -> tuple[Cursor, Cursor]:
        """Append an event of the run."""
        return self.write(self.line(run_id, size=size))

    def replace(self) -> None:
        """Rename the journal away, as rotation from outside does."""
        self.path.rename(self.path.with_name(f"former-{len(list(self.path.parent.iterdir()))}"))

    def expected(self, run_id: str) -> list[str]:
        """Return what a full read says: the ids of the run's distinct events in journal order."""
        return list(dict.fromkeys(event_ids(self.path, pattern_run_id=run_id)))


def ids_of(tail: RunTail, run_id: str, cursors: tuple[Cursor, Cursor], *, made_here: bool = True) -> list[str]:
    """Return the event ids that the tail has of a run."""
    return [event.event_id for event in tail.events(run_id, *cursors, made_here=made_here)]

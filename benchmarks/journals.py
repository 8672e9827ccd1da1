"""Journals of any size, as engines write them: runs of seven events that overlap, of many jobs."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from otel_patterns import PatternEvent
from otel_patterns.model import names
from otel_patterns.testing import FakeClock

from .run_of_seven import EVENTS

RUNS_A_JOB = 50
_OPEN_RUNS = 5


def write_journal(path: Path, events: int) -> list[str]:
    """Write a journal of so many events, and return the ids of its jobs."""
    clock = FakeClock()
    jobs: list[str] = []
    waiting: deque[tuple[str, str, int]] = deque()
    begun = written = 0
    with path.open("wb") as file:
        while written < events:
            while len(waiting) < _OPEN_RUNS:
                if begun % RUNS_A_JOB == 0:
                    jobs.append(f"JOB-{clock.new_ulid()}")
                waiting.append((f"PRUN-{clock.new_ulid()}", jobs[-1], 0))
                begun += 1
            run_id, job_id, index = waiting.popleft()
            event_type, status, details = EVENTS[index]
            clock.advance(0.0137)
            event = PatternEvent.create(event_type, job_id, run_id, "PAT-SEMGREP-001", status, details, clock=clock)
            file.write(event.to_line())
            written += 1
            if event_type not in names.TERMINAL_EVENT_TYPES:
                waiting.append((run_id, job_id, index + 1))
    return jobs

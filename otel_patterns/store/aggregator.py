"""`PatternRunAggregator`: runs as they are now, from a source of events and from what it was handed."""

from __future__ import annotations

from typing import Protocol

from ..model.events import PatternEvent
from ..model.fold import fold, fold_run, in_order
from ..model.runs import PatternRun


class EventSource(Protocol):
    """Anything that returns events by job or by run; `PatternEventEmitter` does."""

    def get_events(self, job_id: str | None = None, pattern_run_id: str | None = None) -> list[PatternEvent]:
        """Return the events of a job, of a run, or all, in any order.

        Args:
            job_id: Only those of this job.
            pattern_run_id: Only those of this run.
        """
        ...


class PatternRunAggregator:
    """Folds events into runs. What it was handed and what the source holds count once, in any order.

    Args:
        emitter: Where events are read from: a `PatternEventEmitter`, or anything with its `get_events`.
    """

    def __init__(self, emitter: EventSource) -> None:
        self._source = emitter
        self._handed: dict[str, dict[str, PatternEvent]] = {}

    def handle_event(self, event: PatternEvent) -> PatternRun:
        """Take an event and return its run, folded from all events handed in or read so far.

        Args:
            event: An event of any run; handing it in again changes nothing.
        """
        events = self._handed.setdefault(event.pattern_run_id, {})
        # Of two events with one id the fold keeps the same one in any order; so must this.
        events[event.event_id] = in_order((events.get(event.event_id, event), event))[0]
        return fold_run(events.values())

    def rebuild_from_events(self, job_id: str) -> list[PatternRun]:
        """Return the job's runs from the source, ordered by their first event.

        Args:
            job_id: `JOB-…`.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        events = self._source.get_events(job_id=job_id)
        self._take(events)
        runs = {event.pattern_run_id for event in events}
        handed = [event for run_id in runs for event in self._handed[run_id].values()]
        return list(fold(handed).values())

    def get_run(self, pattern_run_id: str) -> PatternRun | None:
        """Return a run as it is now, or None when no event of it is known.

        Args:
            pattern_run_id: `PRUN-…`, whole.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        self._take(self._source.get_events(pattern_run_id=pattern_run_id))
        events = self._handed.get(pattern_run_id)
        return fold_run(events.values()) if events else None

    def _take(self, events: list[PatternEvent]) -> None:
        for event in events:
            # The journal's copy counts: it holds what the writing process recorded.
            self._handed.setdefault(event.pattern_run_id, {})[event.event_id] = event

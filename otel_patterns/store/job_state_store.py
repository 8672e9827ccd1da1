"""`JobStateStore`: the queries of the integration guide, answered from the journal."""

from __future__ import annotations

import os
from typing import Any

from ..journal.read import Filter, read_events
from ..model.events import PatternEvent
from ..settings import Settings
from .aggregator import PatternRunAggregator


class _JournalSource:
    def __init__(self, path: str) -> None:
        self._path = path

    def get_events(self, job_id: str | None = None, pattern_run_id: str | None = None) -> list[PatternEvent]:
        return list(read_events(self._path, Filter(job_id=job_id, pattern_run_id=pattern_run_id)))


class JobStateStore:
    """Events and runs of jobs as JSON objects (integration guide, step 3). Always as new as the journal.

    Args:
        db_path: Accepted for the guide's signature; there is no database, each method reads the journal.
        journal: Path of the journal; None means the `journal` setting.

    Attributes:
        db_path: What was given.

    Raises:
        ConfigurationError: An argument or a variable cannot be used.
    """

    def __init__(self, db_path: str | None = None, *, journal: str | os.PathLike[str] | None = None) -> None:
        self.db_path = db_path
        self._source = _JournalSource(Settings.load(journal=journal).journal)

    def get_pattern_events(self, job_id: str) -> list[dict[str, Any]]:
        """Return a job's events in journal order, each with the nine keys.

        Args:
            job_id: `JOB-…`.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        return [event.to_dict() for event in self._source.get_events(job_id=job_id)]

    def get_pattern_runs(self, job_id: str) -> list[dict[str, Any]]:
        """Return a job's runs as `pattern_run.v1.json` describes them, ordered by their first event.

        Args:
            job_id: `JOB-…`.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        return [run.to_dict() for run in PatternRunAggregator(self._source).rebuild_from_events(job_id)]

    def get_pattern_run(self, pattern_run_id: str) -> dict[str, Any] | None:
        """Return one run, or None when the journal has no event of it.

        Args:
            pattern_run_id: `PRUN-…`, whole.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        run = PatternRunAggregator(self._source).get_run(pattern_run_id)
        return run.to_dict() if run is not None else None

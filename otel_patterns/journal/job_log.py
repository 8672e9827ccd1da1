"""The log of one job: a copy of its events, made from the journal's lines."""

from __future__ import annotations

import os

from ..errors import Guard
from .append import JOURNAL_NAME, Journal
from .receipt import Receipt


def append_once(path: str, line: bytes, *, lock_path: str, guard: Guard) -> Receipt:
    """Append to a file that is written now and then, without keeping its descriptors open (per-job logs).

    What cannot be written is lost, and counted so: nobody would write it later.
    """
    journal = Journal(path, guard=guard, lock_path=lock_path, spool_lines=0)
    try:
        return journal.append(line)
    finally:
        journal.close()


def append_to_job(journal: Journal, job_id: str, line: bytes) -> Receipt:
    """Append a line of the journal to the log of its job, `jobs/<job_id>/` beside the journal."""
    path = os.path.join(os.path.dirname(journal.path), "jobs", job_id, JOURNAL_NAME)
    return append_once(path, line, lock_path=f"{journal.path}.lock", guard=journal.guard)

"""The log of one job: a copy of its events, made from the journal's lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import Guard, JournalError
from .append import JOURNAL_NAME, Journal
from .read import read_documents
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
    path = os.path.join(_directory_of(journal.path), job_id, JOURNAL_NAME)
    return append_once(path, line, lock_path=f"{journal.path}.lock", guard=journal.guard)


class JobLog(NamedTuple):
    """How the log of a job compares with the journal.

    Attributes:
        job_id: The job.
        missing: How many of its events in the journal the log did not have.
        only_here: How many events it has that the journal has not: it was pruned, or somebody else wrote them.
    """

    job_id: str
    missing: int
    only_here: int


def repair_job_logs(path: str, *, dry_run: bool = False) -> Iterator[JobLog]:
    """Append to each log of a job what it misses of the journal, and yield those that differ from it, by job id.

    The journal is the truth: what only a log has stays there, and is never copied into the journal.

    Args:
        path: The journal.
        dry_run: Only compare.

    Raises:
        JournalError: The journal or a log cannot be read, or not be written.
    """
    logs = {job_id: _event_ids(log) for job_id, log in _logs_of(path)}
    only_here = {job_id: set(event_ids) for job_id, event_ids in logs.items()}
    missing = dict.fromkeys(logs, 0)
    journal = Journal(path)
    try:
        for line, document in read_documents(path) if logs else ():
            job_id, event_id = document["job_id"], document["event_id"]
            if job_id not in logs:
                continue
            only_here[job_id].discard(event_id)
            if event_id in logs[job_id]:
                continue
            if not dry_run and append_to_job(journal, job_id, line.json + b"\n").state != "journaled":
                raise JournalError(os.path.join(_directory_of(path), job_id), "cannot be written")
            logs[job_id].add(event_id)
            missing[job_id] += 1
    finally:
        journal.close()
    for job_id in logs:
        if missing[job_id] or only_here[job_id]:
            yield JobLog(job_id, missing[job_id], len(only_here[job_id]))


def _directory_of(path: str) -> str:
    return os.path.join(os.path.dirname(path), "jobs")


def _logs_of(path: str) -> Iterator[tuple[str, str]]:
    """Yield the jobs that have a log, and where it is."""
    directory = _directory_of(path)
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise JournalError(directory, error.strerror or str(error)) from error
    for name in names:
        log = os.path.join(directory, name, JOURNAL_NAME)
        if os.path.isfile(log):
            yield name, log


def _event_ids(path: str) -> set[str]:
    return {document["event_id"] for _, document in read_documents(path)}

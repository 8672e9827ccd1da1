"""Which runs of a journal a destination has not settled."""

from __future__ import annotations

import os
from typing import Final

from .backlog import Backlog
from .delivered import DeliveryRecord
from .endpoint import Endpoint, exports_traces, names_endpoint
from .projection import project

_BLOCKS: Final = 32


def owed_runs(journal_path: str) -> set[str]:
    """Return the ids of the runs that are owed to the environment's receiver; when it names none, to any on record.

    Raises:
        ConfigurationError: The environment names no usable receiver.
        JournalError: The journal or a delivery record cannot be read.
    """
    if exports_traces() and names_endpoint():
        records = [DeliveryRecord(journal_path, Endpoint.from_environment().destination)]
    else:
        records = DeliveryRecord.all_of(journal_path)
    return {run_id for record in records for run_id in owed_to(journal_path, record)}


def owed_to(journal_path: str | os.PathLike[str], record: DeliveryRecord) -> set[str]:
    """Return the ids of the runs of which one destination has not settled all that is final.

    Raises:
        JournalError: The journal or the delivery record cannot be read.
    """
    settled, checkpoint = record.load(), record.load_checkpoint()
    backlog = Backlog(journal_path, checkpoint, start=checkpoint.cursor, settled=settled)
    owed: set[str] = set()
    try:
        is_more = True
        while is_more:
            is_more = backlog.read(_BLOCKS)
            for run in [*backlog.take_ended(), *(() if is_more else [run for run in backlog.runs if not run.is_ended])]:
                trace = project(run.events)
                run.events = []
                if trace is None or not trace.sampled or trace.native:
                    continue
                if not settled.has(run.run_id, [span.span_id for span in trace.spans]):
                    owed.add(run.run_id)
    finally:
        backlog.close()
    return owed

"""Which runs of a journal a destination has not settled."""

from __future__ import annotations

import os

from .delivered import DeliveryRecord, load_settled, record_directory
from .endpoint import Endpoint, exports_traces, names_endpoint
from .replay import Selection, traces_of


def owed_runs(journal_path: str) -> set[str]:
    """Return the ids of the runs that are owed to the environment's receiver; when it names none, to any on record.

    Raises:
        ConfigurationError: The environment names no usable receiver.
        JournalError: The journal or a delivery record cannot be read.
    """
    if exports_traces() and names_endpoint():
        records = [DeliveryRecord(journal_path, Endpoint.from_environment().destination).load()]
    else:
        directory = record_directory(journal_path)
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        records = [load_settled(os.path.join(directory, name)) for name in names if name.endswith(".jsonl")]
    owed: set[str] = set()
    if records:
        for trace in traces_of(journal_path, Selection()):
            if trace.native or not trace.sampled:
                continue
            span_ids = [span.span_id for span in trace.spans]
            if not all(settled.has(trace.run_id, span_ids) for settled in records):
                owed.add(trace.run_id)
    return owed

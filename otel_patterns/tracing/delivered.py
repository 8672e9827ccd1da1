"""What a destination has acknowledged: one JSON line per answer, appended after the answer was read.

A run is delivered when every span of its trace is on record here. A line that was torn or lost only means that its
spans are sent once more, with the same bytes. Deleting the file means that everything is owed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Guard
from ..journal.append import Journal
from ..journal.lines import open_to_read, read_lines


class DeliveryRecord:
    """The spans one destination has acknowledged, in `delivery/<destination>.jsonl` beside the journal."""

    def __init__(self, journal_path: str | os.PathLike[str], destination: str, *, guard: Guard | None = None) -> None:
        slug = re.sub("[^a-z0-9.]+", "-", destination.lower()).strip("-")[:80]
        digest = hashlib.sha256(destination.encode()).hexdigest()[:8]
        self.path = os.path.join(record_directory(journal_path), f"{slug}-{digest}.jsonl")
        self._file = Journal(self.path, guard=guard)

    def add(self, spans_by_run: Mapping[str, Iterable[str]]) -> None:
        """Record acknowledged span ids. Never raises."""
        for run_id, spans in spans_by_run.items():
            line = json.dumps({"pattern_run_id": run_id, "span_ids": sorted(spans)}, separators=(",", ":"))
            self._file.append(line.encode() + b"\n")

    def load(self) -> dict[str, set[str]]:
        """Return the acknowledged span ids of every run.

        Raises:
            JournalError: The record exists and cannot be read.
        """
        return load_delivered(self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def record_directory(journal_path: str | os.PathLike[str]) -> str:
    """Return the directory of a journal's delivery records."""
    return os.path.join(os.path.dirname(os.path.abspath(journal_path)), "delivery")


def load_delivered(path: str) -> dict[str, set[str]]:
    """Return the acknowledged span ids of every run on a delivery record.

    Raises:
        JournalError: The record exists and cannot be read.
    """
    delivered: dict[str, set[str]] = {}
    file = open_to_read(path)
    if file is None:
        return delivered
    with file:
        for line in read_lines(file):
            try:
                entry: Any = json.loads(line.data)
                run_id, spans = entry["pattern_run_id"], entry["span_ids"]
                delivered.setdefault(str(run_id), set()).update(str(span) for span in spans)
            except (ValueError, TypeError, KeyError):  # noqa: PERF203  # a damaged line must cost only itself
                continue
    return delivered

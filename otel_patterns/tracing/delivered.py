"""What a destination has made of spans: one JSON line per answer and run, appended after the answer was read.

A span is settled when it is on record here: acknowledged, or parked because its receiver has seen it and does not
want it. All others are owed. A line that was torn or lost only means that its spans are sent once more, with the same
bytes. Deleting the file means that everything is owed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import Guard
from ..journal.append import Journal
from ..journal.lines import open_to_read, read_lines

if TYPE_CHECKING:
    from .answers import Answer
    from .parcels import Parcel


@dataclass
class Settled:
    """What is on record of a destination.

    Attributes:
        acknowledged: The span ids of every run that were acknowledged.
        parked: Of every run the span ids that the receiver does not want, with the reason and the receiver's words.
            A span that was acknowledged before or after is not among them.
    """

    acknowledged: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    parked: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def has(self, run_id: str, span_ids: Iterable[str]) -> bool:
        """Tell whether all these spans of a run are settled: then nothing of them is owed."""
        acknowledged, parked = self.acknowledged.get(run_id, ()), self.parked.get(run_id, ())
        return all(span_id in acknowledged or span_id in parked for span_id in span_ids)


class DeliveryRecord:
    """What one destination made of spans, in `delivery/<destination>.jsonl` beside the journal."""

    def __init__(self, journal_path: str | os.PathLike[str], destination: str, *, guard: Guard | None = None) -> None:
        slug = re.sub("[^a-z0-9.]+", "-", destination.lower()).strip("-")[:80]
        digest = hashlib.sha256(destination.encode()).hexdigest()[:8]
        self.path = os.path.join(record_directory(journal_path), f"{slug}-{digest}.jsonl")
        self._file = Journal(self.path, guard=guard)

    def settle(self, parcels: Sequence[Parcel], answer: Answer) -> None:
        """Record what the receiver took, or has seen and does not want. Never raises."""
        spans_by_run: dict[str, list[str]] = {}
        for parcel in parcels:
            spans_by_run.setdefault(parcel.run_id, []).extend(parcel.span_ids)
        outcome = {"parked": answer.kind, "reason": answer.message} if answer.is_final else {}
        for run_id, spans in spans_by_run.items():
            entry = {"pattern_run_id": run_id, "span_ids": sorted(spans), **outcome}
            line = json.dumps(entry, separators=(",", ":"), ensure_ascii=False)
            self._file.append(line.encode("utf-8", "replace") + b"\n")

    def load(self) -> Settled:
        """Return what is on record.

        Raises:
            JournalError: The record exists and cannot be read.
        """
        return load_settled(self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def record_directory(journal_path: str | os.PathLike[str]) -> str:
    """Return the directory of a journal's delivery records."""
    return os.path.join(os.path.dirname(os.path.abspath(journal_path)), "delivery")


def load_settled(path: str) -> Settled:
    """Return what is on a delivery record.

    Raises:
        JournalError: The record exists and cannot be read.
    """
    settled = Settled()
    file = open_to_read(path)
    if file is None:
        return settled
    with file:
        for line in read_lines(file):
            try:
                _read(json.loads(line.data), settled)
            except (ValueError, TypeError, KeyError):  # noqa: PERF203  # a damaged line must cost only itself
                continue
    for run_id, parked in settled.parked.items():
        for span_id in settled.acknowledged.get(run_id, set()) & parked.keys():
            del parked[span_id]
    return settled


def _read(entry: Any, settled: Settled) -> None:
    run_id, spans = str(entry["pattern_run_id"]), [str(span) for span in entry["span_ids"]]
    if "parked" in entry:
        words = f"{entry['parked']}: {entry.get('reason') or 'no reason was given'}"
        settled.parked.setdefault(run_id, {}).update(dict.fromkeys(spans, words))
    else:
        settled.acknowledged.setdefault(run_id, set()).update(spans)

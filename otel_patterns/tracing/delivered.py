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
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from ..errors import Guard
from ..journal.append import LOCK_TIMEOUT_SECONDS, Journal
from ..journal.cursor import BEGINNING, Cursor
from ..journal.lines import open_to_read, read_blocks
from ..journal.lock import locked
from ..journal.state import replace_file
from ..model.values import clean_text
from .owner import own, owner_of

if TYPE_CHECKING:
    from .answers import Answer
    from .parcels import Parcel
    from .trace import EncodedSpan

# Rewriting the record for less would cost more than reading it does.
_RUNS_WORTH_DROPPING: Final = 1000


class _Entry(msgspec.Struct, gc=False, omit_defaults=True):
    pattern_run_id: str
    span_ids: list[str]
    parked: str | None = None
    reason: str | None = None
    whole: bool = False


class _Outline(msgspec.Struct, gc=False):
    """An entry without its spans: reading those of runs that are settled whole would be half of the work."""

    pattern_run_id: str
    parked: str | None = None
    whole: bool = False


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(_Entry)
_outline_decoder: Final = msgspec.json.Decoder(_Outline)


@dataclass
class Settled:
    """What is on record of a destination.

    Attributes:
        whole: Runs that are known to be settled whole, now and for ever: each of their spans is acknowledged or parked.
        acknowledged: Of every other run the span ids that were acknowledged; they may be all of its spans.
        parked: Of every run the span ids that the receiver does not want, with the reason and the receiver's words.
            A span that was acknowledged before or after is not among them.
    """

    whole: set[str] = field(default_factory=set[str])
    acknowledged: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    parked: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    def add(self, parcels: Sequence[Parcel], answer: Answer) -> None:
        """Add what was acknowledged or parked now."""
        for parcel in parcels:
            if answer.is_final:
                self._park(parcel.run_id, parcel.span_ids, _words_of(answer.kind, answer.message))
            else:
                self._acknowledge(parcel.run_id, parcel.span_ids, is_whole=parcel.completes)

    def read(self, block: bytes) -> None:
        """Add what lines of the record say."""
        outlines = _outlines_of(block)
        whole = [outline.pattern_run_id for outline in outlines if outline.whole and outline.parked is None]
        are_new = self.parked.keys().isdisjoint(whole) and self.acknowledged.keys().isdisjoint(whole)
        if are_new and len(whole) == block.count(b"\n"):
            # As one by one, in a fraction of the time.
            self.whole.update(whole)
            return
        for entry in _entries_of(block):
            if entry.parked is not None:
                self._park(entry.pattern_run_id, entry.span_ids, _words_of(entry.parked, entry.reason))
            else:
                self._acknowledge(entry.pattern_run_id, entry.span_ids, is_whole=entry.whole)

    def _park(self, run_id: str, span_ids: Sequence[str], words: str) -> None:
        parked = self.parked.get(run_id, {})
        acknowledged = self.acknowledged.get(run_id, ())
        # What is not parked of a run that is settled whole was acknowledged.
        new = [each for each in span_ids if each in parked or not (run_id in self.whole or each in acknowledged)]
        if new:
            self.parked[run_id] = {**parked, **dict.fromkeys(new, words)}

    def _acknowledge(self, run_id: str, span_ids: Sequence[str], *, is_whole: bool) -> None:
        if run_id in self.parked:
            self.parked[run_id] = {each: words for each, words in self.parked[run_id].items() if each not in span_ids}
            if not self.parked[run_id]:
                del self.parked[run_id]
        if is_whole:
            # Most runs: their ids alone, so that a long record takes little memory, and is read in little time.
            self.whole.add(run_id)
            self.acknowledged.pop(run_id, None)
        elif run_id not in self.whole:
            self.acknowledged.setdefault(run_id, set()).update(span_ids)

    def knows(self, run_id: str) -> bool:
        """Tell whether anything is on record of a run."""
        return run_id in self.whole or run_id in self.acknowledged or run_id in self.parked

    def missing(self, run_id: str, spans: Iterable[EncodedSpan]) -> list[EncodedSpan]:
        """Return those of a run's spans that are not settled."""
        if not self.knows(run_id):
            # Most runs: their spans need not be asked for one by one.
            return list(spans)
        return [span for span in spans if not self.has(run_id, (span.span_id,))]

    def has(self, run_id: str, span_ids: Iterable[str]) -> bool:
        """Tell whether all these spans of a run are settled: then nothing of them is owed."""
        acknowledged, parked = self.acknowledged.get(run_id, ()), self.parked.get(run_id, ())
        return run_id in self.whole or all(span_id in acknowledged or span_id in parked for span_id in span_ids)


def _words_of(kind: str, reason: str | None) -> str:
    return f"{kind}: {reason or 'no reason was given'}"


# What became of a run of which nothing is owed.
Fate = Literal["delivered", "parked", "unsampled", "native"]


class Checkpoint(NamedTuple):
    """Up to where nothing is owed to a destination.

    Attributes:
        cursor: Every run whose first line stands before it is settled.
        latest_born: The latest time inside the id of a run that had a line by then, in nanoseconds since 1970.
        open_runs: Ids of the runs that begin behind the cursor, as far as the journal was read then.
        before: How many runs begin before the cursor, by what became of them.
    """

    cursor: Cursor = BEGINNING
    latest_born: int = 0
    open_runs: frozenset[str] = frozenset()
    before: Mapping[str, int] = MappingProxyType({})


class DeliveryRecord:
    """What one destination made of spans, in `delivery/<destination>.jsonl` beside the journal."""

    def __init__(
        self,
        journal_path: str | os.PathLike[str],
        destination: str,
        *,
        guard: Guard | None = None,
        stem: str | None = None,
    ) -> None:
        self._stem = stem or os.path.join(record_directory(journal_path), _name_of(destination))
        self.path = f"{self._stem}.jsonl"
        self.destination = destination
        self._file = Journal(self.path, guard=guard)

    @classmethod
    def all_of(cls, journal_path: str | os.PathLike[str]) -> list[DeliveryRecord]:
        """Return the records of a journal, by name.

        A record knows its destination once it has a checkpoint; before, the name of its file stands for it.
        """
        directory = record_directory(journal_path)
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        records: list[DeliveryRecord] = []
        for name, suffix in map(os.path.splitext, names):
            if suffix == ".jsonl":
                stem = os.path.join(directory, name)
                records.append(cls(journal_path, _destination_of(f"{stem}.json") or name, stem=stem))
        return records

    def settle(self, parcels: Sequence[Parcel], answer: Answer) -> None:
        """Record what the receiver took, or has seen and does not want. Never raises."""
        entries: dict[str, _Entry] = {}
        for parcel in parcels:
            entry = entries.setdefault(parcel.run_id, _Entry(parcel.run_id, []))
            entry.span_ids.extend(parcel.span_ids)
            if answer.is_final:
                entry.parked, entry.reason = answer.kind, clean_text(answer.message)
            elif parcel.completes:
                entry.whole = True
        for entry in entries.values():
            entry.span_ids.sort()
        lines = [_encode(entry) + b"\n" for entry in entries.values()]
        if lines:
            # Together: an answer may be for hundreds of runs.
            self._file.append(b"".join(lines))

    def load(self) -> Settled:
        """Return what is on record.

        Raises:
            JournalError: The record exists and cannot be read.
        """
        return load_settled(self.path)

    def load_checkpoint(self) -> Checkpoint:
        """Return up to where nothing is owed; the beginning when that is not on record, or cannot be read."""
        try:
            with open(f"{self._stem}.json", "rb") as file:
                return _checkpoint_of(json.loads(file.read()))
        except (OSError, ValueError, TypeError, KeyError):
            return Checkpoint()

    def save_checkpoint(self, checkpoint: Checkpoint, settled: AbstractSet[str] = frozenset()) -> None:
        """Record up to where nothing is owed, and drop what is on record of runs before it.

        Args:
            checkpoint: What to record. It is on disk before anything is dropped.
            settled: Runs before the cursor. Of these, parked spans alone stay on record.

        Raises:
            OSError: It cannot be written; the former one is still there.
        """
        document = {
            "destination": self.destination,
            "cursor": {"segment": checkpoint.cursor.segment, "offset": checkpoint.cursor.offset},
            "before": dict(checkpoint.before),
            "latest_born": checkpoint.latest_born,
            "open_runs": sorted(checkpoint.open_runs),
        }
        replace_file(f"{self._stem}.json", json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")
        if len(settled) >= _RUNS_WORTH_DROPPING:
            self._drop(settled)

    def _drop(self, settled: AbstractSet[str]) -> None:
        """Write the record anew without these runs. Others who write it notice that under its lock."""
        with locked(f"{self.path}.lock", LOCK_TIMEOUT_SECONDS):
            file = open_to_read(self.path)
            if file is not None:
                with file:
                    kept = [line for _, block in read_blocks(file) for line in _lines_kept(block, settled)]
                replace_file(self.path, b"".join(line + b"\n" for line in kept))

    @contextmanager
    def owned(self) -> Generator[None, None, None]:
        """Be the only one who delivers to the destination, as `ship` and `replay` do, for a block.

        Raises:
            BusyError: Somebody else is.
        """
        with own(f"{self._stem}.owner", self.destination):
            yield

    @property
    def owner(self) -> str | None:
        """The process that delivers to the destination at present, as `ship` and `replay` do; None when none does."""
        return owner_of(f"{self._stem}.owner")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _name_of(destination: str) -> str:
    slug = re.sub("[^a-z0-9.]+", "-", destination.lower()).strip("-")[:80]
    return f"{slug}-{hashlib.sha256(destination.encode()).hexdigest()[:8]}"


def _destination_of(checkpoint_path: str) -> str:
    try:
        with open(checkpoint_path, "rb") as file:
            return str(json.loads(file.read())["destination"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _checkpoint_of(document: Any) -> Checkpoint:
    cursor = Cursor(str(document["cursor"]["segment"]), int(document["cursor"]["offset"]))
    return Checkpoint(
        cursor,
        int(document["latest_born"]),
        frozenset(map(str, document["open_runs"])),
        {str(name): int(number) for name, number in document["before"].items()},
    )


def _lines_kept(block: bytes, settled: AbstractSet[str]) -> Iterator[bytes]:
    """Yield those lines that say something of other runs than these, or of parked spans, or are damaged."""
    dropped = [outline.pattern_run_id for outline in _outlines_of(block) if outline.parked is None]
    if len(dropped) == block.count(b"\n") and set(dropped) <= settled:
        # Most of them, when a long record was passed: nothing is to be looked at line by line.
        return
    for line in filter(None, block.split(b"\n")):
        entry = _entry_of(line)
        if entry is None or entry.parked is not None or entry.pattern_run_id not in settled:
            yield line


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
        for _, block in read_blocks(file):
            settled.read(block)
    return settled


def _outlines_of(block: bytes) -> Sequence[_Outline]:
    """Return the outlines of some lines; none at all when one is damaged."""
    try:
        return _outline_decoder.decode_lines(block)
    except (msgspec.MsgspecError, ValueError):
        return ()


def _entries_of(block: bytes) -> Iterable[_Entry]:
    """Return the entries of some lines; those that are damaged are left out."""
    try:
        return _decoder.decode_lines(block)
    except (msgspec.MsgspecError, ValueError):
        return filter(None, map(_entry_of, block.split(b"\n")))


def _entry_of(line: bytes) -> _Entry | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError):
        return None

"""Deleting sealed segments, whole and the oldest first, as long as nobody needs them any more."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from typing import BinaryIO, Final, NamedTuple

from ..errors import JournalError
from ..model import names
from ..model.times import parse_timestamp
from .artifacts import delete_artifacts, files_beside, named_in
from .descriptor import sync_directory
from .index import drop_index
from .lines import open_to_read
from .lock import locked
from .read import read_heads
from .rotation import Rotation
from .segments import Segment, identity_of, open_segment, sealed_segments

_LOCK_TIMEOUT_SECONDS: Final = 10.0


class Prunable(NamedTuple):
    """What may be deleted, and what of that which is due is held back.

    Attributes:
        segments: What may be deleted, the oldest first.
        held: The first segment that is due and still needed; None when there is none.
        run_id: A run that needs it, or one that ends in it and has other events behind it.
    """

    segments: list[Segment]
    held: Segment | None = None
    run_id: str = ""


def size_of(segment: Segment) -> int:
    """Return the bytes that a segment takes on disk."""
    return sum(os.stat(file).st_size for file in segment.files)


class _Contents(NamedTuple):
    """The runs of a file, those that end in it, and the time of its latest event."""

    runs: set[str]
    ended: set[str]
    latest: int

    def add(self, other: _Contents) -> None:
        """Take the runs of another file as well."""
        self.runs.update(other.runs)
        self.ended.update(other.ended)


def find_prunable(path: str, needed: AbstractSet[str], *, before: int | None, keep_bytes: int | None) -> Prunable:
    """Return what may be deleted of a journal.

    A segment is due when its latest event is older than `before`, or while the journal is larger than `keep_bytes`. At
    the first one that is not due, or holds an event of a needed run, it ends: a journal has no holes. It also ends at
    one in which a run ends that has other events behind what is deleted: without its end it would seem to go on.

    Args:
        path: The journal.
        needed: Ids of runs of which every event is needed.
        before: Nanoseconds since 1970.
        keep_bytes: How large the journal may be.

    Raises:
        JournalError: A segment cannot be read.
    """
    sealed = sealed_segments(path)
    total = sum(map(size_of, sealed)) + (os.stat(path).st_size if os.path.exists(path) else 0)
    found: list[Segment] = []
    contents: list[_Contents] = []
    held: Segment | None = None
    run_id = ""
    for segment in sealed:
        there = _contents_of(open_segment(segment))
        is_too_much = keep_bytes is not None and total > keep_bytes
        is_old = before is not None and there.latest < before
        if not (is_too_much or is_old):
            break
        if needed_here := needed & there.runs:
            held, run_id = segment, min(needed_here)
            break
        found.append(segment)
        contents.append(there)
        total -= size_of(segment)
    behind = _Contents(set(), set(), 0)
    if found:
        for file in (*map(open_segment, sealed[len(found) :]), open_to_read(path)):
            behind.add(_contents_of(file))
    # What is held back is left as well, and may hold the one before it back.
    for index in reversed(range(len(found))):
        if going_on := contents[index].ended & (behind.runs - behind.ended):
            held, run_id = found[index], min(going_on)
            for there in contents[index : len(found)]:
                behind.add(there)
            del found[index:]
    return Prunable(found, held, run_id)


def _contents_of(file: BinaryIO | None) -> _Contents:
    contents = _Contents(set(), set(), 0)
    if file is not None:
        with file:
            for block in read_heads(file):
                contents.runs.update(block.by_run)
                ends = (head for head in block.heads if head.event_type in names.TERMINAL_EVENT_TYPES)
                contents.ended.update(head.pattern_run_id for head in ends)
                latest = max(contents.latest, *(parse_timestamp(head.timestamp) for head in block.heads))
                contents = contents._replace(latest=latest)
    return contents


def delete_segments(path: str, segments: list[Segment]) -> int:
    """Delete segments, the oldest first, and the artifacts of which no other line speaks; return how many these were.

    The numbers of segments are not given again.

    Raises:
        JournalError: They cannot be deleted.
    """
    try:
        unnamed = named_in(segments)
        with locked(f"{path}.lock", _LOCK_TIMEOUT_SECONDS):
            try:
                Rotation(path).remember_numbers()
            except OSError:
                # On a full disk, which is when room is made: what is left still tells which numbers were given.
                if len(sealed_segments(path)) <= len(segments):
                    raise
        for segment in segments:
            drop_index(path, identity_of(segment))
            for file in segment.files:
                os.unlink(file)
        sync_directory(os.path.dirname(path))
        if not unnamed:
            return 0
        # Looked for when they are gone: what is written meanwhile speaks of artifacts of its own.
        named = named_in(files_beside(os.path.dirname(path)))
        # Where something cannot be read, it may speak of any of them.
        return 0 if named is None else delete_artifacts(os.path.dirname(path), unnamed - named)
    except OSError as error:
        raise JournalError(path, f"segments cannot be deleted: {error}") from error

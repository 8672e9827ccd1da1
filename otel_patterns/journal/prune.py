"""Deleting sealed segments, whole and the oldest first, as long as nobody needs them any more."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from ..errors import JournalError
from ..model.times import parse_timestamp
from .descriptor import sync_directory
from .lock import FileLock
from .read import read_heads
from .rotation import Rotation
from .segments import Segment, open_segment, sealed_segments

_LOCK_TIMEOUT_SECONDS: Final = 10.0


class Prunable(NamedTuple):
    """What may be deleted, and what of that which is due is held back.

    Attributes:
        segments: What may be deleted, the oldest first.
        held: The first segment that is due and still needed; None when there is none.
        run_id: A run that needs it.
    """

    segments: list[Segment]
    held: Segment | None = None
    run_id: str = ""


def size_of(segment: Segment) -> int:
    """Return the bytes that a segment takes on disk."""
    return sum(os.stat(file).st_size for file in segment.files)


def find_prunable(path: str, needed: AbstractSet[str], *, before: int | None, keep_bytes: int | None) -> Prunable:
    """Return what may be deleted of a journal.

    A segment is due when its latest event is older than `before`, or while the journal is larger than `keep_bytes`. At
    the first one that is not due, or holds an event of a needed run, it ends: a journal has no holes.

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
    for segment in sealed:
        runs, latest = _contents_of(segment)
        is_too_much = keep_bytes is not None and total > keep_bytes
        is_old = before is not None and latest < before
        if not (is_too_much or is_old):
            break
        if needed_here := needed & runs:
            return Prunable(found, segment, min(needed_here))
        found.append(segment)
        total -= size_of(segment)
    return Prunable(found)


def _contents_of(segment: Segment) -> tuple[set[str], int]:
    """Return the runs of a segment, and the time of its latest event."""
    file = open_segment(segment)
    runs: set[str] = set()
    latest = 0
    if file is not None:
        with file:
            for block in read_heads(file):
                runs.update(head.pattern_run_id for head in block.heads)
                latest = max(latest, *(parse_timestamp(head.timestamp) for head in block.heads))
    return runs, latest


def delete_segments(path: str, segments: list[Segment]) -> None:
    """Delete segments, the oldest first. Their numbers are not given again.

    Raises:
        JournalError: They cannot be deleted.
    """
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(_LOCK_TIMEOUT_SECONDS)
        try:
            Rotation(path).remember_numbers()
        except OSError:
            # On a full disk, which is when room is made: what is left still tells which numbers were given.
            if len(sealed_segments(path)) <= len(segments):
                raise
        finally:
            lock.release()
        for segment in segments:
            for file in segment.files:
                os.unlink(file)
        sync_directory(os.path.dirname(path))
    except OSError as error:
        raise JournalError(path, f"segments cannot be deleted: {error}") from error
    finally:
        lock.close()

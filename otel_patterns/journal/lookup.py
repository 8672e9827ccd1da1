"""The events of one run, from journals of any size: without reading what has none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from .cursor import segment_of_file
from .index import Index, load_index, plain_size, update_index
from .lines import Line, ReadReport, read_blocks
from .read import Filter, candidates, events_among
from .segments import INDEXED_BYTES, identity_of, look, open_segment

if TYPE_CHECKING:
    from ..model.events import PatternEvent


def read_run(path: str | os.PathLike[str], run_id: str) -> list[PatternEvent]:
    """Return the events of a run in journal order, copies included; none when there is no such run.

    A file that is large and has no index gets one, where that can be written.

    Raises:
        JournalError: A file cannot be opened; a missing one is an empty journal.
    """
    wanted = Filter(pattern_run_id=run_id)
    events: list[PatternEvent] = []
    sealed, active = look(path)
    try:
        for segment in sealed:
            if (file := open_segment(segment)) is not None:
                with file:
                    events += _events_in(path, file, identity_of(segment), wanted)
        if active is not None:
            events += _events_in(path, active, segment_of_file(active), wanted)
    finally:
        if active is not None:
            active.close()
    return events


def _events_in(path: str | os.PathLike[str], file: BinaryIO, segment: str, wanted: Filter) -> Iterator[PatternEvent]:
    from ..model.events import checked_event  # noqa: PLC0415  # whoever wants lines alone starts without pydantic

    index = _index_of(path, file, segment)
    blocks = _blocks_of(file, index, wanted.pattern_run_id or "")
    for _, document in events_among(candidates(blocks, wanted.needle), wanted, ReadReport()):
        yield checked_event(document)


def _index_of(path: str | os.PathLike[str], file: BinaryIO, segment: str) -> Index | None:
    index = load_index(path, file, segment)
    size = plain_size(file)
    # One that is to be unpacked should have got it before it was packed.
    if size is not None and size - (index.covered if index is not None else 0) >= INDEXED_BYTES:
        with suppress(OSError):
            return update_index(path, file)
    return index


def _blocks_of(file: BinaryIO, index: Index | None, run_id: str) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of lines among which a run's are."""
    places = index.places(run_id) if index is not None else None
    if index is None or places is None:
        yield from read_blocks(file)
        return
    for start, end in places:
        yield from read_blocks(file, start, end)
    if not index.is_sealed or index.covered < (plain_size(file) or 0):
        yield from read_blocks(file, index.covered)


def lines_in(path: str | os.PathLike[str], file: BinaryIO, run_id: str) -> list[Line] | None:
    """Return the lines of a plain file that may be of a run, as its index finds them; None when it has no index."""
    index = load_index(path, file, segment_of_file(file))
    if index is None:
        return None
    return list(candidates(_blocks_of(file, index, run_id), Filter(pattern_run_id=run_id).needle))

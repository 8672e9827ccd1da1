"""The events of one run, from journals of any size: without reading what has none of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from .cursor import segment_of_file
from .index import Index, load_index, plain_size, update_index
from .lines import Line, ReadReport, read_blocks
from .read import Filter, candidates, events_among
from .segments import INDEXED_BYTES, Segment, identity_of, read_files

if TYPE_CHECKING:
    from ..model.events import PatternEvent


def read_run(path: str | os.PathLike[str], run_id: str) -> list[PatternEvent]:
    """Return the events of a run in journal order, copies included; none when there is no such run.

    A file that is large and has no index gets one, where that can be written.

    Raises:
        JournalError: A file cannot be opened; a missing one is an empty journal.
    """
    from ..model.events import checked_event  # noqa: PLC0415  # whoever wants documents alone starts without pydantic

    return [checked_event(document) for _, document in read_run_documents(path, Filter(pattern_run_id=run_id))]


def read_run_documents(
    path: str | os.PathLike[str], wanted: Filter, *, report: ReadReport | None = None
) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield what `read_documents` yields for a filter that names a run; of a large file, from the places of the run.

    What is no event is reported as far as it stands where was looked.

    Raises:
        JournalError: A file cannot be opened; a missing one is an empty journal.
    """
    report = report if report is not None else ReadReport()
    for file in read_files(path, report):
        index = _index_of(path, file, _segment_of(file, report.path))
        blocks = _blocks_of(file, index, wanted.pattern_run_id or "", report)
        yield from events_among(candidates(blocks, wanted.needle), wanted, report)


def _segment_of(file: BinaryIO, path: str) -> str:
    return segment_of_file(file) if plain_size(file) is not None else identity_of(Segment(0, path, (path,)))


def _index_of(path: str | os.PathLike[str], file: BinaryIO, segment: str) -> Index | None:
    index = load_index(path, file, segment)
    size = plain_size(file)
    # One that is to be unpacked should have got it before it was packed.
    if size is not None and size - (index.covered if index is not None else 0) >= INDEXED_BYTES:
        with suppress(OSError):
            return update_index(path, file)
    return index


def _blocks_of(
    file: BinaryIO, index: Index | None, run_id: str, report: ReadReport | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield the blocks of lines among which a run's are."""
    places = index.places(run_id) if index is not None else None
    if index is None or places is None:
        yield from read_blocks(file, report=report)
        return
    for start, end in places:
        yield from read_blocks(file, start, end, report=report)
    if not index.is_sealed or index.covered < (plain_size(file) or 0):
        yield from read_blocks(file, index.covered, report=report)


def lines_in(path: str | os.PathLike[str], file: BinaryIO, run_id: str) -> list[Line] | None:
    """Return the lines of a plain file that may be of a run, as its index finds them; None when it has no index."""
    index = load_index(path, file, segment_of_file(file))
    if index is None:
        return None
    return list(candidates(_blocks_of(file, index, run_id), Filter(pattern_run_id=run_id).needle))

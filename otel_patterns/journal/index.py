"""Where the lines of a run stand in a file of the journal: derived from the file, and never needed to read it.

An index covers a file from its beginning up to some byte, and says for each run in which blocks of lines it occurs. It
is written when a segment is sealed, and made or extended by whoever looks a run up where it would save work. It names
the file as cursors do, so it stays good when that is sealed or compressed. What does not fit its file, or is damaged,
is no index: the file is read, or the index made anew. What it finds is read and checked like any other line.

The file: a header (magic, segment, whether it is sealed, bytes covered, checksum of the last bytes covered), a table
with the number of entries and the checksum of each of 256 buckets, a checksum of all that, and the buckets. An entry is
8 bytes of a run's hash, of which the first one chooses the bucket, and the begin and the size of a block.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate
from struct import Struct
from typing import BinaryIO, Final, NamedTuple
from zlib import crc32

from .cursor import segment_of_file
from .heads import decode_run_ids, parse_document
from .lines import lines_of, open_to_read, read_blocks
from .segments import INDEXED_BYTES
from .state import replace_file

_MAGIC: Final = b"otelpix1"
_BUCKETS: Final = 256
_HASH_BYTES: Final = 8
_TAIL_BYTES: Final = 256
_HEADER: Final = Struct("<8s16s?QI")
_TABLE: Final = Struct(f"<{2 * _BUCKETS}I")
_CHECKSUM: Final = Struct("<I")
_ENTRY: Final = Struct(f"<{_HASH_BYTES}sQI")
_BUCKETS_AT: Final = _HEADER.size + _TABLE.size + _CHECKSUM.size


class Place(NamedTuple):
    """A block of whole lines, from byte `start` to `end`."""

    start: int
    end: int


class Index(NamedTuple):
    """The index of one file, opened or just made.

    Attributes:
        segment: The file, as cursors name it.
        covered: Up to which byte of it. What stands behind is to be read.
        is_sealed: The file was sealed and is covered whole.
        tail: Checksum of its last bytes that are covered.
        buckets: Number of entries and checksum of each bucket, one after the other.
        path: Where the buckets are.
    """

    segment: str
    covered: int
    is_sealed: bool
    tail: int
    buckets: tuple[int, ...]
    path: str

    def places(self, run_id: str) -> list[Place] | None:
        """Return the blocks in which a run has lines, in order; None when that part of the index is damaged."""
        wanted = _hash_of(run_id)
        data = self.read_buckets((wanted[0],))
        if data is None:
            return None
        found = {Place(start, start + size) for each, start, size in _ENTRY.iter_unpack(data[0]) if each == wanted}
        return sorted(found)

    def read_buckets(self, numbers: Iterable[int]) -> list[bytes] | None:
        """Return the entries of these buckets; None when any is damaged."""
        counts = self.buckets[::2]
        before = list(accumulate(counts, initial=0))
        found: list[bytes] = []
        try:
            with open(self.path, "rb") as file:
                for number in numbers:
                    size = counts[number] * _ENTRY.size
                    data = os.pread(file.fileno(), size, _BUCKETS_AT + before[number] * _ENTRY.size)
                    if len(data) != size or crc32(data) != self.buckets[2 * number + 1]:
                        return None
                    found.append(data)
        except OSError:
            return None
        return found


def index_directory(journal_path: str | os.PathLike[str]) -> str:
    """Return the directory of a journal's indexes."""
    return f"{os.path.abspath(journal_path)}.index"


def load_index(journal_path: str | os.PathLike[str], file: BinaryIO, segment: str) -> Index | None:
    """Return the index of a file of the journal, opened plain or to be unpacked; None when there is none that fits.

    Args:
        journal_path: The journal.
        file: The file.
        segment: It, as cursors name it.
    """
    path = os.path.join(index_directory(journal_path), segment)
    try:
        with open(path, "rb") as stored:
            data = stored.read(_BUCKETS_AT)
    except OSError:
        return None
    if len(data) < _BUCKETS_AT or crc32(data[: -_CHECKSUM.size]) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
        return None
    magic, name, is_sealed, covered, tail = _HEADER.unpack_from(data)
    index = Index(segment, covered, is_sealed, tail, _TABLE.unpack_from(data, _HEADER.size), path)
    return index if magic == _MAGIC and name == segment.encode() and _fits(index, file) else None


def _fits(index: Index, file: BinaryIO) -> bool:
    size = plain_size(file)
    if size is None:
        # What it ends with is known when it is unpacked: too late.
        return index.is_sealed
    return index.covered <= size and _tail_of(file, index.covered) == index.tail


def update_index(journal_path: str | os.PathLike[str], file: BinaryIO, *, is_sealed: bool = False) -> Index | None:
    """Make or extend the index of a plain file, up to its last complete line, and return it; None: it has no line.

    Raises:
        OSError: It cannot be written.
    """
    segment = segment_of_file(file)
    if not segment:
        return None
    former = load_index(journal_path, file, segment)
    buckets = former.read_buckets(range(_BUCKETS)) if former is not None else None
    start = former.covered if former is not None and buckets is not None else 0
    found = [bytearray(bucket) for bucket in buckets] if buckets is not None else [bytearray() for _ in range(_BUCKETS)]
    covered = start
    hashes: dict[str, bytes] = {}
    for offset, block in read_blocks(file, start):
        covered = offset + len(block)
        for run_id in _run_ids_of(offset, block):
            if (digest := hashes.get(run_id)) is None:
                digest = hashes[run_id] = _hash_of(run_id)
            found[digest[0]] += _ENTRY.pack(digest, offset, len(block))
    table = tuple(number for data in found for number in (len(data) // _ENTRY.size, crc32(data)))
    path = os.path.join(index_directory(journal_path), segment)
    index = Index(segment, covered, is_sealed, _tail_of(file, covered), table, path)
    head = _HEADER.pack(_MAGIC, segment.encode(), is_sealed, covered, index.tail) + _TABLE.pack(*table)
    replace_file(path, b"".join((head, _CHECKSUM.pack(crc32(head)), *found)))
    return index


def index_sealed(journal_path: str, path: str) -> None:
    """Make the index of a plain segment, unless it is small or not there any more.

    Raises:
        OSError: It cannot be written.
        JournalError: The segment cannot be opened.
    """
    file = open_to_read(path)
    if file is not None:
        with file:
            if os.fstat(file.fileno()).st_size >= INDEXED_BYTES:
                update_index(journal_path, file, is_sealed=True)


def drop_index(journal_path: str, segment: str) -> None:
    """Delete the index of a file that is deleted, and what is left of those whose making was interrupted.

    Raises:
        OSError: It cannot be deleted.
    """
    directory = index_directory(journal_path)
    if not segment or not os.path.isdir(directory):
        return
    for name in os.listdir(directory):
        if name.startswith(segment):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(directory, name))


def _run_ids_of(offset: int, block: bytes) -> set[str]:
    """Return the runs that have a line in a block, and perhaps some that have none."""
    run_ids = decode_run_ids(block)
    if run_ids is not None:
        return set(run_ids)
    found: set[str] = set()
    for line in lines_of(offset, block):
        with suppress(ValueError):
            found.add(parse_document(line)["pattern_run_id"])
    return found


def _hash_of(run_id: str) -> bytes:
    return hashlib.blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()


def plain_size(file: BinaryIO) -> int | None:
    """Return how many bytes a file has; None when it is to be unpacked."""
    try:
        return os.fstat(file.fileno()).st_size
    except OSError:
        return None


def _tail_of(file: BinaryIO, end: int) -> int:
    start = max(0, end - _TAIL_BYTES)
    return crc32(os.pread(file.fileno(), end - start, start))

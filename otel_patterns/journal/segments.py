"""The files that are one journal: sealed segments in the order of their numbers, and behind them the active file.

`pattern_events.jsonl` is the active one. Sealed it becomes `pattern_events-00000001.jsonl`, and perhaps, compressed,
`pattern_events-00000001.jsonl.gz` or `.zst`. Numbers grow and are never given twice.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Generator
from typing import BinaryIO, Final, NamedTuple, cast

from ..errors import JournalError
from ..model.names import MAX_LINE_BYTES
from .cursor import first_line, head_of, segment_of
from .lines import BadLine, ReadReport, open_to_read

GZIP: Final = ".gz"
ZSTD: Final = ".zst"
# A file with less is searched in a few milliseconds: it needs no index.
INDEXED_BYTES: Final = 4 * 1024 * 1024
_COPY_BYTES: Final = 1024 * 1024
_ZSTD_HEAD_BYTES: Final = 18
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
_ZSTD_SKIPPABLE_LOW: Final = 5
_ZSTD_REPEATED: Final = 1
# A rotation between two looks at a directory is rare, several in a row are a storm that ends.
_LOOKS: Final = 1000


class Segment(NamedTuple):
    """A sealed segment: its number, the file to read it from, and all files that hold it.

    `files` has two members when compressing was interrupted: the plain one is read.
    """

    number: int
    path: str
    files: tuple[str, ...]


class Files(NamedTuple):
    """The files of a journal at one moment."""

    sealed: list[Segment]
    active: BinaryIO | None


def path_of_number(path: str, number: int) -> str:
    """Return the path of the plain segment with this number."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}-{number:08d}{suffix}"


def sealed_segments(path: str | os.PathLike[str]) -> list[Segment]:
    """Return the sealed segments of a journal, the oldest first.

    Raises:
        JournalError: The directory cannot be listed; a missing one has no segments.
    """
    directory, name = os.path.split(os.path.abspath(path))
    stem, suffix = os.path.splitext(name)
    try:
        names = [name for name in os.listdir(directory) if name.startswith(f"{stem}-")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError:
        # Its files may be readable all the same: then a journal is its active file.
        return []
    except OSError as error:
        raise JournalError(directory, error.strerror or str(error)) from error
    if not names:
        return []
    pattern = re.compile(rf"{re.escape(stem)}-(\d{{8,}}){re.escape(suffix)}({re.escape(GZIP)}|{re.escape(ZSTD)})?")
    found: dict[int, list[str]] = {}
    # Sorted, so that the plain one comes first.
    for name in sorted(names):
        if (match := pattern.fullmatch(name)) is not None:
            found.setdefault(int(match[1]), []).append(os.path.join(directory, name))
    return [Segment(number, files[0], tuple(files)) for number, files in sorted(found.items())]


def look(path: str | os.PathLike[str]) -> Files:
    """Return the files of a journal as they were at one moment; the active one is opened for the caller to close.

    Raises:
        JournalError: There is something else at the path, or it may not be read.
    """
    if os.fspath(path).endswith((GZIP, ZSTD)):
        # A sealed segment that was given as a journal.
        name = os.fspath(path)
        return Files([Segment(0, name, (name,))], None)
    for _ in range(_LOOKS):
        active = open_to_read(path)
        sealed = sealed_segments(path)
        # The same file before and after the list was made: no rotation came between.
        if _is_at(path, active):
            return Files(sealed, active)
        if active is not None:
            active.close()
    raise JournalError(os.fspath(path), "is rotated faster than it can be looked at")


def _is_at(path: str | os.PathLike[str], file: BinaryIO | None) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return file is None
    return file is not None and os.path.samestat(there, os.fstat(file.fileno()))


class Behind(NamedTuple):
    """What stands behind a file of a journal.

    Attributes:
        sealed: The sealed segments behind it.
        active: The active file, opened for the caller to close.
        number: The highest number of a sealed segment.
        was_sealed: The file itself is one of the segments now. When not, it was moved away, deleted or replaced.
    """

    sealed: list[Segment]
    active: BinaryIO | None
    number: int
    was_sealed: bool


def files_behind(path: str | os.PathLike[str], former: BinaryIO | None, number: int) -> Behind:
    """Return what stands behind `former`, which was the active file when `number` was the highest one.

    Raises:
        JournalError: As `look`.
    """
    sealed, active = look(path)
    newer = [segment for segment in sealed if segment.number > number]
    last = max(number, newer[-1].number if newer else 0)
    for index, segment in enumerate(newer):
        if former is not None and _is(segment, former):
            return Behind(newer[index + 1 :], active, last, was_sealed=True)
    return Behind(newer, active, last, was_sealed=False)


def _is(segment: Segment, file: BinaryIO) -> bool:
    """Tell whether an opened file was sealed as this segment, and perhaps compressed since."""
    if segment.path.endswith((GZIP, ZSTD)):
        identity = segment_of(head_of(file.fileno()))
        return identity != "" and identity == identity_of(segment)
    return _is_at(segment.path, file)


def read_files(path: str | os.PathLike[str], report: ReadReport) -> Generator[BinaryIO, None, None]:
    """Yield the files of a journal, the oldest first, each to be read from its beginning before the next is asked for.

    What is wrong with a sealed one as a whole is reported: its last line has no newline, or its compression is damaged.

    Raises:
        JournalError: A file cannot be opened. A missing journal is an empty one, and a segment that is deleted
            meanwhile has been one.
    """
    sealed, active = look(path)
    try:
        for segment in sealed:
            file = open_segment(segment)
            if file is None:
                continue
            with file:
                report.path = segment.path
                report.unfinished_bytes = 0
                yield file
                seal(file, report)
        if active is not None:
            report.path = os.fspath(path)
            report.unfinished_bytes = 0
            yield active
    finally:
        if active is not None:
            active.close()


def seal(file: BinaryIO, report: ReadReport) -> None:
    """Report what is wrong with a sealed segment as a whole, after it was read to its end."""
    if report.unfinished_bytes:
        report.skip(BadLine(report.end, report.unfinished_bytes, "no newline at the end of a sealed segment"))
        report.unfinished_bytes = 0
    tell_damage(file, report)


def tell_damage(file: BinaryIO, report: ReadReport) -> None:
    """Report that the compression of a file is damaged, after it was read as far as it can be."""
    if isinstance(file, _Unpacked) and file.damage:
        report.skip(BadLine(report.end, 0, file.damage))


def open_segment(segment: Segment) -> BinaryIO | None:
    """Return a sealed segment, opened to be read forward; None when it was deleted meanwhile.

    Raises:
        JournalError: It cannot be opened, or nothing that decompresses it is installed.
    """
    file = open_to_read(segment.path)
    if file is None:
        # Compressed since the directory was listed?
        for suffix in (GZIP, ZSTD):
            if (file := open_to_read(segment.path + suffix)) is not None:
                return _unpacked(file, segment.path + suffix)
        return None
    return _unpacked(file, segment.path) if segment.path.endswith((GZIP, ZSTD)) else file


def open_seekable(segment: Segment) -> BinaryIO | None:
    """Return a sealed segment as a file that can be read anywhere; a compressed one is unpacked to a nameless file.

    Raises:
        JournalError: As `open_segment`, or there is no room for the nameless file.
    """
    file = open_segment(segment)
    if not isinstance(file, _Unpacked):
        return file
    import tempfile  # noqa: PLC0415  # loads a good deal, for compressed segments alone

    with file:
        try:
            plain = cast("BinaryIO", tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # the caller closes it
            while data := file.read(_COPY_BYTES):
                plain.write(data)
        except OSError as error:
            raise JournalError(segment.path, f"cannot be unpacked: {error.strerror or error}") from error
    return plain


def identity_of(segment: Segment) -> str:
    """Return the segment as cursors name it; empty when it is not there any more or holds no line.

    Raises:
        JournalError: As `open_segment`.
    """
    file = open_segment(segment)
    if file is None:
        return ""
    with file:
        if not isinstance(file, _Unpacked):
            return segment_of(head_of(file.fileno()))
        data = b""
        while not (head := first_line(data)) and (more := file.read(MAX_LINE_BYTES)):
            data += more
        return segment_of(head)


class _Unpacked(io.RawIOBase):
    """The bytes of a compressed file. Where they are damaged it ends, and `damage` says why."""

    def __init__(self, packed: BinaryIO, stream: BinaryIO, end_of: Callable[[BinaryIO], int] | None = None) -> None:
        super().__init__()
        self.damage = ""
        self._end_of = end_of
        self._packed = packed
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        try:
            # Not `read`, which throws away what it has when it comes to the damage.
            if (data := cast("io.BufferedReader", self._stream).read1(size)) or self.damage:
                return data
            self._check_end()
        except Exception as error:  # noqa: BLE001  # zlib.error, EOFError, OSError, ZstdError: each library its own
            self.damage = f"the compression is damaged: {type(error).__name__}: {error}"
        return b""

    def _check_end(self) -> None:
        size = os.fstat(self._packed.fileno()).st_size
        if size == 0 or (self._end_of is not None and self._end_of(self._packed) != size):
            self.damage = "the compression is damaged: its end is missing"

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._packed.close()
        super().close()


def _unpacked(packed: BinaryIO, path: str) -> BinaryIO:
    """Return a file that unpacks another one."""
    if path.endswith(GZIP):
        import gzip  # noqa: PLC0415  # only for compressed segments

        stream = cast("BinaryIO", gzip.GzipFile(fileobj=packed, mode="rb"))
    else:
        try:
            import zstandard  # noqa: PLC0415  # an extra
        except ImportError:
            packed.close()
            raise JournalError(path, "is compressed by zstd: pip install 'otel-patterns[zstd]'") from None
        reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True, closefd=False)
        stream = cast("BinaryIO", reader)
        return cast("BinaryIO", _Unpacked(packed, stream, _end_of_frames))
    return cast("BinaryIO", _Unpacked(packed, stream))


def _end_of_frames(packed: BinaryIO) -> int:
    """Return where the frames of a zstd file end (RFC 8878, 3.1); its library says nothing of one that is cut."""
    import zstandard  # noqa: PLC0415  # an extra

    position, number = 0, packed.fileno()
    while head := os.pread(number, _ZSTD_HEAD_BYTES, position):
        if head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == _ZSTD_SKIPPABLE_LOW:
            position += 8 + int.from_bytes(head[4:8], "little")
            continue
        has_checksum = zstandard.get_frame_parameters(head).has_checksum
        position += zstandard.frame_header_size(head)
        is_last = False
        while not is_last:
            block = int.from_bytes(os.pread(number, 3, position), "little")
            is_last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            position += 3 + (1 if kind == _ZSTD_REPEATED else size)
            if position > os.fstat(number).st_size:
                return position
        position += 4 if has_checksum else 0
    return position

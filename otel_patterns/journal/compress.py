"""Compressing sealed segments, one whole file at a time, while others read them.

First the compressed file is written beside the plain one, checked, and put on disk; only then the plain one goes. Who
sees both reads the plain one. Killed at any moment, both or one of them are whole, and compressing again finishes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import BinaryIO, Final, Literal, cast

from ..errors import JournalError
from .descriptor import sync_directory
from .index import index_sealed
from .lines import open_to_read
from .lock import locked
from .segments import GZIP, ZSTD, Segment, open_segment

Form = Literal["gzip", "zstd"]
_SUFFIXES: Final[dict[Form, str]] = {"gzip": GZIP, "zstd": ZSTD}
_COPY_BYTES: Final = 1024 * 1024
_FILE_MODE: Final = 0o600
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 6
_LOCK_TIMEOUT_SECONDS: Final = 10.0


def is_plain(segment: Segment) -> bool:
    """Tell whether a segment has a file that is not compressed."""
    return not segment.path.endswith((GZIP, ZSTD))


def compress(journal_path: str, segment: Segment, form: Form) -> int:
    """Compress a plain segment and return the size of the compressed file.

    Raises:
        JournalError: It cannot be compressed; the plain file is still there.
    """
    try:
        with locked(f"{journal_path}.lock", _LOCK_TIMEOUT_SECONDS):
            # Whoever looked at the path before the segment was sealed, and writes still, does so under the lock.
            pass
        return _compress(journal_path, segment, segment.path + _SUFFIXES[form], form)
    except OSError as error:
        raise JournalError(segment.path, f"cannot be compressed: {error.strerror or error}") from error


def _compress(journal_path: str, segment: Segment, target: str, form: Form) -> int:
    plain = open_to_read(segment.path)
    if plain is None:
        raise JournalError(segment.path, "was deleted before it was compressed")
    # It ends as the target does, which says how it is packed, and is none of the journal's names.
    temporary = f"{segment.path}.{os.getpid()}.tmp{_SUFFIXES[form]}"
    with plain:
        with contextlib.suppress(OSError, JournalError):
            # Once it is packed, an index costs unpacking all of it.
            index_sealed(journal_path, segment.path)
        try:
            _check(temporary, _pack(plain, temporary, form, segment.path), segment.path)
            os.rename(temporary, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    directory = os.path.dirname(target)
    sync_directory(directory)
    for file in segment.files:
        # Also what was compressed before in another form.
        if file != target:
            os.unlink(file)
    sync_directory(directory)
    return os.stat(target).st_size


def _pack(plain: BinaryIO, path: str, form: Form, name: str) -> bytes:
    """Write what `plain` holds to a new file, on disk at return, and return its digest."""
    digest = hashlib.sha256()
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    with open(number, "wb") as file, _packing(file, form, name) as packing:
        while data := plain.read(_COPY_BYTES):
            digest.update(data)
            packing.write(data)
        packing.close()
        file.flush()
        os.fsync(number)
    return digest.digest()


def _packing(file: BinaryIO, form: Form, name: str) -> BinaryIO:
    if form == "gzip":
        import gzip  # noqa: PLC0415  # one of two

        # Without name and time: the same bytes whenever it is done.
        return cast("BinaryIO", gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0))
    try:
        import zstandard  # noqa: PLC0415  # an extra
    except ImportError:
        raise JournalError(name, "cannot be compressed by zstd: pip install 'otel-patterns[zstd]'") from None
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
    return cast("BinaryIO", compressor.stream_writer(file, closefd=False))


def _check(path: str, expected: bytes, name: str) -> None:
    """Read a compressed file again: what cannot be read must not take the place of what can."""
    digest = hashlib.sha256()
    file = open_segment(Segment(0, path, (path,)))
    if file is not None:
        with file:
            while data := file.read(_COPY_BYTES):
                digest.update(data)
    if digest.digest() != expected:
        raise JournalError(name, "is not the same when it is unpacked again: the disk may be failing")

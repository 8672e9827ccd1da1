"""What the files beside a journal tell of it, without changing any of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

from ..errors import JournalError
from ..model.times import format_timestamp, parse_timestamp
from .lines import ReadReport, open_to_read
from .read import read_heads
from .segments import read_files
from .spool import spool_directory

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_COPY_BYTES: Final = 1024 * 1024
_SECONDS_LENGTH: Final = len("1970-01-01T00:00:00")
_NANOSECONDS: Final = 1_000_000_000


class SpooledLines(NamedTuple):
    """A file of lines that could not be written to the journal yet, and how many it has."""

    path: str
    lines: int


class FutureEvents(NamedTuple):
    """Events whose time has not come yet.

    Attributes:
        number: How many there are.
        ahead_seconds: How far the farthest one is ahead of the clock.
    """

    number: int = 0
    ahead_seconds: float = 0.0


def find_obstacle(path: str) -> str | None:
    """Return what keeps this process from writing to a journal; None when nothing does. Nothing is written."""
    is_any_missing = False
    for file in (path, f"{path}.lock"):
        try:
            number = os.open(file, _FLAGS)
        except FileNotFoundError:
            is_any_missing = True
            continue
        except OSError as error:
            reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
            return f"{file}: {reason}"
        try:
            if not os.path.isfile(number):
                return f"{file}: is no regular file"
        finally:
            os.close(number)
    directory = os.path.dirname(path)
    # The journal makes directories that are missing.
    while not os.path.lexists(directory):
        directory = os.path.dirname(directory)
    if not os.path.isdir(directory):
        return f"{directory}: is no directory"
    if is_any_missing and not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory}: no file can be made here"
    return None if os.statvfs(directory).f_bavail else f"{directory}: the disk is full"


def find_spooled(path: str) -> Iterator[SpooledLines]:
    """Yield the files in which lines wait that could not be written to a journal.

    Raises:
        JournalError: One of them cannot be read.
    """
    directory = spool_directory(path)
    prefix = f"{os.path.splitext(os.path.basename(path))[0]}."
    for file in _files_in(directory):
        if os.path.basename(file).startswith(prefix) and (lines := _count_lines(file)):
            yield SpooledLines(file, lines)


def count_quarantined(path: str) -> int:
    """Return how many bad lines were copied to the quarantine beside a journal.

    Raises:
        JournalError: It cannot be read.
    """
    return sum(map(_count_lines, _files_in(os.path.join(os.path.dirname(path), "quarantine"))))


def find_future_events(path: str, now: Callable[[], int], *, tolerated_seconds: float = 0.0) -> FutureEvents:
    """Return how many events of a journal are later than the present time, which goes on while they are read.

    Raises:
        JournalError: The journal cannot be read.
    """
    tolerated = round(tolerated_seconds * _NANOSECONDS)
    count = ahead = 0
    # All are UTC and begin alike, so texts compare as times do.
    begin = format_timestamp(now() + tolerated)[:_SECONDS_LENGTH]
    for file in read_files(path, ReadReport()):
        for block in read_heads(file):
            late = [head.timestamp for head in block.heads if head.timestamp[:_SECONDS_LENGTH] >= begin]
            for timestamp in late:
                difference = parse_timestamp(timestamp) - now()
                if difference > tolerated:
                    count, ahead = count + 1, max(ahead, difference)
    return FutureEvents(count, ahead / _NANOSECONDS)


def _files_in(directory: str) -> list[str]:
    try:
        return sorted(os.path.join(directory, name) for name in os.listdir(directory) if name.endswith(".jsonl"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise JournalError(directory, error.strerror or str(error)) from error


def _count_lines(path: str) -> int:
    file = open_to_read(path)
    if file is None:
        # Its process has written its lines to the journal just now.
        return 0
    with file:
        return sum(piece.count(b"\n") for piece in _pieces(file))


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_COPY_BYTES):
        yield piece

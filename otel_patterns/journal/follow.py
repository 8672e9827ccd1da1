"""Following the journal: new lines as they come, across truncation, deletion and replacement of the file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from .read import Line, ReadReport, open_to_read, read_lines
from .watch import DirectoryWatch

POLL_SECONDS = 0.2


def follow_lines(
    path: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: threading.Event | None = None,
    on_restart: Callable[[str], None] | None = None,
) -> Iterator[Line]:
    """Yield lines as they are completed, from byte `start` (None: the present end), until `stop` is set.

    New lines are seen within 0.25 s, at a cost of what is new. When the file shrank or was replaced, reading goes on
    at the beginning of what is there, and `on_restart` is told why; consumers drop duplicates by event id.
    """
    stop = stop or threading.Event()
    watch = DirectoryWatch(os.path.dirname(os.path.abspath(path)))
    file: BinaryIO | None = None
    offset = 0
    seen = (-1, -1)
    try:
        file = open_to_read(path)
        if file is not None:
            offset = _end_of_last_line(file) if start is None else start
        while not stop.is_set():
            if file is not None and (state := _state(file)) != seen:
                # An unfinished line is read again only when there is more of it.
                report = ReadReport()
                for line in read_lines(file, offset, report=report):
                    yield line
                    if stop.is_set():
                        return
                offset, seen = report.end, state
            if reason := _changed(file, path, offset):
                if file is not None and reason != "appeared":
                    # A replaced file may have got its last lines after our last look.
                    for line in read_lines(file, offset) if reason == "replaced" else ():
                        yield line
                    file.close()
                    if on_restart is not None:
                        on_restart(reason)
                file = open_to_read(path)
                offset, seen = 0, (-1, -1)
                continue
            watch.wait(POLL_SECONDS)
    finally:
        watch.close()
        if file is not None:
            file.close()


def _state(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _changed(file: BinaryIO | None, path: str | os.PathLike[str], offset: int) -> str | None:
    """Return why reading has to start again: `appeared`, `replaced` or `truncated`; None when it need not."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    if file is None:
        return "appeared"
    status = os.fstat(file.fileno())
    if (now.st_dev, now.st_ino) != (status.st_dev, status.st_ino):
        return "replaced"
    return "truncated" if status.st_size < offset else None


def _end_of_last_line(file: BinaryIO) -> int:
    """Return the offset behind the last newline: following begins with the next whole line."""
    position = os.fstat(file.fileno()).st_size
    while position > 0:
        size = min(64 * 1024, position)
        file.seek(position - size)
        newline = file.read(size).rfind(b"\n")
        if newline >= 0:
            return position - size + newline + 1
        position -= size
    return 0

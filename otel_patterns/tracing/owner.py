"""Who delivers to a destination: one process at a time, and others are told which."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..errors import BusyError
from ..journal.descriptor import make_directory
from ..process import writer_of

_FILE_MODE: Final = 0o600
_LONGEST_NAME: Final = 200


def owner_of(path: str) -> str | None:
    """Return who owns what `path` is locked for, as `own` has named it; None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Shared, so that others who ask at the same time are not told of one another.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _name_in(descriptor)
    finally:
        os.close(descriptor)
    return None


def _name_in(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST_NAME, 0).decode("utf-8", "replace").strip() or "another process"


@contextmanager
def own(path: str, destination: str) -> Generator[None, None, None]:
    """Own a destination for a block. A process that dies gives it up.

    Args:
        path: The file that is locked; it holds its owner's name, for people.
        destination: What is owned.

    Raises:
        BusyError: Another process owns it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        make_directory(os.path.dirname(path))
        descriptor = os.open(path, flags, _FILE_MODE)
    except OSError:
        # The journal of somebody else, to be read and not written: what is acknowledged cannot be put on record either.
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(destination, _name_in(descriptor)) from None
        writer = writer_of(os.getpid())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {writer['pid']} on {writer['host']}\n".encode(), 0)
        yield
    finally:
        # Never removed: somebody may hold a lock on what would be another file of this name.
        os.close(descriptor)

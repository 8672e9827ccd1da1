"""A descriptor that knows which file it stands for, and notices when the path or the number means another one.

A path comes to mean another file when somebody renames, deletes or replaces it; a descriptor's number does when
somebody closes all descriptors (as programs do that become daemons) and opens a file of his own.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from ..errors import JournalError

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
# O_NONBLOCK: opening a FIFO by mistake must not hang.
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Descriptor:
    """The regular file at `path`, opened to read and write. One object is used by one thread at a time.

    Attributes:
        number: Of the descriptor; -1 while there is none.
        position: Where the file's offset was left. Whoever moves it says so here.
    """

    def __init__(self, path: str, *, flags: int = 0) -> None:
        self.number = -1
        self.position = 0
        self._path = path
        self._flags = _FLAGS | flags
        self._device = self._inode = -1

    def status(self) -> os.stat_result | None:
        """Return the status of the opened file; None when there is none."""
        if self.number < 0:
            return None
        try:
            status = os.fstat(self.number)
        except OSError:
            return None
        return status if status.st_ino == self._inode and status.st_dev == self._device else None

    def status_at_path(self) -> os.stat_result | None:
        """Return the status of what stands at the path; None when that or the number is not the opened file.

        The number is told by its position, which is where we left it, in a third of the time of `status`. When it is
        not, or says nothing because it is zero, `status` decides.
        """
        try:
            position = os.lseek(self.number, 0, os.SEEK_CUR)
            if position != self.position or position == 0:
                if self.status() is None:
                    return None
                self.position = position
        except OSError:
            return None
        try:
            status = os.lstat(self._path)
        except FileNotFoundError:
            return None
        return status if status.st_ino == self._inode and status.st_dev == self._device else None

    def open(self) -> os.stat_result:
        """Open what stands at the path, made with its directories when nothing does, and return its status.

        Raises:
            JournalError: It is no regular file.
            OSError: It cannot be opened or made.
        """
        self.close()
        try:
            number = os.open(self._path, self._flags, _FILE_MODE)
        except FileNotFoundError:
            make_directory(os.path.dirname(self._path))
            number = os.open(self._path, self._flags, _FILE_MODE)
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            os.close(number)
            raise JournalError(self._path, "is no regular file")
        self._device, self._inode = status.st_dev, status.st_ino
        self.number = number
        self.position = 0
        return status

    def close(self) -> None:
        """Close the file, unless its number has come to mean another one."""
        if self.status() is not None:
            os.close(self.number)
        self.number = -1


def make_directory(path: str) -> None:
    """Make a directory, and those above it, unless they are there: for their owner alone.

    Raises:
        OSError: It cannot be made.
    """
    # Not os.makedirs: it gives the mode to the last directory alone.
    parent = os.path.dirname(path)
    if parent != path and not os.path.isdir(parent):
        make_directory(parent)
    try:
        os.mkdir(path, _DIRECTORY_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        sync_directory(parent)


def sync_directory(path: str) -> None:
    """Put on disk which files a directory has. Without that a power cut takes a new file, whatever was synced in it."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError:
        # Some file systems have no such thing.
        pass
    finally:
        os.close(number)

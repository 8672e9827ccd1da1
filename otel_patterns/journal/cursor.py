"""A position in the journal."""

from __future__ import annotations

import os
from typing import NamedTuple


class Cursor(NamedTuple):
    """A position: the segment (device and inode of the file, in hex) and a byte in it."""

    segment: str
    offset: int


def segment_of(status: os.stat_result) -> str:
    """Return the segment that a file is."""
    return f"{status.st_dev:x}-{status.st_ino:x}"

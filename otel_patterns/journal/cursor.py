"""A position in the journal."""

from __future__ import annotations

import os
from typing import NamedTuple


class Cursor(NamedTuple):
    """A position in the journal, between two lines.

    Attributes:
        segment: The file: its device and inode, in hex.
        offset: The byte in it.
    """

    segment: str
    offset: int


def segment_of(status: os.stat_result) -> str:
    """Return the segment that a file is."""
    return f"{status.st_dev:x}-{status.st_ino:x}"

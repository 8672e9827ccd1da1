"""A position in the journal, and the identity of the file that it is in."""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

from ..model.names import MAX_LINE_BYTES

_HEAD_BYTES = 4096
_DIGITS = 16


class Cursor(NamedTuple):
    """A position in the journal, between two lines.

    It means the same after the file was renamed, compressed or copied, and after a restart. It means nothing any more
    when the file was cut, replaced or deleted: device and inode would then come to mean another file.

    Attributes:
        segment: The file: 16 hex digits of the SHA-256 of its first line. Empty: the oldest one there is.
        offset: The byte in it, counted uncompressed.
    """

    segment: str
    offset: int


BEGINNING = Cursor("", 0)


def head_of(descriptor: int) -> bytes:
    """Return what tells a file from others: its `first_line`; of an endless one as much as a line may have.

    Empty while there is no complete line: a file has no identity before that.
    """
    size = _HEAD_BYTES
    while True:
        data = os.pread(descriptor, size, 0)
        if (head := first_line(data)) or len(data) < size:
            return head
        size *= 8


def first_line(data: bytes) -> bytes:
    """Return the first complete line that is not blank, and the blank ones before it; empty when there is none.

    Blank lines count: by them a file is told from another one that begins with the same event, as after a failed sync.
    """
    blank = len(data) - len(data.lstrip())
    newline = data.find(b"\n", blank, MAX_LINE_BYTES)
    if newline >= 0:
        return data[: newline + 1]
    return data[:MAX_LINE_BYTES] if len(data) >= MAX_LINE_BYTES else b""


def segment_of(head: bytes) -> str:
    """Return the segment whose file begins so; empty when it has no first line yet."""
    if not head:
        return ""
    import hashlib  # noqa: PLC0415  # takes as long to load as reading a few hundred events

    return hashlib.sha256(head).hexdigest()[:_DIGITS]


def segment_of_file(file: BinaryIO) -> str:
    """Return the segment that an opened file is; its position stays."""
    return segment_of(head_of(file.fileno()))

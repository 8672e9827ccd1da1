"""What is kept of a stream that passes by: how many lines it had, and its end."""

from __future__ import annotations

from typing import Final

PREVIEW_CHARACTERS: Final = 2000
# No character of UTF-8 takes more.
_TAIL_BYTES: Final = PREVIEW_CHARACTERS * 4
_CONTINUATION: Final = range(0x80, 0xC0)


class Preview:
    r"""Counts the lines of a stream and keeps its last 2000 characters, in memory that does not grow with it.

    Args:
        crlf: Whether a terminal made `\r\n` of the `\n` that was written.
    """

    def __init__(self, *, crlf: bool = False) -> None:
        self._crlf = crlf
        self._newlines = 0
        self._size = 0
        self._tail = b""

    def add(self, chunk: bytes) -> None:
        """Take the next bytes of the stream."""
        self._size += len(chunk)
        self._newlines += chunk.count(b"\n")
        # A large chunk is not copied with what it replaces anyway.
        self._tail = chunk[-_TAIL_BYTES:] if len(chunk) >= _TAIL_BYTES else (self._tail + chunk)[-_TAIL_BYTES:]

    @property
    def lines(self) -> int:
        """How many lines there were; a last one without its newline counts."""
        return self._newlines + (self._size > 0 and not self._tail.endswith(b"\n"))

    @property
    def text(self) -> str:
        r"""The end of the stream as text; bytes that are no UTF-8 are shown as `\xNN`."""
        tail = self._tail
        if self._size > len(tail):
            # The cut may have gone through a character.
            start = 0
            while start < 3 and start < len(tail) and tail[start] in _CONTINUATION:  # noqa: PLR2004  # of four bytes
                start += 1
            tail = tail[start:]
        text = tail.decode("utf-8", "backslashreplace")
        if self._crlf:
            text = text.replace("\r\n", "\n")
        return text[-PREVIEW_CHARACTERS:]

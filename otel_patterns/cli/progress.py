"""How far a replay is: one line below the others, drawn again in its place."""

from __future__ import annotations

import os
from typing import Final

from ..clock import Clock
from ..journal.cursor import Cursor
from ..journal.segments import GZIP, ZSTD, Segment, identity_of, sealed_segments
from ..tracing.replay import ReplayReport
from .output import Output
from .text import counted
from .waterfall import draw

_CELLS: Final = 24
_PAUSE_SECONDS: Final = 0.1


class Progress:
    """Draws how far a replay is, ten times a second at most.

    Args:
        path: The journal.
        output: Whose terminal.
        clock: The time.
    """

    def __init__(self, path: str, output: Output, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._begun = clock.monotonic()
        self._drawn = -_PAUSE_SECONDS
        # How many bytes of the journal stand before each of its files.
        self._before: dict[str, int] = {}
        self._bytes = 0
        sealed = sealed_segments(path)
        for segment in (*sealed, Segment(0, path, (path,))):
            self._before[identity_of(segment)] = self._bytes
            self._bytes += os.stat(segment.path).st_size if os.path.exists(segment.path) else 0
        # An empty file has no identity, as the beginning.
        self._before[""] = 0
        self._is_packed = any(segment.path.endswith((GZIP, ZSTD)) for segment in sealed)

    def show(self, position: Cursor, report: ReplayReport) -> None:
        """Draw how far it is: the journal was read up to `position`."""
        now = self._clock.monotonic()
        if now - self._drawn < _PAUSE_SECONDS:
            return
        self._drawn = now
        parts = [f"{counted(report.sent, 'run')} sent"]
        if report.owed:
            parts.append(f"{report.owed} owed")
        parts.append(f"{round(report.spans / max(now - self._begun, _PAUSE_SECONDS))} spans/s")
        self._output.redraw(f"{self._bar(position)}{', '.join(parts)}")

    def clear(self) -> None:
        """Leave nothing of it on the terminal."""
        self._output.redraw("")

    def _bar(self, position: Cursor) -> str:
        # How large a packed segment is, nobody knows before it is unpacked.
        if self._is_packed or not self._bytes:
            return ""
        # A file that was begun meanwhile stands behind all others.
        done = min(1.0, (self._before.get(position.segment, self._bytes) + position.offset) / self._bytes)
        symbols = self._output.symbols
        bar = draw(0, round(done * _CELLS * 8), _CELLS, symbols.eighths, symbols.right_half)
        return f"{bar:<{_CELLS}} {done:4.0%}  "

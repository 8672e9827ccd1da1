"""The bar of a replay: where it stands in a journal of several files."""

from __future__ import annotations

import io
import re
from pathlib import Path

from otel_patterns.cli.output import Output
from otel_patterns.cli.progress import Progress
from otel_patterns.journal.cursor import BEGINNING, Cursor
from otel_patterns.testing import FakeClock
from otel_patterns.tracing.replay import ReplayReport
from tests.unit.journal.lines import event_line, segment_at


class _Shown:
    """What a bar shows of a journal, position by position."""

    def __init__(self, path: Path) -> None:
        self._stream = io.StringIO()
        self._clock = FakeClock()
        self._bar = Progress(str(path), Output(io.StringIO(), self._stream, environ={}), self._clock)

    def percent(self, position: Cursor) -> int:
        """Return the percentage at a position."""
        self._clock.advance(1)
        self._bar.show(position, ReplayReport())
        return int(re.findall(r"(\d+)%", self._stream.getvalue())[-1])


def test_bar_never_falls_back(tmp_path: Path) -> None:
    """Neither when the journal is sealed meanwhile, nor when a file is begun that was not there."""
    path = tmp_path / "pattern_events.jsonl"
    older, newer = event_line(1) * 3, event_line(2) * 3
    path.with_name("pattern_events-00000001.jsonl").write_bytes(older)
    path.write_bytes(newer)
    shown = _Shown(path)
    assert shown.percent(BEGINNING) == 0
    assert shown.percent(Cursor(segment_at(path.with_name("pattern_events-00000001.jsonl")), len(older))) == 50
    active = segment_at(path)
    path.rename(path.with_name("pattern_events-00000002.jsonl"))
    assert shown.percent(Cursor(active, len(newer) // 3)) == 67
    path.write_bytes(event_line(3))
    assert shown.percent(Cursor(segment_at(path), 0)) == 100


def test_bar_begins_at_nothing_when_the_active_file_is_empty(tmp_path: Path) -> None:
    """As right after a rotation: an empty file has no name of its own that could be taken for the beginning."""
    path = tmp_path / "pattern_events.jsonl"
    path.with_name("pattern_events-00000001.jsonl").write_bytes(event_line(1))
    path.touch()
    assert _Shown(path).percent(BEGINNING) == 0

"""The stages of a run as bars over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..model import names
from ..model.fold import ending
from ..model.stages import pair_stages
from .moments import show_seconds
from .output import Output
from .text import pad

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from ..model.record import Event

_OPENERS: Final = (names.SELECTION_STARTED, names.VALIDATION_STARTED, names.EXECUTION_STARTED)
_EIGHTHS: Final = 8
_HALF: Final = 4
_NARROWEST_BAR: Final = 10
_WIDEST_BAR: Final = 100


@dataclass(frozen=True)
class Bar:
    """One stage: when, with which status, and what is to be said about it."""

    name: str
    start_unix_nano: int
    end_unix_nano: int
    status: str
    note: str = ""


@dataclass(frozen=True)
class Waterfall:
    """The stages of a run between its first event and its end, or now."""

    bars: tuple[Bar, ...]
    start_unix_nano: int
    end_unix_nano: int


def waterfall_of(ordered: Sequence[PatternEvent], now_unix_nano: int) -> Waterfall:
    """Return the stages of one run's events, which are in the order of the fold; there is at least one.

    A stage that was opened and not closed lasts until the run's end; it is running when the run has none.
    """
    terminal = ending(ordered)
    last = ordered[-1].time_unix_nano
    end = max(now_unix_nano, last) if terminal is None else max(terminal.time_unix_nano, last)
    stages = pair_stages(ordered)
    bars = [
        Bar(stage.name, stage.opening.time_unix_nano, stage.closing.time_unix_nano, _status(stage.closing))
        for stage in stages
    ]
    closers = {stage.name: stage.closing for stage in stages}
    openers = {event.stage: event for event in ordered if event.event_type in _OPENERS}
    for name, opener in openers.items():
        closer = closers.get(name)
        # Of two openers the later one counts, as in the trace.
        if closer is None or ordered.index(closer) < ordered.index(opener):
            status, note = (names.IN_PROGRESS, "running") if terminal is None else (names.SKIPPED, "not closed")
            bars.append(Bar(name, opener.time_unix_nano, end, status, note))
    bars.sort(key=lambda bar: (bar.start_unix_nano, bar.end_unix_nano))
    return Waterfall(tuple(bars), ordered[0].time_unix_nano, end)


def _status(closing: Event) -> str:
    if closing.event_type in names.TERMINAL_EVENT_TYPES and closing.event_type != names.EXECUTION_COMPLETED:
        return names.FAILED
    return names.SUCCESS if closing.status == names.IN_PROGRESS else closing.status


def show_waterfall(waterfall: Waterfall, output: Output, indent: str) -> None:
    """Write a line for each stage: name, offset, duration, bar."""
    start, total = waterfall.start_unix_nano, waterfall.end_unix_nano - waterfall.start_unix_nano
    rows = [
        (
            bar,
            f"+{show_seconds((bar.start_unix_nano - start) / 1e9)}",
            show_seconds((bar.end_unix_nano - bar.start_unix_nano) / 1e9) + ("+" if bar.note == "running" else ""),
        )
        for bar in waterfall.bars
    ]
    if not rows:
        return
    name_width = max(len(bar.name) for bar in waterfall.bars)
    offset_width = max(len(offset) for _, offset, _ in rows)
    duration_width = max(len(duration) for _, _, duration in rows)
    note_width = max(len(bar.note) + 1 if bar.note else 0 for bar in waterfall.bars)
    taken = len(indent) + name_width + offset_width + duration_width + note_width + 3 * 2
    width = min(_WIDEST_BAR, max(_NARROWEST_BAR, output.width - taken))
    for bar, offset, duration in rows:
        drawn = draw(
            _eighth(bar.start_unix_nano - start, total, width),
            _eighth(bar.end_unix_nano - start, total, width),
            width,
            output.symbols.eighths,
            output.symbols.right_half,
        )
        output.line(
            indent,
            pad(bar.name, name_width),
            "  ",
            pad(offset, offset_width, right=True),
            "  ",
            pad(duration, duration_width, right=True),
            "  ",
            output.status(bar.status, drawn),
            f" {bar.note}" if bar.note else "",
        )


def _eighth(elapsed: int, total: int, width: int) -> int:
    return round(elapsed * width * _EIGHTHS / total) if total > 0 else 0


def draw(first: int, last: int, width: int, eighths: str, right_half: str) -> str:
    """Return a bar from eighth `first` to eighth `last` of `width` cells; it is never invisible.

    Blocks fill a cell from its left. Where a bar begins inside a cell there is only one that fills the right half.
    """
    first = min(first, width * _EIGHTHS - 1)
    last = max(last, first + 1)
    cell, begins = divmod(first, _EIGHTHS)
    if last <= (cell + 1) * _EIGHTHS:
        return " " * cell + eighths[last - first - 1]
    head = eighths[-1] if begins < _HALF else right_half
    full, rest = divmod(last - (cell + 1) * _EIGHTHS, _EIGHTHS)
    return " " * cell + head + eighths[-1] * full + (eighths[rest - 1] if rest else "")

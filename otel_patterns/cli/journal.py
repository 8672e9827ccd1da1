"""`otel-patterns journal`: look after the files of the journal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Final

from ..clock import Clock
from ..journal.compress import Form, compress, is_plain
from ..journal.segments import sealed_segments
from ..settings import Settings
from .journals import journal_of
from .output import Output
from .text import counted, show_bytes

Action = Callable[[argparse.Namespace, str, Settings, Output, Clock], int]


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Do the action that was asked for.

    Raises:
        ConfigurationError: A setting cannot be used.
        JournalError: The journal cannot be read, or a file of it not be written.
    """
    path, settings = journal_of(arguments, output)
    return _ACTIONS[arguments.action](arguments, path, settings, output, clock)


def _compress(arguments: argparse.Namespace, path: str, settings: Settings, output: Output, _clock: Clock) -> int:
    form: Form = arguments.format or (settings.compress if settings.compress != "none" else "gzip")
    before = after = count = 0
    for segment in filter(is_plain, sealed_segments(path)):
        size = os.stat(segment.path).st_size
        packed = compress(path, segment, form)
        output.line(f"{os.path.basename(segment.path)}  {show_bytes(size)} to {show_bytes(packed)}")
        output.flush()
        before, after, count = before + size, after + packed, count + 1
    output.say(f"{counted(count, 'segment')} compressed: {show_bytes(before)} to {show_bytes(after)}")
    return 0


_ACTIONS: Final[dict[str, Action]] = {"compress": _compress}

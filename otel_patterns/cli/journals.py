"""The journal of a command: which one it is, and what is to be said about its state."""

from __future__ import annotations

import argparse
import os

from ..journal.read import ReadReport
from ..settings import Settings
from .output import Output


def journal_of(arguments: argparse.Namespace, output: Output, *, otherwise: str = "") -> tuple[str, Settings]:
    """Return the path of the journal and the settings; a missing journal is an empty one, and the user is told.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    settings = Settings.load(journal=arguments.journal)
    path = os.path.abspath(settings.journal)
    if not os.path.exists(path):
        output.say(f"there is no journal at {path}{otherwise}; --journal or OTEL_PATTERNS_JOURNAL names another one")
    return path, settings


def tell_skipped(report: ReadReport, output: Output) -> None:
    """Say in one line which lines were no events, if there were any."""
    if not report.skipped:
        return
    first = min(report.bad_lines, key=lambda bad: bad.offset)
    lines = "line that is no event" if report.skipped == 1 else f"{report.skipped} lines that are no events, the first"
    output.say(f"skipped {lines} at byte {first.offset}: {first.reason}")

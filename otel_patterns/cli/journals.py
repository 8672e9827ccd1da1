"""The journal of a command: which one it is, and what is to be said about its state."""

from __future__ import annotations

import argparse
import os

from ..errors import ConfigurationError
from ..journal.lines import ReadReport
from ..journal.segments import sealed_segments
from ..settings import Settings
from .output import Output


def journal_of(arguments: argparse.Namespace, output: Output, *, otherwise: str = "") -> tuple[str, Settings]:
    """Return the path of the journal and the settings; a missing journal is an empty one, and the user is told.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    settings = Settings.load(journal=arguments.journal)
    path = os.path.abspath(settings.journal)
    if not has_journal(path):
        output.say(f"there is no journal at {path}{otherwise}; --journal or OTEL_PATTERNS_JOURNAL names another one")
    return path, settings


def has_journal(path: str) -> bool:
    """Tell whether there is a journal: right after a rotation there are sealed segments alone."""
    return os.path.exists(path) or bool(sealed_segments(path))


def tell_skipped(report: ReadReport, output: Output) -> None:
    """Say in one line which lines were no events, if there were any."""
    if not report.skipped:
        return
    first = report.bad_lines[0]
    lines = "line that is no event" if report.skipped == 1 else f"{report.skipped} lines that are no events, the first"
    output.say(f"skipped {lines} at byte {first.offset} of {os.path.basename(first.path)}: {first.reason}")


def check_exports(verb: str) -> None:
    """See that the environment lets traces be sent.

    Raises:
        ConfigurationError: It does not.
    """
    from ..tracing.endpoint import exports_traces  # noqa: PLC0415  # who only reads starts without it

    if not exports_traces():
        name = "OTEL_SDK_DISABLED" if os.environ.get("OTEL_SDK_DISABLED") else "OTEL_TRACES_EXPORTER"
        raise ConfigurationError(name, os.environ.get(name), f"it turns traces off; unset it to {verb}")

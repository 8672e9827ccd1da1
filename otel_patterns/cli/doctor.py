"""`otel-patterns doctor`: say what is wrong, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os

from ..clock import Clock
from ..errors import ConfigurationError
from ..tracing.probe import probe
from .findings import count, show
from .output import Output
from .sections import (
    clock_section,
    delivery_section,
    endpoint_section,
    journal_section,
    runs_section,
    settings_section,
    tell_probe,
)
from .text import counted


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Examine everything, or compare the journal with a backend; 0 when nothing is a problem.

    Raises:
        ConfigurationError: An argument cannot be used, or not with the others.
        OtelPatternsError: The backend cannot be asked.
    """
    if arguments.reconcile is not None:
        from .reconcile import execute as reconcile  # noqa: PLC0415  # an examination needs none of it

        return reconcile(arguments, output, clock)
    for name in ("fix", "run", "job", "since"):
        if getattr(arguments, name):
            raise ConfigurationError(f"--{name}", getattr(arguments, name), "give it with --reconcile")
    return _examine(arguments, output, clock)


def _examine(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    settings_found, settings = settings_section(arguments.journal)
    path = os.path.abspath(settings.journal)
    endpoint_found, endpoint = endpoint_section(settings)
    probed = None
    if endpoint is not None and not arguments.no_probe:
        probed = probe(endpoint, clock.now_unix_nano)
        tell_probe(endpoint_found, endpoint, probed)
    delivery_found = delivery_section(path, endpoint, settings)
    sections = [
        settings_found,
        endpoint_found,
        journal_section(path, clock),
        delivery_found,
        clock_section(path, clock, probed),
        runs_section(path, clock),
    ]
    problems, warnings = count(sections, "problem"), count(sections, "warning")
    if arguments.json:
        document = {"owed": delivery_found.facts["owed"], "problems": problems, "warnings": warnings}
        document |= {section.name: section.document() for section in sections}
        output.data(json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode())
    else:
        for section in sections:
            show(section, output)
        found = [counted(number, word) for number, word in ((problems, "problem"), (warnings, "warning")) if number]
        output.say(", ".join(found) or "nothing is wrong")
    return 1 if problems else 0

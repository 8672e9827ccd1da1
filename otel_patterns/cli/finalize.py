"""`otel-patterns finalize`: end runs that nobody ended."""

from __future__ import annotations

import argparse

from ..clock import Clock
from ..finalize import SILENT_SECONDS, append_end, find_abandoned
from ..journal.read import ReadReport
from ..model.encoding import encode_line
from .journals import journal_of, tell_skipped
from .output import Output, Styled
from .text import counted


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Append an end to each abandoned run; 0 when all of them could be written.

    Raises:
        OtelPatternsError: The journal cannot be read or written.
    """
    path, settings = journal_of(arguments, output)
    report = ReadReport()
    silent_seconds = SILENT_SECONDS if arguments.silent is None else arguments.silent
    # All are found before one is written: what is read must not grow meanwhile.
    found = list(
        find_abandoned(path, now_unix_nano=clock.now_unix_nano(), silent_seconds=silent_seconds, report=report)
    )
    for run in found:
        if not arguments.dry_run:
            append_end(path, run, job_scoped=settings.job_scoped)
        if arguments.json:
            output.lines(encode_line(run.document))
        else:
            verb = "would end" if arguments.dry_run else "ended"
            output.line(Styled(run.run_id, "bold"), f"  {verb}: {run.reason}")
    tell_skipped(report, output)
    if arguments.dry_run:
        output.say(f"{counted(len(found), 'run')} to end")
    else:
        output.say(f"{counted(len(found), 'run')} ended" + ("; replay sends them" if found else ""))
    return 0

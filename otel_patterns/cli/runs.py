"""`otel-patterns runs`: the runs of the journal as a table."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Final

from ..clock import Clock
from ..journal.lines import ReadReport
from ..journal.runs import JournalRun, read_runs
from ..model.encoding import encode_json
from ..model.runs import PatternRun
from ..model.times import parse_timestamp
from .journals import journal_of, tell_skipped
from .moments import show_moment, show_seconds
from .output import Output, Part, Styled
from .text import pad, safe, safe_json, width_of

_SECOND_LENGTH: Final = len("2026-11-22T09:30:00")
_SHORT_ID: Final = 8
# What people name themselves, like JOB-NIGHTLY-12, says nothing without its beginning.
_WHOLE_ID: Final = 14
_SEPARATOR: Final = "  "
_LONGEST_PIPED_CELL: Final = 200
_NARROWEST_CELL: Final = 12


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """List the runs that pass the filters, the latest first."""
    path, _ = journal_of(arguments, output)
    report = ReadReport()
    runs = [run for run in read_runs(path, report=report).values() if _passes(run, arguments)]
    runs.sort(key=lambda run: (parse_timestamp(run.started_at), run.pattern_run_id), reverse=True)
    if arguments.limit is not None:
        del runs[arguments.limit :]
    if arguments.json:
        for run in runs:
            output.data(run_json(run.run.to_dict()))
    elif runs:
        _show_table(runs, output, clock.now_unix_nano())
    tell_skipped(report, output)
    if not runs and os.path.exists(path):
        output.say(f"no run of {path} matches")
    return 0


def run_json(document: dict[str, object]) -> bytes:
    """Return a run object in one line of JSON, with what a terminal would obey escaped."""
    return safe_json(encode_json(document).decode("utf-8")).encode("utf-8")


def duration_of(run: PatternRun | JournalRun, now_unix_nano: int) -> str:
    """Return how long a run took; with a `+` for one that is still going on."""
    if run.duration_seconds is not None:
        return show_seconds(run.duration_seconds)
    return f"{show_seconds(max(0, now_unix_nano - parse_timestamp(run.started_at)) / 1e9)}+"


def _passes(run: JournalRun, arguments: argparse.Namespace) -> bool:
    for name, wanted in (
        ("job_id", arguments.job),
        ("pattern_id", arguments.pattern),
        ("status", arguments.status),
        ("operation_kind", arguments.operation_kind),
    ):
        if wanted is not None and getattr(run, name) != wanted:
            return False
    started = parse_timestamp(run.started_at)
    since: int | None = arguments.since
    until: int | None = arguments.until
    return (since is None or started >= since) and (until is None or started < until)


@dataclass
class _Column:
    title: str
    cells: list[str]
    # Of these the table takes what it lacks; an id keeps its end, which tells ids of one time apart.
    shrinks: bool = False
    is_id: bool = False
    right: bool = False
    width: int = 0

    def fit(self, output: Output, longest: int) -> None:
        if self.is_id and longest < max(map(len, self.cells)):
            self.cells = [_short_id(cell, output, longest) for cell in self.cells]
        else:
            self.cells = [output.cut(cell, longest) for cell in self.cells]
        self.width = max(width_of(self.title), *(width_of(cell) for cell in self.cells))


def _short_id(cell: str, output: Output, longest: int) -> str:
    return cell if len(cell) <= longest else output.symbols.ellipsis + cell[-_SHORT_ID:]


def _show_table(runs: list[JournalRun], output: Output, now_unix_nano: int) -> None:
    sign = output.symbols.sign
    columns = [
        _Column("STARTED (UTC)", [f"{show_moment(parse_timestamp(run.started_at))[:_SECOND_LENGTH]}Z" for run in runs]),
        _Column("STATUS", [f"{sign(run.status)} {run.status}" for run in runs]),
        _Column("DURATION", [duration_of(run, now_unix_nano) for run in runs], right=True),
        _Column("PATTERN", [safe(run.pattern_id) for run in runs], shrinks=True),
        _Column("OPERATION", [safe(run.operation_kind) for run in runs], shrinks=True),
        _Column("JOB", [run.job_id for run in runs], is_id=True),
        _Column("RUN", [run.pattern_run_id for run in runs], is_id=True),
    ]
    for column in columns:
        column.fit(output, _LONGEST_PIPED_CELL)
    if output.is_terminal:
        columns = _fit_terminal(columns, output)
    output.line(*_row([Styled(_aligned(column.title, column), "dim") for column in columns]))
    for index, run in enumerate(runs):
        cells: list[Part] = []
        for column in columns:
            text = _aligned(column.cells[index], column)
            cells.append(output.status(run.status, text) if column.title == "STATUS" else text)
        output.line(*_row(cells))


def _fit_terminal(columns: list[_Column], output: Output) -> list[_Column]:
    """Shorten ids; then leave out the job; then the year; then cut pattern and operation; then leave out the latter."""

    def excess() -> int:
        return sum(column.width for column in columns) + len(_SEPARATOR) * (len(columns) - 1) - output.width

    for column in columns:
        if excess() > 0 and column.is_id:
            column.fit(output, _WHOLE_ID)
    if excess() > 0:
        columns = [column for column in columns if column.title != "JOB"]
    if excess() > 0:
        started = columns[0]
        started.title, started.cells = "UTC", [cell[len("2026-") : -len(":00Z")] for cell in started.cells]
        started.fit(output, _LONGEST_PIPED_CELL)
    for column in columns:
        if excess() > 0 and column.shrinks:
            column.fit(output, max(_NARROWEST_CELL, column.width - excess()))
    if excess() > 0:
        columns[-1].fit(output, _SHORT_ID)
    if excess() > 0:
        columns = [column for column in columns if column.title != "OPERATION"]
    return columns


def _aligned(text: str, column: _Column) -> str:
    return pad(text, column.width, right=column.right)


def _row(cells: list[Part]) -> list[Part]:
    return [part for cell in cells for part in (cell, _SEPARATOR)][:-1]

"""`otel-patterns events`: the journal's events, and new ones as they come."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from ..clock import Clock
from ..journal.cursor import BEGINNING, Cursor
from ..journal.lines import BadLine, Line, ReadReport
from ..journal.read import Filter, LastReport, line_parser, read_documents, read_last, read_raw
from ..model.times import parse_timestamp
from .journals import has_journal, journal_of, tell_skipped
from .moments import show_moment
from .output import Output, Styled
from .summary import summarize
from .text import pad, safe

# Below this width of a terminal the date moves to a line of its own and ids show only their ends.
_WIDE: Final = 132
# Below this one seconds must do.
_MEDIUM: Final = 100
_DATE_LENGTH: Final = len("2026-11-22")
_TIME_LENGTH: Final = len("09:30:00")
_TYPE_WIDTH: Final = len("validation.completed")
_LONGEST_TYPE: Final = 40
_PATTERN_WIDTH: Final = 18
_NARROW_PATTERN_WIDTH: Final = 15
_RUN_WIDTH: Final = len("PRUN-") + 26
_SHORT_ID: Final = 8
_LONGEST_PIPED_SUMMARY: Final = 300
_REMEMBERED_EVENTS: Final = 1_000_000


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:  # noqa: ARG001  # every command has it
    """Print the events that pass the filters; with `--follow` go on until Ctrl-C."""
    path, _ = journal_of(arguments, output, otherwise=", waiting for it" if arguments.follow else "")
    wanted = _filter_of(arguments, path)
    printer = _Printer(output, as_json=arguments.json)
    if arguments.follow:
        _follow(path, wanted, arguments.limit, printer, output)
        return 0
    report = LastReport()
    if wanted.pattern_run_id is not None:
        found = _documents_of_run(path, wanted, report)
        for line, document in found if arguments.limit is None else deque(found, arguments.limit):
            printer.show(line, document)
    elif arguments.limit is not None:
        for line, document in read_last(path, wanted, arguments.limit, report=report):
            printer.show(line, document)
    elif arguments.json:
        for lines in read_raw(path, wanted, report=report):
            output.lines(lines)
    else:
        for line, document in read_documents(path, wanted, report=report):
            printer.show(line, document)
    tell_skipped(report, output)
    if not report.events and has_journal(path):
        output.say(f"no event of {path} matches")
    return 0


def _documents_of_run(path: str, wanted: Filter, report: ReadReport) -> Iterator[tuple[Line, dict[str, Any]]]:
    from ..journal.lookup import read_run_documents  # noqa: PLC0415  # who wants all runs starts without it

    return read_run_documents(path, wanted, report=report)


def _filter_of(arguments: argparse.Namespace, path: str) -> Filter:
    run_id: str | None = arguments.run
    if run_id is not None and not run_id.startswith("PRUN-"):
        from .lookup import find_run_id  # noqa: PLC0415  # a whole id needs no search

        run_id = find_run_id(path, run_id)
    return Filter(
        job_id=arguments.job,
        pattern_run_id=run_id,
        pattern_id=arguments.pattern,
        step_id=arguments.step,
        event_type=arguments.type,
        status=arguments.status,
        since=arguments.since,
        until=arguments.until,
    )


def _follow(path: str, wanted: Filter, limit: int | None, printer: _Printer, output: Output) -> None:
    """Print what is there, then what comes. One reading without a seam, so nothing is lost or printed twice."""
    report = ReadReport()
    seen = _Seen()
    start: Cursor | None = BEGINNING
    if limit is not None:
        found = LastReport()
        last = read_last(path, wanted, limit, report=found)
        for line, document in last:
            seen.is_new(document["event_id"])
            printer.show(line, document)
        output.flush()
        # What follows the last event printed did not pass the filter, or is new.
        start = found.cursor or (BEGINNING if limit else None)

    from ..journal.follow import follow_lines  # noqa: PLC0415  # who does not follow starts without it

    def restart(reason: str) -> None:
        seen.drop_copies = True
        output.say(f"the journal was {reason}: reading it from its beginning")

    lines = follow_lines(path, start=start, on_restart=restart, report=report)
    try:
        for line, document in _parse(lines, report, output):
            if wanted.matches(document) and seen.is_new(document["event_id"]):
                printer.show(line, document)
                output.flush()
    finally:
        if report.skipped > 1:
            tell_skipped(report, output)


def _parse(lines: Iterator[Line], report: ReadReport, output: Output) -> Iterator[tuple[Line, dict[str, Any]]]:
    for number, line in enumerate(lines):
        if line.data.isspace():
            continue
        try:
            yield line, line_parser(number)(line)
        except ValueError as error:
            report.skip(BadLine(line.offset, len(line.data), str(error)))
            if report.skipped == 1:
                tell_skipped(report, output)


class _Seen:
    """The latest events printed. After the file began anew, what it repeats is no news."""

    def __init__(self) -> None:
        self.drop_copies = False
        self._ids: dict[str, None] = {}

    def is_new(self, event_id: str) -> bool:
        if self.drop_copies and event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > _REMEMBERED_EVENTS:
            del self._ids[next(iter(self._ids))]
        return True


class _Printer:
    """Shows one event in one line, as wide as the terminal is."""

    def __init__(self, output: Output, *, as_json: bool) -> None:
        self._output = output
        self._as_json = as_json
        self._is_narrow = output.is_terminal and output.width < _WIDE
        self._date = ""

    def show(self, line: Line, document: dict[str, Any]) -> None:
        if self._as_json:
            self._output.data(line.json)
            return
        output = self._output
        symbols = output.symbols
        moment = show_moment(parse_timestamp(document["timestamp"]))
        status: str = document["status"]
        event_type = safe(document["event_type"].removeprefix("pattern."))
        event_type = pad(output.cut(event_type, _LONGEST_TYPE), _TYPE_WIDTH)
        pattern: str = document["pattern_id"]
        run: str = document["pattern_run_id"]
        if self._is_narrow:
            self._show_date(moment)
            moment = moment[_DATE_LENGTH + 1 :]
            width = _PATTERN_WIDTH
            if output.width < _MEDIUM:
                moment, width = moment[:_TIME_LENGTH], _NARROW_PATTERN_WIDTH
            pattern = pad(output.cut(pattern, width), width)
            run = run if len(run) <= _SHORT_ID + 1 else f"{symbols.ellipsis}{run[-_SHORT_ID:]}"
        else:
            pattern, run = pad(pattern, _PATTERN_WIDTH), pad(run, _RUN_WIDTH)
        head = f"{moment} {symbols.sign(status)} {event_type} {pattern} {run} "
        room = output.width - len(head) - 1 if output.is_terminal else _LONGEST_PIPED_SUMMARY
        details = output.cut(safe(summarize(document["details"], symbols.separator, symbols.ellipsis)), max(0, room))
        output.line(
            Styled(moment, "dim"),
            " ",
            output.status(status, f"{symbols.sign(status)} {event_type}"),
            " ",
            pattern,
            " ",
            Styled(run, "dim"),
            "  ",
            details,
        )

    def _show_date(self, moment: str) -> None:
        if (date := moment[:_DATE_LENGTH]) != self._date:
            self._date = date
            self._output.line(Styled(date, "bold"))

"""`otel-patterns import-trace`: put the events of a saved trace into the journal."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..clock import Clock
from ..errors import InvalidTraceError, JournalError
from ..journal.append import Journal, append_to_job, open_journal
from ..journal.read import read_documents
from ..model import names
from ..model.events import PatternEvent
from ..model.values import as_object
from ..settings import Settings
from ..tracing.recorded import IMPORTED, TRUNCATED
from ..tracing.reverse import IncompleteEvent, events_from_trace
from ..tracing.reverse_otel import with_otel
from .input import STDIN, name_of, read_input
from .output import Output, Styled
from .text import counted

_TOO_LONG: Final = "its line would be too long for a journal"


@dataclass
class _Run:
    """What a file has of one run, and what of it is new to the journal."""

    run_id: str
    events: list[PatternEvent]
    new: list[PatternEvent]
    incomplete: list[IncompleteEvent]
    known: int = 0


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:  # noqa: ARG001  # every command has it
    """Append what the journal does not have yet; 0 when all that the files tell of is whole in it.

    Raises:
        JournalError: The journal cannot be read or written.
    """
    settings = Settings.load(journal=arguments.journal)
    path = os.path.abspath(settings.journal)
    code = 0
    for name in arguments.files or [STDIN]:
        data = read_input(name, output)
        if data is None:
            code = 1
            continue
        try:
            runs, notes, foreign = _runs_of(data, path)
        except InvalidTraceError as error:
            output.say(f"{name_of(name)}: {error}")
            code = 1
            continue
        for run in runs:
            if not arguments.dry_run:
                _append(run, settings, path)
            _show(run, output, is_json=arguments.json, is_dry_run=arguments.dry_run)
        _tell(name_of(name), runs, notes, foreign, output)
        if not runs or notes or any(run.incomplete for run in runs):
            code = 1
    return code


def _runs_of(data: bytes, journal_path: str) -> tuple[list[_Run], list[str], int]:
    back = events_from_trace(data)
    runs: dict[str, _Run] = {}

    def run_of(run_id: str) -> _Run:
        return runs.setdefault(run_id, _Run(run_id, [], [], []))

    for event in back.events:
        run_of(event.pattern_run_id).events.append(event)
    notes: list[str] = []
    for incomplete in back.incomplete:
        if incomplete.pattern_run_id is None:
            notes.append(incomplete.reason)
        else:
            run_of(incomplete.pattern_run_id).incomplete.append(incomplete)
    known = _known_ids(journal_path, runs)
    for run in runs.values():
        _compare(run, known)
    return list(runs.values()), notes, back.foreign_spans


def _known_ids(journal_path: str, run_ids: Iterable[str]) -> dict[str, bool]:
    """Return the ids of the events of these runs in the journal, and whether the event is whole there."""
    wanted = set(run_ids)
    known: dict[str, bool] = {}
    for _, document in read_documents(journal_path):
        if document["pattern_run_id"] in wanted:
            otel = as_object(document["details"].get(names.OTEL)) or {}
            known.setdefault(document["event_id"], TRUNCATED not in otel)
    return known


def _compare(run: _Run, known: dict[str, bool]) -> None:
    for event in run.events:
        if event.event_id in known:
            run.known += 1
            continue
        imported = with_otel(event, {IMPORTED: True})
        if len(imported.to_line()) > names.MAX_LINE_BYTES:
            run.incomplete.append(IncompleteEvent(_TOO_LONG, run.run_id, event.event_id, event.event_type))
        else:
            run.new.append(imported)
    # What the trace has cut the journal may have whole.
    run.incomplete = [item for item in run.incomplete if not (item.event_id and known.get(item.event_id))]


def _append(run: _Run, settings: Settings, path: str) -> None:
    journal: Journal = open_journal(path)
    journal.rotate(settings.rotate_bytes, settings.rotate_seconds)
    for event in run.new:
        line = event.to_line()
        if journal.append(line).state != "journaled":
            raise JournalError(path, f"event {event.event_id} cannot be written")
        if settings.job_scoped:
            append_to_job(journal, event.job_id, line)


def _show(run: _Run, output: Output, *, is_json: bool, is_dry_run: bool) -> None:
    if is_json:
        document: dict[str, Any] = {
            "pattern_run_id": run.run_id,
            "events": len(run.events),
            "new": len(run.new),
            "incomplete": [_document_of(item) for item in run.incomplete],
        }
        output.data(json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode())
        return
    verb = "to import" if is_dry_run else "imported"
    parts = [f"{counted(len(run.new), 'event')} {verb}"]
    if run.known:
        parts.append(f"{run.known} in the journal before")
    output.line(Styled(run.run_id, "bold"), "  ", ", ".join(parts))


def _document_of(item: IncompleteEvent) -> dict[str, str | None]:
    return {
        "event_id": item.event_id,
        "event_type": item.event_type,
        "reason": item.reason,
        "details_sha256": item.details_sha256,
    }


def _tell(name: str, runs: Sequence[_Run], notes: Iterable[str], foreign: int, output: Output) -> None:
    for reason in notes:
        output.say(f"{name}: {reason}")
    for run in runs:
        for item in run.incomplete:
            event = f" {item.event_id}" if item.event_id else ""
            output.say(f"not whole: {run.run_id}{event}: {item.reason}")
    if not runs:
        spans = f", only {counted(foreign, 'span')} of other programs" if foreign else ""
        output.say(f"{name}: there is no pattern run in this trace{spans}")

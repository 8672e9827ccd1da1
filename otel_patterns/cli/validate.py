"""`otel-patterns validate-pattern-event` and `validate-pattern-run`: are these documents what the schemas say?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from ..errors import Problem, shorten
from ..model.envelope import check_event
from .documents import Document, read_documents_of
from .input import STDIN, name_of, read_input
from .output import Output, Styled

if TYPE_CHECKING:
    from ..model.events import PatternEvent

Check = Callable[[object], list[Problem]]


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:  # noqa: ARG001  # every command has it
    """Print what is wrong with each document; 0 when nothing is."""
    if arguments.command == "validate-pattern-run":
        from ..model.runs import check_run  # noqa: PLC0415  # loads pydantic

        return _validate(arguments.files, "run", check_run, output)
    events: list[PatternEvent] = []

    def check(value: object) -> list[Problem]:
        problems = list(check_event(value, strict=not arguments.lenient))
        events.extend(_readable(value))
        return problems

    code = _validate(arguments.files, "event", check, output)
    _tell_anomalies(events, output)
    return code


def _validate(files: list[str], kind: str, check: Check, output: Output) -> int:
    documents = wrong = 0
    unread = False
    for name in files or [STDIN]:
        data = read_input(name, output)
        if data is None:
            unread = True
            continue
        for document in read_documents_of(name_of(name), data):
            documents += 1
            problems = [document.problem] if document.problem is not None else check(document.value)
            wrong += bool(problems)
            for problem in problems:
                _show(document, problem, output)
    one = f"1 {kind}" if documents == 1 else f"{documents} {kind}s"
    if wrong:
        output.say(f"{wrong} of {one} {'is' if wrong == 1 else 'are'} not valid")
    elif documents:
        output.say(f"{one} {'is' if documents == 1 else 'are'} valid")
    return 1 if wrong or unread else 0


def _show(document: Document, problem: Problem, output: Output) -> None:
    output.line(Styled(f"{document.place}: {problem.pointer or 'the document'}", "bold"))
    output.line("  value: ", shorten(problem.value))
    output.line("  rule:  ", problem.rule)
    output.line("  fix:   ", problem.fix)


def _readable(value: object) -> Iterable[PatternEvent]:
    """Yield the event when readers of the journal would take it, whatever a strict check says."""
    from ..model.events import PatternEvent  # noqa: PLC0415  # loads pydantic

    if not any(check_event(value, known_types_only=False)):
        yield PatternEvent.from_document(value)


def _tell_anomalies(events: Iterable[PatternEvent], output: Output) -> None:
    from ..model.fold import find_anomalies  # noqa: PLC0415  # loads pydantic

    by_run: dict[str, list[Any]] = {}
    for event in events:
        by_run.setdefault(event.pattern_run_id, []).append(event)
    for run_id, run_events in by_run.items():
        for anomaly in find_anomalies(run_events):
            output.say(f"warning: {run_id}: {anomaly.kind}: {anomaly.message} ({anomaly.event_id})")

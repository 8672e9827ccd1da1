"""`otel-patterns doctor --reconcile`: compare the journal with what a trace backend has."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, Final

from ..clock import Clock
from ..errors import ConfigurationError
from ..tracing.endpoint import Endpoint
from ..tracing.reconcile import Comparison, Difference, Reconciliation, Repair, reconcile
from ..tracing.replay import Selection
from ..tracing.sink import OtlpSink
from ..tracing.stored import StoredTraces
from .journals import check_exports, journal_of, tell_skipped
from .lookup import find_run_id
from .output import Output, Styled
from .text import counted, plain

_SECONDS_BETWEEN_WORDS: Final = 2.0
_SHOWN_DIFFERENCES: Final = 3
_LONGEST_VALUE: Final = 60
# A token of HTTP (RFC 9110, 5.6.2).
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_END: Final = re.compile(r"[\r\n\0]")


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """List the runs that a backend does not have as the journal says; 0 when there is none left.

    Raises:
        ConfigurationError: An argument or the endpoint cannot be used.
        QueryError: The backend cannot be asked.
        UnknownRunError: The run that was asked for is not there.
    """
    backend, url = arguments.reconcile
    stored = StoredTraces(backend, url, headers=_headers_of(arguments.header))
    path, _ = journal_of(arguments, output)
    run_id = None if arguments.run is None else find_run_id(path, arguments.run)
    selection = Selection(run_id=run_id, job_id=arguments.job, since=arguments.since)
    result = Reconciliation()
    told_at = clock.monotonic()
    with _repair_of(path, is_wanted=arguments.fix) as repair:
        try:
            for found in reconcile(path, stored.read, selection, backend=backend, result=result):
                if found.state != "whole":
                    _show(found, output, is_json=arguments.json)
                if repair is not None and found.missing:
                    repair.send(found.trace, found.missing)
                if sys.stderr.isatty() and clock.monotonic() - told_at >= _SECONDS_BETWEEN_WORDS:
                    told_at = clock.monotonic()
                    output.say(f"{counted(result.compared, 'run')} compared")
        finally:
            stored.close()
    tell_skipped(result.replay.read, output)
    return _tell(result, repair, f"{stored.backend} at {stored.url}", output, is_json=arguments.json)


def _headers_of(given: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, header in enumerate(given, start=1):
        name, equals, value = header.partition("=")
        if not equals or _HEADER_NAME.fullmatch(name.strip()) is None or _LINE_END.search(value):
            # Not the header itself: it may be a secret.
            raise ConfigurationError("--header", f"no. {number}", "give NAME=VALUE, like X-Scope-OrgID=team-1")
        headers[name.strip()] = value.strip()
    return headers


@contextmanager
def _repair_of(path: str, *, is_wanted: bool) -> Generator[Repair | None, None, None]:
    """Give what sends missing spans, when it is wanted, and have it finish."""
    if not is_wanted:
        yield None
        return
    check_exports("send what is missing")
    sink = OtlpSink(Endpoint.from_environment())
    repair = Repair(path, sink)
    try:
        yield repair
        repair.finish()
    finally:
        repair.close()
        sink.close()


def _show(found: Comparison, output: Output, *, is_json: bool) -> None:
    trace = found.trace
    if is_json:
        output.data(
            _json(
                {
                    "pattern_run_id": trace.run_id,
                    "trace_id": trace.trace_id,
                    "state": found.state,
                    "missing": [span.span_id for span in found.missing],
                    "different": [difference._asdict() for difference in found.different],
                    "reason": found.obstacle or None,
                }
            )
        )
        return
    words: list[str] = []
    if found.obstacle:
        words.append(found.obstacle)
    if found.missing:
        words.append(f"{len(found.missing)} of {counted(len(list(trace.spans)), 'span')} not there")
    words += [_words_of(difference) for difference in found.different[:_SHOWN_DIFFERENCES]]
    if len(found.different) > _SHOWN_DIFFERENCES:
        words.append(f"{len(found.different) - _SHOWN_DIFFERENCES} more")
    output.line(Styled(trace.run_id, "bold"), f"  {found.state}: ", "; ".join(words))
    output.flush()


def _words_of(difference: Difference) -> str:
    there, here = (
        "missing" if value is None else plain(value)[:_LONGEST_VALUE]
        for value in (difference.found, difference.expected)
    )
    return f"{difference.field} of span {difference.span_id} is {there}, in the journal {here}"


def _tell(result: Reconciliation, repair: Repair | None, name: str, output: Output, *, is_json: bool) -> int:
    bad = {state: number for state, number in result.states.items() if number and state != "whole"}
    projected = result.replay.owed
    failed = sum(bad.values()) + projected
    if repair is not None:
        repaired = result.states["missing"] + result.states["incomplete"]
        undelivered = repair.report.owed + repair.report.parked.total()
        failed = failed if undelivered else failed - repaired
    if is_json:
        summary: dict[str, Any] = {"compared": result.compared, **result.states, "cannot_be_projected": projected}
        if repair is not None:
            summary["sent_spans"] = repair.report.spans
        output.data(_json({"summary": summary}))
    parts = [f"{name}: {counted(result.compared, 'run')} compared", f"{result.states['whole']} whole"]
    parts += [f"{number} {state}" for state, number in bad.items()]
    output.say(", ".join(parts))
    for message in result.replay.messages:
        output.say(message)
    if result.states["different"]:
        output.say(
            "what is different stays so: a changed copy of a span gives unstable answers. The backend may keep another "
            "journal's run, or one that another version has sent"
        )
    if repair is not None:
        _tell_repair(repair, output)
    elif result.states["missing"] + result.states["incomplete"]:
        output.say("--fix sends what is missing")
    return 1 if failed else 0


def _tell_repair(repair: Repair, output: Output) -> None:
    report = repair.report
    output.say(f"{counted(report.spans, 'missing span')} of {counted(report.sent, 'run')} sent and acknowledged")
    for words, number in report.parked.items():
        output.say(f"{counted(number, 'span')} parked: {words}")
    for message in report.messages:
        output.say(f"not delivered: {message or 'no reason was given'}")
    if report.owed:
        output.say("the same command sends what is still missing, once the receiver takes it")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()

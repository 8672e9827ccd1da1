"""`otel-patterns replay`: send what a trace backend has not acknowledged."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from ..clock import Clock
from ..tracing.endpoint import Endpoint
from ..tracing.replay import ReplayReport, Selection, replay
from ..tracing.sink import OtlpSink
from ..tracing.trace import EncodedRun
from .journals import check_exports, journal_of, tell_skipped
from .lookup import find_run_id
from .output import Output, Styled
from .text import counted

if TYPE_CHECKING:
    from .progress import Progress

_SHOWN_REASONS: Final = 3


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Send the selected runs; 0 when nothing is owed any more.

    Raises:
        ConfigurationError: The environment names no usable receiver, or turns traces off.
        UnknownRunError: The run that was asked for is not there.
    """
    check_exports("replay")
    endpoint = Endpoint.from_environment()
    path, _ = journal_of(arguments, output)
    run_id = None if arguments.run is None else find_run_id(path, arguments.run)
    selection = Selection(
        run_id=run_id,
        job_id=arguments.job,
        since=arguments.since,
        unsampled=arguments.unsampled,
        parked=arguments.parked,
    )
    verb = "would send" if arguments.dry_run else "sending"

    def show(run: EncodedRun, spans: int) -> None:
        name = run.root.name if run.root is not None else "still going on"
        output.line(Styled(run.run_id, "bold"), f"  {verb} {counted(spans, 'span')}  {name}")
        output.flush()

    sink = OtlpSink(endpoint)
    # Somebody who looks on wants to know how far it is; whoever reads a pipe wants to know what.
    bar = _bar_of(path, output, clock) if output.can_redraw and not arguments.dry_run else None
    try:
        report = replay(
            path,
            sink,
            selection,
            force=arguments.force,
            dry_run=arguments.dry_run,
            on_run=None if bar is not None else show,
            on_progress=None if bar is None else bar.show,
        )
    finally:
        if bar is not None:
            bar.clear()
        sink.close()
    tell_skipped(report.read, output)
    _tell(report, endpoint.destination, output, is_dry_run=arguments.dry_run)
    return 1 if report.owed else 0


def _bar_of(path: str, output: Output, clock: Clock) -> Progress:
    from .progress import Progress  # noqa: PLC0415  # loads pydantic

    return Progress(path, output, clock)


def _tell(report: ReplayReport, destination: str, output: Output, *, is_dry_run: bool) -> None:
    sent = f"{counted(report.sent, 'run')} to send" if is_dry_run else f"{counted(report.sent, 'run')} delivered"
    parts = [f"{destination}: {sent}" + ("" if is_dry_run else f" ({counted(report.spans, 'span')})")]
    for number, what in (
        (report.delivered, "delivered before"),
        (report.unfinished, "of these still going on"),
        (report.unsampled, "not sampled (--unsampled sends them)"),
        (report.native, "exported by their own program or imported"),
        (report.owed, "owed"),
    ):
        if number:
            parts.append(f"{number} {what}")
    output.say(", ".join(parts))
    if report.parked:
        words = [f"{words} ({number})" for words, number in report.parked.most_common(_SHOWN_REASONS)]
        more = ["…"] if len(report.parked) > _SHOWN_REASONS else []
        output.say(
            f"{counted(report.parked.total(), 'span')} parked: {'; '.join(words + more)}. The receiver has seen them "
            "and does not want them, so they are not owed; --parked sends them again"
        )
    for warning in report.warnings:
        output.say(f"warning of the receiver: {warning}")
    if not report.owed:
        return
    for message in report.messages:
        output.say(f"not delivered: {destination}: {message or 'no reason was given'}")
    output.say(
        "what is owed stays owed: see that a collector, Jaeger or Tempo listens there for OTLP, or set "
        "OTEL_EXPORTER_OTLP_ENDPOINT to where one does, and replay again"
    )

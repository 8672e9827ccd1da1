"""`otel-patterns ship`: follow the journal and deliver its runs."""

from __future__ import annotations

import argparse
import signal
from types import FrameType
from typing import Final

from ..clock import Clock
from ..finalize import SILENT_SECONDS
from ..metrics import observe_shipper
from ..ship import Shipper
from ..tracing.endpoint import Endpoint
from ..tracing.meters import meter_provider_of_environment
from ..tracing.sink import OtlpSink
from .journals import check_exports, journal_of
from .output import Output
from .text import counted

_METRICS_SECONDS: Final = 2


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Deliver until a signal comes; 0 when nothing is owed of what was read.

    Raises:
        BusyError: Another process delivers to the same destination.
        ConfigurationError: The environment names no usable receiver, turns traces off, or names a metrics exporter
            other than `otlp`.
        JournalError: The journal or the delivery record cannot be read.
    """
    check_exports("ship")
    endpoint = Endpoint.from_environment()
    path, _ = journal_of(arguments, output)
    stopped: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.append(number)

    sink = OtlpSink(endpoint)
    silent_seconds = SILENT_SECONDS if arguments.silent is None else arguments.silent
    shipper = Shipper(path, sink, clock=clock, silent_seconds=silent_seconds)
    meters = meter_provider_of_environment("otel-patterns-ship")
    if meters is not None:
        observe_shipper(shipper, meter_provider=meters)
    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    output.say(f"{path}: delivering to {endpoint.destination}")
    try:
        is_settled = shipper.run(lambda: bool(stopped), once=arguments.once)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        sink.close()
        if meters is not None:
            # What is collected last shows how it ended.
            meters.shutdown(_METRICS_SECONDS * 1000)
    counts = shipper.counts
    parts = [f"{counted(counts['delivered'], 'run')} delivered ({counted(shipper.spans['acknowledged'], 'span')})"]
    parts += [f"{counts[what]} {what}" for what in ("parked", "unsampled", "native", "abandoned") if counts[what]]
    if not is_settled:
        parts.append("some are owed")
    output.say(f"{endpoint.destination}: {', '.join(parts)}")
    if shipper.refusal:
        output.say(f"its last answer: {shipper.refusal}")
    return 0 if is_settled or stopped else 1

"""A backlog of runs, delivered to a real collector or Jaeger: `ship --once` against the SDK with its stock exporter.

Subject: the whole process, which reads the journal, projects, encodes, sends and keeps its record. Baseline: a process
that has the same spans ready in memory, makes them with the SDK and delivers them through `BatchSpanProcessor` and the
stock OTLP/HTTP exporter, flushing before the queue is full, so that nothing is dropped. Both count from their first
span or line to the last answer.

`python -m benchmarks.backlog [runs] [collector|jaeger]` prints the ratios. It needs the programs of `make backends`.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from .journals import write_journal
from .rounds import ROOT

_EVENTS_A_RUN: Final = 7
_ROUNDS: Final = 3
_QUEUE: Final = 20_000


def _spans_of(journal: Path) -> list[Any]:
    from otel_patterns.tracing.replay import Selection, traces_of  # noqa: PLC0415  # not in the baseline's process

    return [
        [
            (
                span.name,
                int(span.kind),
                span.start_unix_nano,
                span.end_unix_nano,
                dict(span.attributes),
                [(event.name, event.time_unix_nano, dict(event.attributes)) for event in span.events],
            )
            for span in trace.spans
        ]
        for trace in traces_of(journal, Selection())
        if trace.root is not None
    ]


def _deliver_with_sdk(data: Path) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

    runs = pickle.loads(data.read_bytes())
    kinds = {1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT}
    provider = TracerProvider(shutdown_on_exit=False)
    processor = BatchSpanProcessor(OTLPSpanExporter(), max_queue_size=_QUEUE)
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("benchmark")
    begin, cpu = time.perf_counter(), time.process_time()
    made = 0
    for spans in runs:
        context = None
        for name, kind, start, end, attributes, events in spans:
            span = tracer.start_span(name, context, kinds[kind], attributes, start_time=start)
            context = context or set_span_in_context(span)
            for event, at, details in events:
                span.add_event(event, details, at)
            span.end(end)
            made += 1
        if made >= _QUEUE // 2:
            made = 0
            assert processor.force_flush(60_000)
    assert processor.force_flush(60_000)
    print(json.dumps([time.perf_counter() - begin, time.process_time() - cpu]))
    provider.shutdown()


def _deliver_with_ship(journal: Path) -> None:
    from otel_patterns.clock import SYSTEM_CLOCK  # noqa: PLC0415
    from otel_patterns.ship import Shipper  # noqa: PLC0415
    from otel_patterns.tracing.endpoint import Endpoint  # noqa: PLC0415
    from otel_patterns.tracing.sink import OtlpSink  # noqa: PLC0415

    sink = OtlpSink(Endpoint.from_environment())
    begin, cpu = time.perf_counter(), time.process_time()
    shipper = Shipper(journal, sink, clock=SYSTEM_CLOCK, silent_seconds=1e12)
    shipper.run(lambda: False, once=True)
    print(
        json.dumps(
            [
                time.perf_counter() - begin,
                time.process_time() - cpu,
                shipper.counts["delivered"],
                _peak_megabytes(),
            ]
        )
    )
    sink.close()


def _peak_megabytes() -> float:
    # Not ru_maxrss: that begins with what the parent had.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _measured(role: str, path: Path, endpoint: str) -> list[float]:
    variables = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.backlog", role, str(path)]
    return json.loads(subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)


def measure(runs: int, kind: str) -> None:
    """Print what a backlog of so many runs takes both ways."""
    from tests.backends.servers import CollectorServer, JaegerServer  # noqa: PLC0415  # not in the measured processes

    wall: list[float] = []
    cpu: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder) / "spans.pickle"
        source = Path(folder) / "journal.jsonl"
        write_journal(source, runs * _EVENTS_A_RUN)
        data.write_bytes(pickle.dumps(_spans_of(source)))
        for number in range(_ROUNDS):
            directory = Path(folder) / str(number)
            directory.mkdir()
            server = (CollectorServer if kind == "collector" else JaegerServer)(directory)
            with server:
                journal = directory / "pattern_events.jsonl"
                journal.write_bytes(source.read_bytes())
                order = ("ship", "sdk") if number % 2 else ("sdk", "ship")
                times = {
                    role: _measured(role, journal if role == "ship" else data, server.otlp_http_endpoint)
                    for role in order
                }
            ours, sdk = times["ship"], times["sdk"]
            wall.append(sdk[0] / ours[0])
            cpu.append(ours[1] / sdk[1])
            print(
                f"ship {ours[0]:.2f} s, {ours[1]:.2f} s CPU, {ours[3]:.0f} MB; SDK {sdk[0]:.2f} s, {sdk[1]:.2f} s CPU"
            )
        stack.close()
    print(
        f"{runs} runs to a real {kind}: {statistics.median(wall):.1f} x faster, {statistics.median(cpu):.2f} of the CPU"
    )


def main() -> None:
    """Measure, or be one of the measured processes."""
    if sys.argv[1:2] == ["sdk"]:
        _deliver_with_sdk(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["ship"]:
        _deliver_with_ship(Path(sys.argv[2]))
    else:
        measure(int(sys.argv[1]) if sys.argv[1:] else 20_000, sys.argv[2] if sys.argv[2:] else "collector")


if __name__ == "__main__":
    main()

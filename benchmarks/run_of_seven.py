"""A run of seven events, from the caller to OTLP bytes, against the OpenTelemetry SDK alone.

Subject: seven `emit_pattern_event` into a journal on disk, the run read back from it as the delivery thread does,
projected (root with seven span events, four stages) and encoded as it is sent. Baseline: one span with the same seven
events of five attributes each, through a batch processor, encoded by the stock OTLP encoder. Nothing is sent in either.

`python -m benchmarks.run_of_seven` prints the ratios and the parts.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from otel_patterns import PatternEventEmitter, configure, emit_pattern_event
from otel_patterns.journal.cursor import Cursor, segment_of_file
from otel_patterns.journal.tail import RunTail
from otel_patterns.model import names
from otel_patterns.tracing.otlp import encode_run
from otel_patterns.tracing.parcels import pack

RUNS_A_ROUND: Final = 50
_JOB_ID: Final = "JOB-01M82ABGTGPVQ866JRR23TA2YZ"
_PATTERN_ID: Final = "PAT-SEMGREP-001"
EVENTS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    (
        names.SELECTION_STARTED,
        names.IN_PROGRESS,
        {
            "operation_kind": "semgrep_scan",
            "candidate_patterns": ["PAT-SEMGREP-001", "PAT-SEMGREP-002"],
            "context": {"language": "python", "files": 212},
        },
    ),
    (
        names.SELECTION_RESOLVED,
        names.SUCCESS,
        {
            "operation_kind": "semgrep_scan",
            "pattern_id": _PATTERN_ID,
            "selection_method": "auto",
            "inputs_preview": {"target": "src", "ruleset": "p/ci", "severity": "warning", "jobs": 2},
        },
    ),
    (
        names.TEMPLATE_EXPANDED,
        names.SUCCESS,
        {
            "template_version": "1.2.0",
            "variables_resolved": 7,
            "generated_artifacts": ["state/scan.sh"],
            "command_preview": "semgrep scan --config p/ci --json src",
        },
    ),
    (
        names.VALIDATION_STARTED,
        names.IN_PROGRESS,
        {"validation_type": "preflight", "checks": ["target_exists", "tool_installed"]},
    ),
    (
        names.VALIDATION_COMPLETED,
        names.SUCCESS,
        {"validation_type": "preflight", "checks_passed": 2, "checks_failed": 0, "warnings": ["no baseline"]},
    ),
    (
        names.EXECUTION_STARTED,
        names.IN_PROGRESS,
        {
            "executor": "subprocess",
            "command": "semgrep scan --config p/ci --json src",
            "working_dir": "/srv/engine",
            "timeout_seconds": 300,
            "tool_name": "semgrep",
            "tool_version": "1.100.0",
        },
    ),
    (
        names.EXECUTION_COMPLETED,
        names.SUCCESS,
        {
            "exit_code": 0,
            "duration_seconds": 12.4,
            "result_summary": {"finding_count": 12, "severity_breakdown": {"high": 2, "low": 10}},
            "artifacts": ["state/report.json"],
            "stdout_lines": 42,
            "stderr_lines": 0,
        },
    ),
)
_SPAN_ATTRIBUTES: Final = {
    "pattern.id": _PATTERN_ID,
    "pattern.job.id": _JOB_ID,
    "pattern.operation_kind": "semgrep_scan",
    "pattern.version": "1.2.0",
    "pattern.status": "success",
    "pattern.output.exit_code": 0,
    "pattern.output.duration_seconds": 12.4,
    "pattern.output.finding_count": 12,
}
_EVENT_ATTRIBUTES: Final = {
    "pattern.job.id": _JOB_ID,
    "pattern.id": _PATTERN_ID,
    "pattern.event.status": "success",
    "pattern.detail.exit_code": 0,
    "pattern.detail.tool_name": "semgrep",
}


class Round(NamedTuple):
    """What one run took in one round, in microseconds; `sdk_caller` and `sdk_rest` are the baseline."""

    emit: float
    read: float
    encode: float
    sdk_caller: float
    sdk_rest: float

    @property
    def whole(self) -> float:
        """Ours from the first emit to the bytes, as a multiple of the SDK's."""
        return (self.emit + self.read + self.encode) / (self.sdk_caller + self.sdk_rest)

    @property
    def caller(self) -> float:
        """What the engine's thread waits for, as a multiple of the SDK's."""
        return self.emit / self.sdk_caller


class _Bytes(SpanExporter):
    """Encodes as the stock exporter does, and drops the bytes."""

    def __init__(self) -> None:
        self.size = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.size = len(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


class _Subject:
    """Our own way, from the caller to bytes."""

    def __init__(self, emitter: PatternEventEmitter) -> None:
        self._emitter = emitter
        self._path = os.fspath(emitter.global_log)
        self._run("PRUN-FIRST")
        with open(self._path, "rb") as file:
            self._segment = segment_of_file(file)
        self._tail = RunTail(self._path, clock=emitter.clock)

    def _run(self, run_id: str) -> None:
        for event_type, status, details in EVENTS:
            emit_pattern_event(event_type, _JOB_ID, run_id, _PATTERN_ID, status, details, emitter=self._emitter)

    def times(self) -> tuple[float, float, float]:
        """Return the microseconds of emitting a run, of reading it back, and of projecting and encoding it."""
        clock = self._emitter.clock
        runs: list[tuple[str, Cursor, Cursor]] = []
        emitting = 0
        for _ in range(RUNS_A_ROUND):
            start = self._end()
            begin = perf_counter_ns()
            run_id = f"PRUN-{clock.new_ulid()}"
            self._run(run_id)
            emitting += perf_counter_ns() - begin
            runs.append((run_id, start, self._end()))
        # What ends within a moment is read together, as in the delivery thread.
        begin = perf_counter_ns()
        self._tail.look_ahead((run_id, start, end, True) for run_id, start, end in runs)
        reading = perf_counter_ns() - begin
        encoding = 0
        for run_id, start, end in runs:
            begin = perf_counter_ns()
            events = self._tail.events(run_id, start, end, made_here=clock.made(run_id.removeprefix("PRUN-")))
            self._tail.forget(run_id)
            read = perf_counter_ns()
            run = encode_run(events)
            assert run is not None
            parcel = pack(run, run.spans)
            encoding += perf_counter_ns() - read
            reading += read - begin
            assert len(parcel.body) > 4000
        return (_each(emitting), _each(reading), _each(encoding))

    def _end(self) -> Cursor:
        return Cursor(self._segment, os.stat(self._path).st_size)


class _Baseline:
    """The SDK alone."""

    def __init__(self) -> None:
        self._exporter = _Bytes()
        # No export of its own accord: what a round has made is exported when the round says so.
        self._processor = BatchSpanProcessor(
            self._exporter, max_queue_size=2 * RUNS_A_ROUND, max_export_batch_size=2 * RUNS_A_ROUND
        )
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("benchmark")

    def times(self) -> tuple[float, float]:
        """Return the microseconds of making a span with seven events, and of exporting it."""
        begin = perf_counter_ns()
        for _ in range(RUNS_A_ROUND):
            span = self._tracer.start_span(
                f"semgrep_scan {_PATTERN_ID}", kind=SpanKind.SERVER, attributes=_SPAN_ATTRIBUTES
            )
            for event_type, _, _ in EVENTS:
                span.add_event(event_type, _EVENT_ATTRIBUTES)
            span.end()
        made = perf_counter_ns()
        self._processor.force_flush()
        exported = perf_counter_ns()
        assert self._exporter.size > 1000 * RUNS_A_ROUND
        self._exporter.size = 0
        return _each(made - begin), _each(exported - made)

    def close(self) -> None:
        """Stop the processor's thread."""
        self._provider.shutdown()


def _each(nanoseconds: int) -> float:
    return nanoseconds / RUNS_A_ROUND / 1000


@contextmanager
def _parties() -> Generator[tuple[_Subject, _Baseline]]:
    # So that the resource of a program that exports is recorded, although nothing is sent here.
    os.environ.setdefault("OTEL_SERVICE_NAME", "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        baseline = _Baseline()
        try:
            yield (
                _Subject(
                    configure(journal=os.path.join(folder, "pattern_events.jsonl"), export="off", durability="os")
                ),
                baseline,
            )
        finally:
            baseline.close()


def measure(n: int) -> list[Round]:
    """Return `n` rounds, each of 50 runs by us and 50 by the SDK, after one that is not counted."""
    found: list[Round] = []
    with _parties() as (subject, baseline):
        for number in range(n + 1):
            gc.collect()
            # Who goes first changes from round to round.
            if number % 2:
                sdk = baseline.times()
                ours = subject.times()
            else:
                ours = subject.times()
                sdk = baseline.times()
            found.append(Round(*ours, *sdk))
    return found[1:]


def rounds(n: int) -> list[float]:
    """Return the ratio of each of `n` rounds, ours to the SDK's, from the caller to the bytes."""
    return [item.whole for item in measure(n)]


def caller_rounds(n: int) -> list[float]:
    """Return the ratio of each of `n` rounds, seven emits to the making of the SDK's span."""
    return [item.caller for item in measure(n)]


def main() -> None:
    """Print the medians."""
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    whole, caller = (statistics.median(getattr(item, name) for item in found) for name in ("whole", "caller"))
    print(f"whole   {whole:.2f} x the SDK alone")
    print(f"caller  {caller:.2f} x the SDK alone")
    for name in Round._fields:
        print(f"{name:<10} {statistics.median(getattr(item, name) for item in found):7.1f} us")


if __name__ == "__main__":
    main()

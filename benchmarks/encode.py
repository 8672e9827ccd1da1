"""Encoding the trace of a run of seven events as OTLP: our own encoder against the protobuf library's objects.

`python -m benchmarks.encode` prints the ratio. Each run has ids and times of its own, as in an engine.
"""

from __future__ import annotations

import gc
import statistics
import sys
from time import perf_counter_ns
from typing import Final, NamedTuple

from otel_patterns.testing import FakeClock
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.trace import RunTrace, Span
from tests.encoding import encode_by_library
from tests.streams import Stream, semgrep_run

RUNS_A_ROUND: Final = 50


class Round(NamedTuple):
    """Microseconds for a run in one round."""

    ours: float
    library: float


def _traces(first: int, clock: FakeClock) -> list[tuple[RunTrace, list[Span]]]:
    traces: list[tuple[RunTrace, list[Span]]] = []
    for number in range(first, first + RUNS_A_ROUND):
        trace = project(semgrep_run(Stream(f"PRUN-{number:026d}", job_id=f"JOB-{number:026d}", clock=clock)))
        assert trace is not None
        traces.append((trace, list(trace.spans)))
    return traces


def measure(n: int) -> list[Round]:
    """Return `n` rounds of 50 runs, after one that is not counted."""
    clock = FakeClock()
    found: list[Round] = []
    for number in range(n + 1):
        traces = _traces(1 + number * RUNS_A_ROUND, clock)
        gc.collect()
        begin = perf_counter_ns()
        ours = [encode(trace.resource, spans) for trace, spans in traces]
        between = perf_counter_ns()
        library = [encode_by_library(trace.resource, spans) for trace, spans in traces]
        end = perf_counter_ns()
        assert ours == library
        found.append(Round((between - begin) / RUNS_A_ROUND / 1000, (end - between) / RUNS_A_ROUND / 1000))
    return found[1:]


def rounds(n: int) -> list[float]:
    """Return the ratio of each of `n` rounds, ours to the library's."""
    return [item.ours / item.library for item in measure(n)]


def main() -> None:
    """Print the medians."""
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
    print(f"encode   {statistics.median(item.ours / item.library for item in found):.2f} x the protobuf library")
    for name in Round._fields:
        print(f"{name:<8} {statistics.median(getattr(item, name) for item in found):7.1f} us")


if __name__ == "__main__":
    main()

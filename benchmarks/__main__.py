"""Run every benchmark and print one table. It judges nothing: a busy machine is no failure."""

from __future__ import annotations

import argparse
import platform
import sys
from functools import partial

from . import appending, emitting, encode, folding, reading, run_of_seven, starting
from .rounds import Benchmark, table

_LONG_ROUNDS = 7
_ROUNDS = 25


def benchmarks(scale: int) -> list[tuple[Benchmark, int]]:
    """Return every benchmark and its number of rounds; journals are smaller by `scale`."""
    short = (
        Benchmark(
            "`emit` one event: validated, every step of the journal protocol",
            "a naive writer: json.dumps, two files opened and closed, no validation, no lock",
            0.25,
            emitting.rounds,
        ),
        Benchmark(
            "append a line at level `os`",
            "flock, fstat, read of the last byte, write, done bare",
            1.5,
            appending.kernel_rounds,
        ),
        Benchmark(
            "append a run's end at level `group`: waits for the disk",
            "the same bare calls and fdatasync",
            None,
            appending.waiting_rounds,
        ),
        Benchmark(
            "a run of 7 events: journaled, read back, projected, OTLP-encoded",
            "SDK alone: one span with 7 events of 5 attributes, batch processor, stock encode",
            1,
            run_of_seven.rounds,
        ),
        Benchmark("of it the caller's thread: 7 emits", "making that span", None, run_of_seven.caller_rounds),
        Benchmark("OTLP encoding of a run", "the protobuf library's objects", None, encode.rounds),
        Benchmark("`events --limit 20` on 25,000 events", '`python -c "import pydantic"`', 0.8, reading.last_twenty),
        Benchmark("`import otel_patterns`", "`python -c pass`", 1.5, starting.importing),
        Benchmark("`otel-patterns exec`, less its command", '`python -c "import pydantic"`', 1.5, starting.executing),
    )
    long = (
        Benchmark(
            "8 processes append lines at level `group`",
            "8 processes append them at level `os`",
            1.3,
            partial(appending.contended_rounds, lines=20_000 // scale),
        ),
        Benchmark(
            "fold a journal of 50,000 events",
            "json.loads and a naive fold of dicts",
            0.5,
            partial(folding.rounds, events=50_000 // scale),
        ),
        Benchmark(
            "`events --json` of 200,000 lines",
            "a line loop with json.loads and print",
            0.5,
            partial(reading.whole, events=200_000 // scale),
        ),
        Benchmark(
            "the same for one job",
            "the same loop with a condition",
            0.25,
            partial(reading.one_job, events=200_000 // scale),
        ),
    )
    return [*((benchmark, _ROUNDS) for benchmark in short), *((benchmark, _LONG_ROUNDS) for benchmark in long)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two rounds each on small journals, to see that all run")
    arguments = parser.parse_args()
    rows: list[tuple[Benchmark, list[float]]] = []
    for benchmark, rounds in benchmarks(50 if arguments.quick else 1):
        print(f"{benchmark.what} …", file=sys.stderr)
        rows.append((benchmark, benchmark.rounds(2 if arguments.quick else rounds)))
    print(table(rows))
    print(f"\nPython {platform.python_version()}, {platform.machine()}, {platform.system()} {platform.release()}")


if __name__ == "__main__":
    main()

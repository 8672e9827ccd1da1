"""Interleaved rounds, and the table of their medians."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Benchmark(NamedTuple):
    """One row of the table: `rounds(n)` returns the ratio of each of n rounds."""

    what: str
    against: str
    goal: float | None
    rounds: Callable[[int], list[float]]


def interleave(subject: Callable[[], object], baseline: Callable[[], object], n: int) -> list[float]:
    """Return the ratio of the times of two functions in each of n rounds, after one that is not counted."""
    return interleave_timed(lambda: seconds_of(subject), lambda: seconds_of(baseline), n)


def interleave_timed(subject: Callable[[], float], baseline: Callable[[], float], n: int) -> list[float]:
    """Return the same of two functions that return how long they took themselves."""
    ratios: list[float] = []
    for number in range(n + 1):
        gc.collect()
        # Who goes first changes from round to round.
        order = (subject, baseline) if number % 2 else (baseline, subject)
        seconds = {function: function() for function in order}
        ratios.append(seconds[subject] / seconds[baseline])
    return ratios[1:]


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = perf_counter()
    function()
    return perf_counter() - begin


def python(*arguments: str, environment: Mapping[str, str] | None = None) -> Callable[[], object]:
    """Return a function that runs this Python in a process of its own, its output dropped."""
    # Without bytecode on disk each start would compile our modules, while the baseline's are ready.
    dropped = ("OTEL_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    variables = {**kept, "PYTHONPATH": str(ROOT), **(environment or {})}

    def run() -> None:
        with tempfile.TemporaryFile() as output:
            subprocess.run([sys.executable, *arguments], env=variables, stdout=output, check=True)

    return run


def table(rows: Iterable[tuple[Benchmark, Sequence[float]]]) -> str:
    """Return the benchmarks as Markdown: the median of their ratios, the middle half, and the goal."""
    lines = ["| what | against | ratio | middle half | goal |", "|---|---|---|---|---|"]
    for benchmark, ratios in rows:
        low, _, high = statistics.quantiles(ratios, n=4)
        goal = "" if benchmark.goal is None else f"≤ {benchmark.goal:g}"
        median = f"{statistics.median(ratios):.2f}"
        lines.append(f"| {benchmark.what} | {benchmark.against} | {median} | {low:.2f} to {high:.2f} | {goal} |")
    return "\n".join(lines)

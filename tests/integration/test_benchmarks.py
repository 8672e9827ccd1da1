"""The benchmarks run. What they find is for people to judge: a busy machine is no failure."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.pages import ROOT


def test_benchmarks_print_their_table() -> None:
    """One command prints a row for each benchmark, with a ratio and its goal."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert rows[0][0] == "| what"
    assert len(rows) >= 10
    assert all(float(row[2]) > 0 for row in rows[1:])

"""Encoding by hand: what it needs, and what it keeps."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

from otel_patterns.tracing.otlp import encode

ROOT = Path(__file__).parents[3]


def test_program_that_sends_runs_needs_no_protobuf(tmp_path: Path) -> None:
    """A run is encoded, and the answer of a receiver that took everything is read, without importing protobuf."""
    code = (
        "import sys; from tests.streams import semgrep_run;"
        "from otel_patterns.tracing import delivery, sink, parcels, otlp, answers;"
        "run = otlp.encode_run(semgrep_run()); parcels.pack(run, run.spans);"
        "headers = {'content-type': answers.CONTENT_TYPE};"
        "kinds = [answers.read_http_answer(200, headers, body).kind for body in (b'', b'\\x0a\\x00')];"
        "print(kinds, [name for name in sys.modules if name.startswith(('google.', 'opentelemetry.proto', 'grpc'))])"
    )
    environment = {"PATH": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stdout == "['acknowledged', 'acknowledged'] []\n"


def test_encode_of_ever_new_values_keeps_a_bounded_amount() -> None:
    """Values and keys that never come again do not fill the memory of an engine that runs for months."""

    def encode_many(start: int) -> None:
        for number in range(start, start + 12_000):
            encode((("number", number), (f"key-{number}", f"value-{number}"), ("long", f"{number}" * 1000)), ())

    encode_many(0)
    tracemalloc.start()
    try:
        encode_many(12_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Full caches take less than 3 MB; the long values alone would be 22 MB in a cache of that many.
    assert peak < 6_000_000

"""For tests of code that emits pattern events: no files, no network, and the same times and ids every time.

`capture_runs` is a context manager for any test framework; for pytest there is the fixture `pattern_runs`, which
`pytest_plugins = ["otel_patterns.testing.pytest_plugin"]` in the top-level `conftest.py` brings in.
"""

from __future__ import annotations

from ..clock import SYSTEM_CLOCK
from ..tracing.trace import RunTrace, Span, SpanEvent
from .capture import capture_runs
from .captured import CapturedRuns, CaptureError
from .clock import START_UNIX_NANO, FakeClock

__all__ = [
    "START_UNIX_NANO",
    "SYSTEM_CLOCK",
    "CaptureError",
    "CapturedRuns",
    "FakeClock",
    "RunTrace",
    "Span",
    "SpanEvent",
    "capture_runs",
]

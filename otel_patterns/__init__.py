"""Pattern runs as a canonical JSONL journal and as OpenTelemetry traces.

Names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

# Not imported: `typing` alone would double the cost of importing this package. Type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import shutdown
    from .emit import PatternEventEmitter, configure, emit_pattern_event
    from .errors import (
        ConfigurationError,
        InvalidEventError,
        InvalidRunError,
        InvalidTraceError,
        JournalError,
        OtelPatternsError,
    )
    from .journal.receipt import Receipt
    from .metrics import observe_metrics
    from .model.events import PatternEvent
    from .model.fold import fold, fold_run
    from .model.runs import PatternRun
    from .processor import JsonlSpanProcessor
    from .runner import current_run, pattern_run
    from .store.aggregator import PatternRunAggregator
    from .store.job_state_store import JobStateStore
    from .tracing.reverse import IncompleteEvent, TraceEvents, events_from_trace

__all__ = [
    "ConfigurationError",
    "IncompleteEvent",
    "InvalidEventError",
    "InvalidRunError",
    "InvalidTraceError",
    "JobStateStore",
    "JournalError",
    "JsonlSpanProcessor",
    "OtelPatternsError",
    "PatternEvent",
    "PatternEventEmitter",
    "PatternRun",
    "PatternRunAggregator",
    "Receipt",
    "TraceEvents",
    "configure",
    "current_run",
    "emit_pattern_event",
    "events_from_trace",
    "fold",
    "fold_run",
    "observe_metrics",
    "pattern_run",
    "shutdown",
]

_HOMES = {
    "ConfigurationError": "errors",
    "IncompleteEvent": "tracing.reverse",
    "InvalidEventError": "errors",
    "InvalidRunError": "errors",
    "InvalidTraceError": "errors",
    "JobStateStore": "store.job_state_store",
    "JournalError": "errors",
    "JsonlSpanProcessor": "processor",
    "OtelPatternsError": "errors",
    "PatternEvent": "model.events",
    "PatternEventEmitter": "emit",
    "PatternRun": "model.runs",
    "PatternRunAggregator": "store.aggregator",
    "Receipt": "journal.receipt",
    "TraceEvents": "tracing.reverse",
    "configure": "emit",
    "current_run": "runner",
    "emit_pattern_event": "emit",
    "events_from_trace": "tracing.reverse",
    "fold": "model.fold",
    "fold_run": "model.fold",
    "observe_metrics": "metrics",
    "pattern_run": "runner",
    "shutdown": "channel",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # reading metadata is slow

        return version("otel-patterns")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415  # see above

    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

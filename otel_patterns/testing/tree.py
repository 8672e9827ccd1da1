"""Spans as a tree of text, for people and for comparison."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ..cli.text import safe, safe_json
from ..tracing.trace import Attributes, RunTrace, Span, SpanKind

_INDENT: Final = "  "


def ordered_spans(traces: Iterable[RunTrace]) -> Iterator[tuple[int, Span]]:
    """Yield the spans of all traces with their depth: each before its children, siblings by their start."""
    spans = [span for trace in traces for span in trace.spans]
    known = {(span.trace_id, span.span_id) for span in spans}
    below: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        parent = (span.trace_id, span.parent_span_id)
        # The parent may be somebody else's span, or the root of a run that has not ended.
        below.setdefault(parent if parent in known else ("", ""), []).append(span)
    # A stack, because runs may be nested deeper than calls may be. A duplicate id must not come round twice.
    waiting = [(0, span) for span in reversed(_by_start(below.pop(("", ""), [])))]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        children = _by_start(below.pop((span.trace_id, span.span_id), []))
        waiting += [(depth + 1, child) for child in reversed(children)]


def _by_start(spans: list[Span]) -> list[Span]:
    # Stable: spans of one start stay in the order of the traces, stages in that of their ends.
    return sorted(spans, key=lambda span: span.start_unix_nano)


def render_tree(traces: Iterable[RunTrace], keys: Sequence[str]) -> str:
    """Return the spans as indented lines, with the attributes of those keys."""
    spans = list(ordered_spans(traces))
    begin = min((span.start_unix_nano for _, span in spans), default=0)
    lines: list[str] = []
    for depth, span in spans:
        indent = _INDENT * depth
        lines.append(indent + _span_line(span, begin))
        lines += [f"{indent}{_INDENT}{line}" for line in _attribute_lines(span.attributes, keys)]
        for event in span.events:
            lines.append(f"{indent}{_INDENT}· {safe(event.name)} +{_seconds(event.time_unix_nano - begin)}")
            lines += [f"{indent}{_INDENT * 2}{line}" for line in _attribute_lines(event.attributes, keys)]
    return "\n".join(lines)


def _span_line(span: Span, begin: int) -> str:
    parts = [safe(span.name)]
    if span.kind is not SpanKind.INTERNAL:
        parts.append(span.kind.name)
    parts += [f"+{_seconds(span.start_unix_nano - begin)}", _seconds(span.end_unix_nano - span.start_unix_nano)]
    if span.failed:
        parts.append(f"ERROR {safe(span.status_description)}".rstrip())
    return " ".join(parts)


def _attribute_lines(attributes: Attributes, keys: Sequence[str]) -> Iterator[str]:
    wanted = tuple(key for key in keys if key.endswith("."))
    for key, value in attributes:
        if key in keys or key.startswith(wanted):
            yield f"{safe(key)}={safe_json(json.dumps(value, ensure_ascii=False))}"


def _seconds(nanoseconds: int) -> str:
    """Return a length in seconds, exact to the nanosecond, without zeros at its end."""
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{'-' if nanoseconds < 0 else ''}{whole}{fraction}s"

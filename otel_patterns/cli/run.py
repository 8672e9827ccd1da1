"""`otel-patterns run`: one run, from its stages to the link to its trace."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..clock import Clock
from ..model import names
from ..model.fold import find_anomalies, fold_run, in_order
from ..model.times import parse_timestamp
from ..tracing.projection import project
from .journals import journal_of
from .links import links_to
from .lookup import find_run
from .moments import show_moment, show_seconds
from .output import Output, Styled
from .runs import duration_of, run_json
from .text import pad, plain, safe
from .waterfall import show_waterfall, waterfall_of

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from ..model.runs import PatternRun
    from ..tracing.trace import RunTrace

_INDENT: Final = "  "
_DEEP: Final = "      "
_LABEL_WIDTH: Final = len("operation") + 2
_DETAIL_LINES: Final = 8
_ERROR_LINES: Final = 40
_LONGEST_VALUE: Final = 400
_FOUND: Final = {"jaeger": "Jaeger", "grafana": "Grafana"}
# Where a run failed, the error's section shows them whole.
_IN_ERROR: Final = frozenset({"error_message", "stdout_preview", "stderr_preview"})


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Show one run.

    Raises:
        UnknownRunError: No run, or more than one, goes by the id.
    """
    path, settings = journal_of(arguments, output)
    events = find_run(path, arguments.run_id)
    ordered = in_order(events)
    run = fold_run(ordered)
    trace = project(events)
    # find_run returns no empty list, and project None only for one.
    assert trace is not None  # noqa: S101
    end = None if run.finished_at is None else parse_timestamp(run.finished_at)
    links = links_to(settings, trace.trace_id, ordered[0].time_unix_nano, end)
    if arguments.json:
        output.data(run_json({**run.to_dict(), "trace_id": trace.trace_id, "links": links}))
        return 0
    now = clock.now_unix_nano()
    _show_header(run, trace, links, output, now)
    waterfall = waterfall_of(ordered, now)
    if waterfall.bars:
        _show_title("Stages", output)
        show_waterfall(waterfall, output, _INDENT)
    _show_events(ordered, output, leave_out=_IN_ERROR if run.error else frozenset())
    _show_results(run, output)
    anomalies = find_anomalies(events)
    if anomalies:
        _show_title("Anomalies", output)
    for anomaly in anomalies:
        output.line(_INDENT, Styled(f"{anomaly.kind}: {anomaly.message} ({anomaly.event_id})", "yellow"))
    return 0


def _show_header(run: PatternRun, trace: RunTrace, links: Mapping[str, str], output: Output, now: int) -> None:
    output.line(
        output.status(run.status, f"{output.symbols.sign(run.status)} {run.status}"),
        "  ",
        Styled(run.pattern_run_id, "bold"),
    )
    duration = duration_of(run, now)
    total = run.metrics.get("total_ms")
    if total is not None and run.duration_seconds is not None and show_seconds(total / 1e3) != duration:
        duration += f" ({show_seconds(total / 1e3)} with what came before the execution)"
    note = ""
    if trace.native and not trace.sampled:
        note = "  (not sampled; its program has not exported it)"
    elif trace.native:
        note = "  (spans are exported by the program itself)"
    elif not trace.sampled:
        note = "  (not sampled; `replay --unsampled` sends it)"
    rows = {
        "pattern": run.pattern_id + (f" {run.pattern_version}" if run.pattern_version else ""),
        "operation": run.operation_kind,
        "job": run.job_id,
        "step": run.step_id or "",
        "started": show_moment(parse_timestamp(run.started_at)),
        "duration": duration,
        "trace": trace.trace_id + note,
        **{_FOUND[name]: url for name, url in links.items()},
    }
    for label, value in rows.items():
        if value:
            output.line(_INDENT, Styled(pad(label, _LABEL_WIDTH), "dim"), value)


def _show_events(ordered: Sequence[PatternEvent], output: Output, *, leave_out: frozenset[str]) -> None:
    _show_title("Events", output)
    start = ordered[0].time_unix_nano
    offsets = [f"+{show_seconds((event.time_unix_nano - start) / 1e9)}" for event in ordered]
    width = max(len(offset) for offset in offsets)
    for event, offset in zip(ordered, offsets, strict=True):
        shown = safe(event.event_type.removeprefix("pattern."))
        output.line(
            _INDENT,
            Styled(pad(offset, width, right=True), "dim"),
            "  ",
            output.status(event.status, f"{output.symbols.sign(event.status)} {shown}"),
            "  ",
            Styled(event.event_id, "dim"),
        )
        left_out = leave_out if event.is_terminal else frozenset[str]()
        details = {key: value for key, value in event.details.items() if key != names.OTEL and key not in left_out}
        _show_members(details, output, _DEEP)


def _show_results(run: PatternRun, output: Output) -> None:
    if run.artifacts:
        _show_title("Artifacts", output)
        for artifact in run.artifacts:
            output.line(_INDENT, artifact)
    if run.outputs:
        _show_title("Outputs", output)
        _show_members(run.outputs, output, _INDENT)
    if run.error:
        _show_title("Error", output)
        error = {key: value for key, value in run.error.items() if key not in ("stdout", "stderr")}
        _show_members(error, output, _INDENT, lines=_ERROR_LINES)
        for name in ("stderr", "stdout"):
            # Tools without a message of their own are reported by what they said last.
            if (text := run.error.get(name)) and text != run.error.get("message"):
                _show_members({name: text}, output, _INDENT, lines=_ERROR_LINES)


def _show_members(members: Mapping[str, Any], output: Output, indent: str, *, lines: int = _DETAIL_LINES) -> None:
    for name, value in members.items():
        label = Styled(f"{name}: ", "dim")
        if isinstance(value, str) and "\n" in value.strip("\n"):
            output.line(indent, label)
            output.block(value, indent + _INDENT, limit=lines)
        else:
            text = plain(value)
            output.line(indent, label, output.cut(safe(text.strip("\n")[: _LONGEST_VALUE * 2]), _LONGEST_VALUE))


def _show_title(title: str, output: Output) -> None:
    output.line()
    output.line(Styled(title, "bold"))

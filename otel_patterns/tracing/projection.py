"""`project(prefix) -> RunTrace`: the one place where a trace is made (design sections 2.2 and 5).

Live export, replay, and whatever else shows a trace call it, so they are equal by construction. It is a pure function
of the run's prefix: its distinct events in journal order up to and including the first terminal line.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from ..model import ids, names
from ..model.details import is_integer
from ..model.encoding import encode_json
from ..model.fold import ABANDONED, error_of, fold_run
from ..model.stages import Stage, pair_stages
from ..model.values import as_object, clean_text
from .recorded import Caller, Recorded, read_recorded, scalar_of, span_part
from .trace import Attributes, AttributeValue, RunTrace, Span, SpanEvent, SpanKind, SpanLink

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from ..model.runs import PatternRun

# Tempo cuts attribute strings at 2048 bytes; a cut JSON text cannot be read.
MAX_TEXT_BYTES: Final = 2000
MAX_EVENT_DETAILS: Final = 10
MAX_MEMBERS: Final = 50
_MAX_NESTING: Final = 4
_COMMAND_EXECUTORS: Final = frozenset({"subprocess"})
_TIMEOUTS: Final = frozenset({"timeout", "TimeoutError", "TimeoutExpired"})
_CANCELLATIONS: Final = frozenset({"cancelled", "signal", "CancelledError", "KeyboardInterrupt", "SystemExit"})
# What a shell answers when a command is missing or may not be executed.
_NOT_EXECUTED: Final = frozenset({126, 127})


def prefix_of(events: Iterable[PatternEvent]) -> list[PatternEvent]:
    """Return the distinct events of one run in journal order up to and including the first terminal one."""
    prefix: list[PatternEvent] = []
    seen: set[str] = set()
    for event in events:
        if event.event_id in seen:
            continue
        seen.add(event.event_id)
        prefix.append(event)
        if event.is_terminal:
            break
    return prefix


def project(events: Iterable[PatternEvent], *, closed_by: AbstractSet[str] | None = None) -> RunTrace | None:
    """Return the trace of one run from its events in journal order; None when there is no event.

    A run without a terminal event has a marker and the stages that have ended so far, but no root.

    Args:
        events: The run's events.
        closed_by: Make only the spans that these events made final; None makes all.
    """
    prefix = prefix_of(events)
    if not prefix:
        return None
    first = prefix[0]
    recorded = read_recorded(prefix)
    caller = recorded.caller if recorded.caller is not None and recorded.caller.join == "child" else None
    trace_id = caller.trace_id if caller else ids.trace_id(first.job_id, first.pattern_run_id)
    # Sorting is stable, so events of one time and rank keep their journal order.
    ordered = sorted(prefix, key=lambda event: (event.time_unix_nano, event.rank))
    common = _Common(first.pattern_run_id, trace_id, caller)
    ended = prefix[-1].is_terminal

    def is_wanted(closing: PatternEvent) -> bool:
        return closed_by is None or closing.event_id in closed_by

    return RunTrace(
        run_id=first.pattern_run_id,
        job_id=first.job_id,
        trace_id=trace_id,
        resource=recorded.resource,
        sampled=recorded.sampled,
        native=recorded.native,
        root=_root(common, prefix[-1], ordered, recorded) if ended and is_wanted(prefix[-1]) else None,
        stages=tuple(_stage(common, stage) for stage in pair_stages(prefix) if is_wanted(stage.closing)),
        marker=None if ended else _marker(common, first),
    )


class _Common:
    """What every span of a run shares."""

    def __init__(self, run_id: str, trace_id: str, caller: Caller | None) -> None:
        self.run_id = run_id
        self.trace_id = trace_id
        self.caller = caller
        self.trace_state = caller.trace_state if caller else ""
        self.root_id = ids.span_id(run_id, "root")

    def child(  # noqa: PLR0913  # the parts of a span
        self,
        name: str,
        span_id: str,
        start: int,
        end: int,
        attributes: Attributes,
        closing: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        events: tuple[SpanEvent, ...] = (),
        failed: bool = False,
        description: str = "",
    ) -> Span:
        return Span(
            name=name,
            trace_id=self.trace_id,
            span_id=span_id,
            parent_span_id=self.root_id,
            parent_is_remote=False,
            trace_state=self.trace_state,
            kind=kind,
            start_unix_nano=start,
            end_unix_nano=max(start, end),
            attributes=attributes,
            events=events,
            links=(),
            failed=failed,
            status_description=description if failed else "",
            closing_event_id=closing,
        )


def _root(common: _Common, terminal: PatternEvent, ordered: Sequence[PatternEvent], recorded: Recorded) -> Span:
    run = fold_run(ordered)
    error = error_of(terminal)
    start = ordered[0].time_unix_nano
    caller = recorded.caller
    links: tuple[SpanLink, ...] = ()
    attributes = _Attributes()
    attributes.add_run(run)
    attributes.add(names.ATTR_CICD_RESULT, result_of(terminal))
    if error is not None:
        attributes.add(names.ATTR_ERROR_TYPE, error.get("type"))
    if caller is not None and caller.join == "link":
        links = (SpanLink(caller.trace_id, caller.span_id, caller.trace_state),)
        attributes.add(names.ATTR_CALLER_TRACE_ID, caller.trace_id)
        attributes.add(names.ATTR_CALLER_SPAN_ID, caller.span_id)
    attributes.add(names.ATTR_EVENTS_EMITTED, len(ordered))
    span_events: list[SpanEvent] = []
    for index, event in enumerate(ordered):
        user_attributes, user_events = span_part(event, "run")
        attributes.extend(user_attributes)
        span_events.append(_span_event(event, index, run))
        span_events += user_events
        span_events += [item for item in span_part(event, "stage")[1] if item.name == names.EVENT_EXCEPTION]
    return Span(
        name=cut_text(f"{run.operation_kind} {run.pattern_id}"),
        trace_id=common.trace_id,
        span_id=common.root_id,
        parent_span_id=common.caller.span_id if common.caller else "",
        parent_is_remote=common.caller is not None and common.caller.is_remote,
        trace_state=common.trace_state,
        kind=SpanKind.INTERNAL if common.caller is not None and not common.caller.is_remote else SpanKind.SERVER,
        start_unix_nano=start,
        end_unix_nano=max(start, terminal.time_unix_nano),
        attributes=attributes.frozen(),
        events=tuple(span_events),
        links=links,
        failed=error is not None,
        status_description=cut_text((error or {}).get("message", "")),
        closing_event_id=terminal.event_id,
    )


def _stage(common: _Common, stage: Stage) -> Span:
    opening, closing = stage.opening, stage.closing
    error = error_of(closing) if closing.is_terminal else None
    result = result_of(closing)
    attributes = _Attributes()
    attributes.add_identity(closing)
    attributes.add(names.ATTR_STAGE, stage.name)
    attributes.add(names.ATTR_CICD_TASK_NAME, stage.name)
    attributes.add(names.ATTR_CICD_TASK_RUN_ID, opening.event_id)
    attributes.add(names.ATTR_CICD_TASK_RESULT, result)
    kind = SpanKind.INTERNAL
    if stage.name == names.EXECUTION and opening.details.get("executor") in _COMMAND_EXECUTORS:
        kind = SpanKind.CLIENT
        attributes.add(names.ATTR_EXECUTABLE_NAME, executable_name(opening.details.get("command")))
        attributes.add(names.ATTR_PID, _integer(opening.details.get("pid", closing.details.get("pid"))))
        attributes.add(names.ATTR_EXIT_CODE, _integer(closing.details.get("exit_code")))
    if error is not None:
        attributes.add(names.ATTR_ERROR_TYPE, error.get("type"))
    user_attributes, user_events = span_part(closing, "stage")
    attributes.extend(span_part(opening, "stage")[0])
    attributes.extend(user_attributes)
    return common.child(
        cut_text(f"{stage.name} {closing.pattern_id}"),
        ids.span_id(common.run_id, "stage", stage.name, opening.event_id),
        opening.time_unix_nano,
        closing.time_unix_nano,
        attributes.frozen(),
        closing.event_id,
        kind=kind,
        events=user_events,
        failed=error is not None,
        description=cut_text((error or {}).get("message", "")),
    )


def _marker(common: _Common, first: PatternEvent) -> Span:
    attributes = _Attributes()
    attributes.add_identity(first)
    time = first.time_unix_nano
    span_id = ids.span_id(common.run_id, "marker")
    return common.child(names.MARKER_SPAN_NAME, span_id, time, time, attributes.frozen(), first.event_id)


def _span_event(event: PatternEvent, index: int, run: PatternRun) -> SpanEvent:
    attributes = _Attributes()
    attributes.add(names.ATTR_EVENT_ID, event.event_id)
    attributes.add(names.ATTR_EVENT_INDEX, index)
    attributes.add(names.ATTR_EVENT_STATUS, event.status)
    attributes.add(names.ATTR_STAGE, event.stage)
    for key, value, of_run in (
        (names.ATTR_JOB_ID, event.job_id, run.job_id),
        (names.ATTR_PATTERN_ID, event.pattern_id, run.pattern_id),
        (names.ATTR_STEP_ID, event.step_id, run.step_id),
    ):
        if value != of_run:
            # null is written as an empty text, which no step id can be.
            attributes.add(key, value or "")
    details = {key: value for key, value in event.details.items() if key != names.OTEL}
    flat = 0
    for key, value in details.items():
        if flat < MAX_EVENT_DETAILS and key and (scalar := scalar_of(value)) is not None:
            attributes.add(names.ATTR_DETAIL + clean_text(key), scalar)
            flat += 1
    if details:
        text = encode_json(details)
        if len(text) <= MAX_TEXT_BYTES:
            attributes.add(names.ATTR_DETAILS, text.decode())
        else:
            attributes.add(names.ATTR_DETAILS_SHA256, hashlib.sha256(text).hexdigest())
            attributes.add(names.ATTR_DETAILS_BYTES, len(text))
            attributes.add(names.ATTR_DETAILS_TRUNCATED, value=True)
    return SpanEvent(cut_text(event.event_type), event.time_unix_nano, attributes.frozen())


class _Attributes:
    """Attributes in the order in which they were added; a key added again takes the new value."""

    def __init__(self) -> None:
        self._values: dict[str, AttributeValue] = {}

    def add(self, key: str, value: AttributeValue | None) -> None:
        if isinstance(value, str):
            value = cut_text(value)
        if value is not None:
            self._values[key] = value

    def extend(self, attributes: Attributes) -> None:
        self._values.update(attributes)

    def add_identity(self, event: PatternEvent) -> None:
        self.add(names.ATTR_RUN_ID, event.pattern_run_id)
        self.add(names.ATTR_PATTERN_ID, event.pattern_id)
        self.add(names.ATTR_JOB_ID, event.job_id)

    def add_run(self, run: PatternRun) -> None:
        self.add(names.ATTR_RUN_ID, run.pattern_run_id)
        self.add(names.ATTR_PATTERN_ID, run.pattern_id)
        self.add(names.ATTR_PATTERN_VERSION, run.pattern_version)
        self.add(names.ATTR_OPERATION_KIND, run.operation_kind)
        self.add(names.ATTR_JOB_ID, run.job_id)
        self.add(names.ATTR_STEP_ID, run.step_id)
        self.add(names.ATTR_STATUS, run.status)
        self.add(names.ATTR_DURATION_SECONDS, run.duration_seconds)
        if run.artifacts:
            self.add(names.ATTR_ARTIFACTS, tuple(cut_text(artifact) for artifact in run.artifacts[:MAX_MEMBERS]))
        for prefix, members in ((names.ATTR_INPUT, run.inputs), (names.ATTR_OUTPUT, run.outputs)):
            for number, (key, value) in enumerate(_flatten(members)):
                if number == MAX_MEMBERS:
                    break
                self.add(prefix + key, value)
        self.add(names.ATTR_CICD_PIPELINE_NAME, run.pattern_id)
        self.add(names.ATTR_CICD_RUN_ID, run.pattern_run_id)

    def frozen(self) -> Attributes:
        return tuple(self._values.items())


def _flatten(members: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the scalars of an object, those of objects inside it under dotted keys; arrays stay in the event."""
    for key, value in members.items():
        if not key:
            continue
        name = prefix + clean_text(key)
        if (inner := as_object(value)) is not None:
            if depth < _MAX_NESTING:
                yield from _flatten(inner, f"{name}.", depth + 1)
        elif (scalar := scalar_of(value)) is not None:
            yield name, scalar


def cut_text(text: str) -> str:
    """Return text that UTF-8 can hold in at most 2000 bytes; what was cut off is shown as `…`."""
    text = clean_text(text)
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return text
    encoded = text.encode("utf-8")
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    return encoded[: MAX_TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"


def executable_name(command: object) -> str | None:
    """Return the program's file name of a command line, skipping `NAME=value` before it; None when there is none."""
    if not isinstance(command, str):
        return None
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for word in words:
        name, equals, _ = word.partition("=")
        if not (equals and name.isidentifier()):
            return word.rstrip("/").rpartition("/")[2] or None
    return None


def _integer(value: object) -> int | None:
    if not is_integer(value):
        return None
    scalar = scalar_of(int(value))
    return scalar if isinstance(scalar, int) else None


def result_of(closing: PatternEvent) -> str:
    """Return `cicd.pipeline.result` of an event that ends a run or a stage (semantic conventions, CI/CD).

    `failure` is the tool's or a check's verdict, `error` means that it could not be had.
    """
    if closing.event_type == names.SELECTION_FAILED:
        return names.RESULT_ERROR
    if closing.event_type == names.VALIDATION_FAILED:
        return names.RESULT_FAILURE
    if closing.event_type == names.EXECUTION_FAILED:
        return _failure_of(closing.details)
    if closing.event_type == names.EXECUTION_COMPLETED and closing.status == names.FAILED:
        return names.RESULT_FAILURE
    return names.RESULT_SKIP if closing.status == names.SKIPPED else names.RESULT_SUCCESS


def _failure_of(details: Mapping[str, Any]) -> str:
    error_type = details.get("error_type")
    exit_code = _integer(details.get("exit_code"))
    if error_type == ABANDONED:
        return names.RESULT_ERROR
    if isinstance(error_type, str) and error_type in _TIMEOUTS:
        return names.RESULT_TIMEOUT
    if isinstance(error_type, str) and error_type in _CANCELLATIONS:
        return names.RESULT_CANCELLATION
    if exit_code is None or exit_code in _NOT_EXECUTED:
        return names.RESULT_ERROR
    if exit_code < 0:
        # subprocess: killed by that signal.
        return names.RESULT_CANCELLATION
    return names.RESULT_FAILURE if exit_code else names.RESULT_ERROR

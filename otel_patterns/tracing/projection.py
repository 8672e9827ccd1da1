"""`project(prefix) -> RunTrace`: the one place where a trace is made (design sections 2.2 and 5).

Live export, replay, and whatever else shows a trace call it, so they are equal by construction. It is a pure function
of the run's prefix: its distinct events in journal order up to and including the first terminal line.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from ..model import ids, names
from ..model.details import is_integer
from ..model.encoding import encode_json
from ..model.fold import ABANDONED, error_of, order_key, outline_of
from ..model.stages import Stage, pair_stages
from ..model.values import as_object, clean_text
from .recorded import Caller, Recorded, read_recorded, scalar_of, span_part
from .trace import Attributes, AttributeValue, RunTrace, Span, SpanEvent, SpanKind, SpanLink

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from ..model.fold import Outline

# Tempo cuts attribute strings at 2048 bytes; a cut JSON text cannot be read.
MAX_TEXT_BYTES: Final = 2000
MAX_EVENT_DETAILS: Final = 10
MAX_MEMBERS: Final = 50
_MAX_NESTING: Final = 4
# A tuple: a foreign log may hold a list there, which no set can be asked for.
_COMMAND_EXECUTORS: Final = ("subprocess",)
_TIMEOUTS: Final = frozenset({"timeout", "TimeoutError", "TimeoutExpired"})
_CANCELLATIONS: Final = frozenset({"cancelled", "signal", "CancelledError", "KeyboardInterrupt"})
_SIGNALLED: Final = 128
# What a user's span attributes never replace: events are rebuilt from a trace by these (`reverse`).
IDENTITY: Final = frozenset(
    {
        names.ATTR_RUN_ID,
        names.ATTR_JOB_ID,
        names.ATTR_PATTERN_ID,
        names.ATTR_STEP_ID,
        names.ATTR_EVENTS_EMITTED,
        names.ATTR_STAGE,
        names.ATTR_CICD_TASK_RUN_ID,
    }
)
# What a shell answers when a command is missing or may not be executed.
_NOT_EXECUTED: Final = frozenset({126, 127})
_SHELL_SYNTAX: Final = re.compile(r"""['"\\]""")
_WORD: Final = re.compile(r"[^ \t\r\n]+")


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


def _root(common: _Common, terminal: PatternEvent, ordered: Sequence[PatternEvent], recorded: Recorded) -> Span:
    run = outline_of(sorted(ordered, key=order_key), terminal)
    error = error_of(terminal)
    start = ordered[0].time_unix_nano
    caller = recorded.caller
    links: tuple[SpanLink, ...] = ()
    attributes = _Attributes()
    attributes.add_run(run)
    attributes[names.ATTR_CICD_RESULT] = result_of(terminal)
    if error is not None:
        attributes.add(names.ATTR_ERROR_TYPE, error.get("type"))
    if caller is not None and caller.join == "link":
        links = (SpanLink(caller.trace_id, caller.span_id, caller.trace_state),)
        attributes[names.ATTR_CALLER_TRACE_ID] = caller.trace_id
        attributes[names.ATTR_CALLER_SPAN_ID] = caller.span_id
    attributes[names.ATTR_EVENTS_EMITTED] = len(ordered)
    span_events: list[SpanEvent] = []
    ids_of_run = {names.ATTR_JOB_ID: run.job_id, names.ATTR_PATTERN_ID: run.pattern_id, names.ATTR_STEP_ID: run.step_id}
    for index, event in enumerate(ordered):
        span_events.append(span_event(event, index, ids_of_run))
        if names.OTEL in event.details:
            user_attributes, user_events = span_part(event, "run")
            attributes.extend(user_attributes)
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
        status_description=cut_text(error.get("message", "")) if error else "",
        closing_event_id=terminal.event_id,
    )


def _stage(common: _Common, stage: Stage) -> Span:
    opening, closing = stage.opening, stage.closing
    error = error_of(closing) if closing.is_terminal else None
    attributes = _Attributes(
        {
            names.ATTR_RUN_ID: closing.pattern_run_id,
            names.ATTR_PATTERN_ID: cut_text(closing.pattern_id),
            names.ATTR_JOB_ID: closing.job_id,
            names.ATTR_STAGE: stage.name,
            names.ATTR_CICD_TASK_NAME: stage.name,
            names.ATTR_CICD_TASK_RUN_ID: opening.event_id,
            names.ATTR_CICD_TASK_RESULT: result_of(closing),
        }
    )
    kind = SpanKind.INTERNAL
    if stage.name == names.EXECUTION and opening.details.get("executor") in _COMMAND_EXECUTORS:
        kind = SpanKind.CLIENT
        attributes.add(names.ATTR_EXECUTABLE_NAME, executable_name(opening.details.get("command")))
        attributes.add(names.ATTR_PID, _integer(opening.details.get("pid", closing.details.get("pid"))))
        attributes.add(names.ATTR_EXIT_CODE, _integer(closing.details.get("exit_code")))
    if error is not None:
        attributes.add(names.ATTR_ERROR_TYPE, error.get("type"))
    attributes.extend(span_part(opening, "stage")[0])
    user_attributes, user_events = span_part(closing, "stage")
    attributes.extend(user_attributes)
    start = opening.time_unix_nano
    return Span(
        name=cut_text(f"{stage.name} {closing.pattern_id}"),
        trace_id=common.trace_id,
        span_id=ids.span_id(common.run_id, "stage", stage.name, opening.event_id),
        parent_span_id=common.root_id,
        parent_is_remote=False,
        trace_state=common.trace_state,
        kind=kind,
        start_unix_nano=start,
        end_unix_nano=max(start, closing.time_unix_nano),
        attributes=attributes.frozen(),
        events=user_events,
        links=(),
        failed=error is not None,
        status_description=cut_text(error.get("message", "")) if error else "",
        closing_event_id=closing.event_id,
    )


def _marker(common: _Common, first: PatternEvent) -> Span:
    attributes = _Attributes(
        {
            names.ATTR_RUN_ID: first.pattern_run_id,
            names.ATTR_PATTERN_ID: cut_text(first.pattern_id),
            names.ATTR_JOB_ID: first.job_id,
        }
    )
    time = first.time_unix_nano
    return Span(
        name=names.MARKER_SPAN_NAME,
        trace_id=common.trace_id,
        span_id=ids.span_id(common.run_id, "marker"),
        parent_span_id=common.root_id,
        parent_is_remote=False,
        trace_state=common.trace_state,
        kind=SpanKind.INTERNAL,
        start_unix_nano=time,
        end_unix_nano=time,
        attributes=attributes.frozen(),
        events=(),
        links=(),
        failed=False,
        status_description="",
        closing_event_id=first.event_id,
    )


def span_event(event: PatternEvent, index: int, ids_of_run: Mapping[str, object]) -> SpanEvent:
    """Return the copy of an event on the root; `ids_of_run` are the root's job, pattern and step by attribute key."""
    attributes = _Attributes(
        {
            names.ATTR_EVENT_ID: event.event_id,
            names.ATTR_EVENT_INDEX: index,
            names.ATTR_EVENT_STATUS: event.status,
            names.ATTR_STAGE: cut_text(event.stage),
        }
    )
    if event.job_id != ids_of_run.get(names.ATTR_JOB_ID):
        attributes[names.ATTR_JOB_ID] = event.job_id
    if event.pattern_id != ids_of_run.get(names.ATTR_PATTERN_ID):
        attributes.add(names.ATTR_PATTERN_ID, event.pattern_id)
    if event.step_id != ids_of_run.get(names.ATTR_STEP_ID):
        # null is written as an empty text, which no step id can be.
        attributes[names.ATTR_STEP_ID] = event.step_id or ""
    details = event.details
    if names.OTEL in details:
        details = {key: value for key, value in details.items() if key != names.OTEL}
    # At the deepest level: what lies inside its objects stays in the JSON text.
    attributes.update(islice(_scalars(details, names.ATTR_DETAIL, depth=_MAX_NESTING), MAX_EVENT_DETAILS))
    if details:
        text = encode_json(details)
        if len(text) <= MAX_TEXT_BYTES:
            attributes[names.ATTR_DETAILS] = text.decode()
        else:
            attributes[names.ATTR_DETAILS_SHA256] = hashlib.sha256(text).hexdigest()
            attributes[names.ATTR_DETAILS_BYTES] = len(text)
            attributes[names.ATTR_DETAILS_TRUNCATED] = True
    return SpanEvent(cut_text(event.event_type), event.time_unix_nano, attributes.frozen())


class _Attributes(dict[str, AttributeValue]):
    """Attributes in the order in which they were added; a key added again takes the new value.

    Ids other than the pattern's, statuses, and words of ours are short ASCII by their rules: they are set as they are.
    """

    def add(self, key: str, value: AttributeValue | None) -> None:
        """Add a value unless it is None; text is cut to what a backend takes."""
        if isinstance(value, str):
            self[key] = cut_text(value)
        elif value is not None:
            self[key] = value

    def extend(self, attributes: Attributes) -> None:
        """Add a user's attributes."""
        self.update([attribute for attribute in attributes if attribute[0] not in IDENTITY])

    def add_run(self, run: Outline) -> None:
        """Add what the root says of its run."""
        pattern_id = cut_text(run.pattern_id)
        self[names.ATTR_RUN_ID] = run.pattern_run_id
        self[names.ATTR_PATTERN_ID] = pattern_id
        self.add(names.ATTR_PATTERN_VERSION, run.pattern_version)
        self.add(names.ATTR_OPERATION_KIND, run.operation_kind)
        self[names.ATTR_JOB_ID] = run.job_id
        self.add(names.ATTR_STEP_ID, run.step_id)
        self[names.ATTR_STATUS] = run.status
        self[names.ATTR_DURATION_SECONDS] = run.duration_seconds
        if run.artifacts:
            self[names.ATTR_ARTIFACTS] = tuple([cut_text(artifact) for artifact in run.artifacts[:MAX_MEMBERS]])
        self.update(islice(_scalars(run.inputs, names.ATTR_INPUT), MAX_MEMBERS))
        self.update(islice(_scalars(run.outputs, names.ATTR_OUTPUT), MAX_MEMBERS))
        self[names.ATTR_CICD_PIPELINE_NAME] = pattern_id
        self[names.ATTR_CICD_RUN_ID] = run.pattern_run_id

    def frozen(self) -> Attributes:
        """Return them as they stand."""
        return tuple(self.items())


def _scalars(members: Mapping[str, Any], prefix: str, depth: int = 1) -> Iterator[tuple[str, AttributeValue]]:
    """Yield the scalars of an object, those of objects inside it under dotted keys; arrays stay in the event."""
    for key, value in members.items():
        if not key:
            continue
        name = prefix + (key if key.isascii() else clean_text(key))
        kind = cast("type[Any]", type(value))
        if kind is str:
            yield name, cut_text(value)
        elif kind is list or value is None:
            continue
        elif kind is bool or kind is float:
            yield name, value
        elif (inner := as_object(value)) is not None:
            if depth < _MAX_NESTING:
                yield from _scalars(inner, f"{name}.", depth + 1)
        elif (scalar := scalar_of(value)) is not None:
            yield name, cut_text(scalar) if isinstance(scalar, str) else scalar


def cut_text(text: str) -> str:
    """Return text that UTF-8 can hold in at most 2000 bytes; what was cut off is shown as `…`."""
    if type(text) is str and len(text) <= MAX_TEXT_BYTES and text.isascii():
        return text
    text = clean_text(text)
    encoded = text.encode("utf-8")
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    return encoded[: MAX_TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"


def executable_name(command: object) -> str | None:
    """Return the program's file name of a command line, skipping `NAME=value` before it; None when there is none."""
    if not isinstance(command, str):
        return None
    for word in _words(command):
        name, equals, _ = word.partition("=")
        if not (equals and name.isidentifier()):
            return word.rstrip("/").rpartition("/")[2] or None
    return None


def _words(command: str) -> Iterable[str]:
    if not _SHELL_SYNTAX.search(command):
        # What shlex would say, in a twentieth of its time.
        return _WORD.findall(command)
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _integer(value: object) -> int | None:
    if not is_integer(value):
        return None
    scalar = scalar_of(int(value))
    return scalar if isinstance(scalar, int) else None


def result_of(closing: PatternEvent) -> str:
    """Return `cicd.pipeline.result` of an event that ends a run or a stage (semantic conventions, CI/CD).

    `failure` is the tool's or a check's verdict, `error` means that it could not be had.
    """
    if closing.event_type == names.VALIDATION_FAILED and "error_type" not in closing.details:
        return names.RESULT_FAILURE
    if closing.event_type in names.FAILED_EVENT_TYPES:
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
    if error_type == "SystemExit" and (exit_code is None or exit_code > _SIGNALLED):
        # A handler that ends the program upon a signal exits with 128 and the signal's number.
        return names.RESULT_CANCELLATION
    if exit_code is None or exit_code in _NOT_EXECUTED:
        return names.RESULT_ERROR
    if exit_code < 0:
        # subprocess: killed by that signal.
        return names.RESULT_CANCELLATION
    return names.RESULT_FAILURE if exit_code else names.RESULT_ERROR

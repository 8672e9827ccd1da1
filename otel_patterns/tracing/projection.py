"""`project(prefix) -> RunTrace`: the one place where a trace is made (design sections 2.2 and 5).

Live export, replay, and whatever else shows a trace call it, so they are equal by construction. It is a pure function
of the run's prefix: its distinct events in journal order up to and including the first terminal line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from ..model import ids, names
from ..model.encoding import encode_json
from ..model.outline import error_of, order_key, outline_of
from ..model.stages import Stage, pair_stages
from ..model.values import clean_text, type_of
from .outcome import executable_name, integer_of, result_of
from .recorded import Recorded, fits, read_recorded, scalar_of, span_part
from .trace import Attributes, AttributeValue, RunTrace, Span, SpanEvent, SpanKind, SpanLink

if TYPE_CHECKING:
    from ..model.outline import Outline
    from ..model.record import Event

AnyEvent = TypeVar("AnyEvent", bound="Event")

# Tempo cuts attribute strings at 2048 bytes; a cut JSON text cannot be read.
MAX_TEXT_BYTES: Final = 2000
MAX_EVENT_DETAILS: Final = 10
MAX_MEMBERS: Final = 50
MAX_NESTING: Final = 4
# A tuple: a foreign log may hold a list there, which no set can be asked for.
COMMAND_EXECUTORS: Final = ("subprocess",)
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
_REMEMBERED_KEYS: Final = 1000


class IdsOfRun(NamedTuple):
    """The ids on a run's root; its events have them too when theirs are others."""

    job_id: str
    pattern_id: str
    step_id: str | None


def prefix_of(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """Return the distinct events of one run in journal order up to and including the first terminal one."""
    prefix: list[AnyEvent] = []
    seen: set[str] = set()
    for event in events:
        event_id = event.event_id
        if event_id in seen:
            continue
        seen.add(event_id)
        prefix.append(event)
        if event.event_type in names.TERMINAL_EVENT_TYPES:
            break
    return prefix


def project(events: Iterable[Event], *, closed_by: AbstractSet[str] | None = None) -> RunTrace | None:
    """Return the trace of one run from its events in journal order; None when there is no event.

    A run without a terminal event has a marker and the stages that have ended so far, but no root.

    Args:
        events: The run's events.
        closed_by: Make only the spans that these events made final; None makes all.
    """
    prefix = prefix_of(events)
    if not prefix:
        return None
    first, last = prefix[0], prefix[-1]
    recorded = read_recorded(prefix)
    common = Common(first, recorded)
    ended = last.event_type in names.TERMINAL_EVENT_TYPES
    stages = all_stages = pair_stages(prefix)
    if closed_by is not None:
        stages = [stage for stage in all_stages if stage.closing.event_id in closed_by]
    is_root_wanted = ended and (closed_by is None or last.event_id in closed_by)
    return RunTrace(
        run_id=common.run_id,
        job_id=first.job_id,
        trace_id=common.trace_id,
        resource=recorded.resource,
        sampled=recorded.sampled,
        native=recorded.native,
        is_whole=is_root_wanted and len(stages) == len(all_stages),
        root=_root(common, prefix, recorded) if is_root_wanted else None,
        stages=tuple([_stage(common, stage) for stage in stages]),
        marker=None if ended else marker_of(common, first),
    )


class Common:
    """What every span of a run shares."""

    def __init__(self, first: Event, recorded: Recorded) -> None:
        caller = recorded.caller
        self.run_id = first.pattern_run_id
        self.caller = caller if caller is not None and caller.join == "child" else None
        self.trace_id = self.caller.trace_id if self.caller else ids.trace_id(first.job_id, self.run_id)
        self.trace_state = self.caller.trace_state if self.caller else ""
        self.root_id = ids.span_id(self.run_id, "root")


def _root(common: Common, prefix: Sequence[Event], recorded: Recorded) -> Span:
    # Events of one time and rank keep their journal order on the span; in the fold their ids decide.
    folded = ordered = prefix
    if not _are_times_rising(prefix):
        ordered = sorted(prefix, key=lambda event: (event.time_unix_nano, event.rank))
        folded = sorted(prefix, key=order_key)
    terminal = prefix[-1]
    run = outline_of(folded, terminal)
    error = error_of(terminal)
    start = ordered[0].time_unix_nano
    caller = recorded.caller
    links: tuple[SpanLink, ...] = ()
    attributes = _run_attributes(run)
    attributes[names.ATTR_CICD_RESULT] = result_of(terminal)
    if error is not None:
        _add(attributes, names.ATTR_ERROR_TYPE, error.get("type"))
    if caller is not None and caller.join == "link":
        links = (SpanLink(caller.trace_id, caller.span_id, caller.trace_state),)
        attributes[names.ATTR_CALLER_TRACE_ID] = caller.trace_id
        attributes[names.ATTR_CALLER_SPAN_ID] = caller.span_id
    attributes[names.ATTR_EVENTS_EMITTED] = len(ordered)
    span_events: list[SpanEvent] = []
    ids_of_run = IdsOfRun(run.job_id, run.pattern_id, run.step_id)
    for index, event in enumerate(ordered):
        span_events.append(span_event(event, index, ids_of_run))
        if names.OTEL in event.details:
            user_attributes, user_events = span_part(event, "run")
            _add_user_attributes(attributes, user_attributes)
            span_events += user_events
            span_events += [item for item in span_part(event, "stage")[1] if item.name == names.EVENT_EXCEPTION]
    parent = common.caller
    return Span(
        name=cut_text(f"{run.operation_kind} {run.pattern_id}"),
        trace_id=common.trace_id,
        span_id=common.root_id,
        parent_span_id=parent.span_id if parent else "",
        parent_is_remote=parent is not None and parent.is_remote,
        trace_state=common.trace_state,
        kind=SpanKind.INTERNAL if parent is not None and not parent.is_remote else SpanKind.SERVER,
        start_unix_nano=start,
        end_unix_nano=max(start, terminal.time_unix_nano),
        attributes=tuple(attributes.items()),
        events=tuple(span_events),
        links=links,
        failed=error is not None,
        status_description=cut_text(error.get("message", "")) if error else "",
        closing_event_id=terminal.event_id,
    )


def _are_times_rising(events: Sequence[Event]) -> bool:
    last = -1
    for event in events:
        if event.time_unix_nano <= last:
            return False
        last = event.time_unix_nano
    return True


def _stage(common: Common, stage: Stage) -> Span:
    name, opening, closing = stage
    error = error_of(closing) if closing.event_type in names.TERMINAL_EVENT_TYPES else None
    pattern_id = closing.pattern_id
    attributes: dict[str, AttributeValue] = {
        names.ATTR_RUN_ID: closing.pattern_run_id,
        names.ATTR_PATTERN_ID: cut_text(pattern_id),
        names.ATTR_JOB_ID: closing.job_id,
        names.ATTR_STAGE: name,
        names.ATTR_CICD_TASK_NAME: name,
        names.ATTR_CICD_TASK_RUN_ID: opening.event_id,
        names.ATTR_CICD_TASK_RESULT: result_of(closing),
    }
    kind = SpanKind.INTERNAL
    if name == names.EXECUTION and opening.details.get("executor") in COMMAND_EXECUTORS:
        kind = SpanKind.CLIENT
        _add(attributes, names.ATTR_EXECUTABLE_NAME, executable_name(opening.details.get("command")))
        _add(attributes, names.ATTR_PID, integer_of(opening.details.get("pid", closing.details.get("pid"))))
        _add(attributes, names.ATTR_EXIT_CODE, integer_of(closing.details.get("exit_code")))
    if error is not None:
        _add(attributes, names.ATTR_ERROR_TYPE, error.get("type"))
    user_events: tuple[SpanEvent, ...] = ()
    if names.OTEL in opening.details:
        _add_user_attributes(attributes, span_part(opening, "stage")[0])
    if names.OTEL in closing.details:
        user_attributes, user_events = span_part(closing, "stage")
        _add_user_attributes(attributes, user_attributes)
    start = opening.time_unix_nano
    return Span(
        name=cut_text(f"{name} {pattern_id}"),
        trace_id=common.trace_id,
        span_id=ids.span_id(common.run_id, "stage", name, opening.event_id),
        parent_span_id=common.root_id,
        parent_is_remote=False,
        trace_state=common.trace_state,
        kind=kind,
        start_unix_nano=start,
        end_unix_nano=max(start, closing.time_unix_nano),
        attributes=tuple(attributes.items()),
        events=user_events,
        links=(),
        failed=error is not None,
        status_description=cut_text(error.get("message", "")) if error else "",
        closing_event_id=closing.event_id,
    )


def marker_of(common: Common, first: Event) -> Span:
    """Return the span that shows a run before it has ended."""
    attributes: dict[str, AttributeValue] = {
        names.ATTR_RUN_ID: first.pattern_run_id,
        names.ATTR_PATTERN_ID: cut_text(first.pattern_id),
        names.ATTR_JOB_ID: first.job_id,
    }
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
        attributes=tuple(attributes.items()),
        events=(),
        links=(),
        failed=False,
        status_description="",
        closing_event_id=first.event_id,
    )


def span_event(event: Event, index: int, ids_of_run: IdsOfRun) -> SpanEvent:
    """Return the copy of an event on the root of its run."""
    event_type, details = event.event_type, event.details
    # Pairs, not a dict: details have no other key than once, and ours do not begin as theirs do.
    attributes: list[tuple[str, AttributeValue]] = [
        (names.ATTR_EVENT_ID, event.event_id),
        (names.ATTR_EVENT_INDEX, index),
        (names.ATTR_EVENT_STATUS, event.status),
        (names.ATTR_STAGE, cut_text(names.stage_of(event_type))),
    ]
    job_id, pattern_id, step_id = ids_of_run
    if event.job_id != job_id:
        attributes.append((names.ATTR_JOB_ID, event.job_id))
    if event.pattern_id != pattern_id:
        attributes.append((names.ATTR_PATTERN_ID, cut_text(event.pattern_id)))
    if event.step_id != step_id:
        # null is written as an empty text, which no step id can be.
        attributes.append((names.ATTR_STEP_ID, event.step_id or ""))
    if names.OTEL in details:
        details = {key: value for key, value in details.items() if key != names.OTEL}
    if details:
        _append_details(attributes, details)
    return SpanEvent(cut_text(event_type), event.time_unix_nano, tuple(attributes))


def _append_details(attributes: list[tuple[str, AttributeValue]], details: Mapping[str, Any]) -> None:
    """Append the first ten scalars of details, and the details as JSON or their size; objects stay in the JSON text."""
    room = MAX_EVENT_DETAILS
    for key, value in details.items():
        kind = type_of(value)
        if kind is str:
            # As `cut_text` would, without a call for most of them.
            scalar = value if len(value) <= MAX_TEXT_BYTES and value.isascii() else cut_text(value)
        elif kind is list or kind is dict or (scalar := _scalar(value)) is None:
            continue
        if key:
            attributes.append((_DETAIL_KEYS[key], scalar))
            room -= 1
            if not room:
                break
    text = encode_json(details)
    if len(text) <= MAX_TEXT_BYTES:
        attributes.append((names.ATTR_DETAILS, text.decode()))
    else:
        attributes.append((names.ATTR_DETAILS_SHA256, hashlib.sha256(text).hexdigest()))
        attributes.append((names.ATTR_DETAILS_BYTES, len(text)))
        attributes.append((names.ATTR_DETAILS_TRUNCATED, True))


class _DetailKeys(dict[str, str]):
    """The attribute key of each detail. Remembered: making one anew costs more, here and where it is encoded."""

    def __missing__(self, key: str) -> str:
        name = names.ATTR_DETAIL + clean_text(key)
        if len(self) < _REMEMBERED_KEYS:
            self[key] = name
        return name


_DETAIL_KEYS: Final = _DetailKeys()


# Attributes are gathered in plain dicts, in the order in which they were added; a key added again takes the new value.
# Ids other than the pattern's, statuses, and words of ours are short ASCII by their rules: they are set as they are.


def _add(attributes: dict[str, AttributeValue], key: str, value: AttributeValue | None) -> None:
    """Add a value unless it is None; text is cut to what a backend takes."""
    if isinstance(value, str):
        attributes[key] = cut_text(value)
    elif value is not None:
        attributes[key] = value


def _add_user_attributes(attributes: dict[str, AttributeValue], given: Attributes) -> None:
    attributes.update([attribute for attribute in given if attribute[0] not in IDENTITY])


def _run_attributes(run: Outline) -> dict[str, AttributeValue]:
    """Return what the root says of its run."""
    pattern_id = cut_text(run.pattern_id)
    attributes: dict[str, AttributeValue] = {names.ATTR_RUN_ID: run.pattern_run_id, names.ATTR_PATTERN_ID: pattern_id}
    _add(attributes, names.ATTR_PATTERN_VERSION, run.pattern_version)
    _add(attributes, names.ATTR_OPERATION_KIND, run.operation_kind)
    attributes[names.ATTR_JOB_ID] = run.job_id
    _add(attributes, names.ATTR_STEP_ID, run.step_id)
    attributes[names.ATTR_STATUS] = run.status
    _add(attributes, names.ATTR_DURATION_SECONDS, run.duration_seconds)
    if run.artifacts:
        attributes[names.ATTR_ARTIFACTS] = tuple([cut_text(artifact) for artifact in run.artifacts[:MAX_MEMBERS]])
    _add_scalars(attributes, run.inputs, names.ATTR_INPUT, MAX_MEMBERS)
    _add_scalars(attributes, run.outputs, names.ATTR_OUTPUT, MAX_MEMBERS)
    attributes[names.ATTR_CICD_PIPELINE_NAME] = pattern_id
    attributes[names.ATTR_CICD_RUN_ID] = run.pattern_run_id
    return attributes


def _add_scalars(
    attributes: dict[str, AttributeValue], members: Mapping[str, Any], prefix: str, room: int, depth: int = 1
) -> int:
    """Add at most `room` scalars of an object, those of objects inside it under dotted keys, and return the room left.

    Arrays stay in the event.
    """
    for key, value in members.items():
        if not room:
            break
        kind = type_of(value)
        if kind is list or value is None or not key:
            continue
        name = prefix + (key if key.isascii() else clean_text(key))
        if kind is dict:
            if depth < MAX_NESTING:
                room = _add_scalars(attributes, value, f"{name}.", room, depth + 1)
            continue
        if (scalar := _scalar(value)) is None:
            continue
        attributes[name] = scalar
        room -= 1
    return room


def _scalar(value: Any) -> str | bool | int | float | None:
    """Return a scalar as an attribute value, its text cut; None for null, array and object."""
    kind = type_of(value)
    if kind is str:
        return cut_text(value)
    if kind is float or kind is bool or (kind is int and fits(value)):
        return value
    scalar = scalar_of(value)
    return cut_text(scalar) if isinstance(scalar, str) else scalar


def cut_text(text: str) -> str:
    """Return text that UTF-8 can hold in at most 2000 bytes; what was cut off is shown as `…`."""
    if len(text) <= MAX_TEXT_BYTES and text.isascii() and type(text) is str:
        return text
    text = clean_text(text)
    encoded = text.encode("utf-8")
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    return encoded[: MAX_TEXT_BYTES - 3].decode("utf-8", "ignore") + "…"

"""`details.otel` of rebuilt events: what of a trace does not follow from the events themselves.

The same is true of the original: a projection is made of the events and of what `details.otel` adds. So what has to
be added is found by projecting without it, and by taking what is missing then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..model import names
from .projection import IDENTITY, project
from .reading import ReadEvent, ReadSpan
from .trace import Attributes, AttributeValue, Span

if TYPE_CHECKING:
    from ..model.events import PatternEvent


def with_otel(event: PatternEvent, otel: Mapping[str, Any]) -> PatternEvent:
    """Return an event with these members added to its `details.otel`, which is its last detail."""
    details = {key: value for key, value in event.details.items() if key != names.OTEL}
    return event.model_copy(update={"details": {**details, names.OTEL: {**event.otel, **otel}}})


def origin_of(root: ReadSpan, events: Sequence[PatternEvent]) -> dict[str, Any]:
    """Return what a process recorded with the first event of a run, as far as a projection tells it.

    Not in a trace are `writer` and the flags of `traceparent`; `operation_kind` and `pattern_version` are there when
    no event names them.
    """
    otel: dict[str, Any] = {"v": names.OTEL_VERSION}
    if (caller := _caller(root)) is not None:
        trace_id, span_id, join, state = caller
        otel["traceparent"] = f"00-{trace_id}-{span_id}-01"
        if state:
            otel["tracestate"] = state
        otel["join"] = join
        otel["remote"] = not root.is_internal
    otel["sampled"] = True
    trace = project(events)
    made = dict(trace.root.attributes) if trace is not None and trace.root is not None else {}
    for member, key in (
        ("operation_kind", names.ATTR_OPERATION_KIND),
        ("pattern_version", names.ATTR_PATTERN_VERSION),
    ):
        if made.get(key) != (value := root.attributes.get(key)):
            otel[member] = value
    otel["resource"] = json_object(root.resource)
    return otel


def _caller(root: ReadSpan) -> tuple[str, str, str, str] | None:
    if root.parent_span_id:
        return root.trace_id, root.parent_span_id, "child", root.trace_state
    trace_id = root.attributes.get(names.ATTR_CALLER_TRACE_ID)
    span_id = root.attributes.get(names.ATTR_CALLER_SPAN_ID)
    if not isinstance(trace_id, str) or not isinstance(span_id, str):
        return None
    states = [link.trace_state for link in root.links if (link.trace_id, link.span_id) == (trace_id, span_id)]
    return trace_id, span_id, "link", states[0] if states else ""


def with_user_parts(events: Sequence[PatternEvent], root: ReadSpan, spans: Iterable[ReadSpan]) -> list[PatternEvent]:
    """Return the events with what user code had put on the root and on the stages (`details.otel.span`).

    Which event had brought an attribute is not in a trace: those of the root come with the first event, those of a
    stage with the one that closed it.
    """
    trace = project(events)
    if trace is None or trace.root is None:
        return list(events)
    on_root = _user_events(root, events)
    parts: dict[str, dict[str, Any]] = {}
    stages = {span.span_id: span for span in trace.stages}
    for span in spans:
        if (stage := stages.get(span.span_id)) is not None:
            closing = stage.closing_event_id
            _add_part(parts, closing, "stage", _changed(span, stage), span.events)
            # The projection puts a stage's exceptions on the root as well.
            exceptions = [event for event in span.events if event.name == names.EVENT_EXCEPTION]
            for exception in reversed(exceptions):
                _remove_last((on_root[closing], *on_root.values()), exception)
    for number, event in enumerate(events):
        changed = _changed(root, trace.root) if number == 0 else {}
        _add_part(parts, event.event_id, "run", changed, on_root[event.event_id])
    return [
        with_otel(event, {"span": part}) if (part := parts.get(event.event_id)) is not None else event
        for event in events
    ]


def _add_part(
    parts: dict[str, dict[str, Any]],
    event_id: str,
    target: str,
    attributes: Mapping[str, AttributeValue],
    events: Sequence[ReadEvent],
) -> None:
    part: dict[str, Any] = {}
    if attributes:
        part["attributes"] = json_object(attributes)
    if events:
        part["events"] = [
            {
                "name": event.name,
                "time_unix_nano": event.time_unix_nano,
                "attributes": json_object(event.attributes),
            }
            for event in events
        ]
    if part:
        parts.setdefault(event_id, {})[target] = part


def _user_events(root: ReadSpan, events: Sequence[PatternEvent]) -> dict[str, list[ReadEvent]]:
    """Return the span events of users by the pattern event with which they came.

    The projection puts them behind it. Where a backend has sorted them in another way (Jaeger: by name), they go to
    the first event that is not earlier.
    """
    lists: dict[str, list[ReadEvent]] = {event.event_id: [] for event in events}
    indexes = [event.attributes.get(names.ATTR_EVENT_INDEX) for event in root.events if _is_copy(event)]
    is_in_order = _is_copy(root.events[0]) and indexes == list(range(len(indexes)))
    by_time = sorted(events, key=lambda event: event.time_unix_nano)
    current = events[0].event_id
    for read in root.events:
        if _is_copy(read):
            current = str(read.attributes[names.ATTR_EVENT_ID])
        elif is_in_order and current in lists:
            lists[current].append(read)
        else:
            later = (event for event in by_time if event.time_unix_nano >= read.time_unix_nano)
            lists[next(later, by_time[-1]).event_id].append(read)
    return lists


def _is_copy(event: ReadEvent) -> bool:
    return names.ATTR_EVENT_ID in event.attributes


def _remove_last(lists: Iterable[list[ReadEvent]], event: ReadEvent) -> None:
    for items in lists:
        for position in range(len(items) - 1, -1, -1):
            if items[position] == event:
                del items[position]
                return


def _changed(found: ReadSpan, made: Span) -> dict[str, AttributeValue]:
    """Return the attributes of a span that its projection does not have, or not with this value."""
    without = dict(made.attributes)
    return {
        key: value
        for key, value in found.attributes.items()
        if key not in IDENTITY and not (key in without and _is_same(value, without[key]))
    }


def is_made(found: ReadSpan, made: Span | None) -> bool:
    """Tell whether a span is what the projection made, but for what backends change: the order of its parts."""
    if made is None or (found.trace_id, found.parent_span_id, found.name) != (
        made.trace_id,
        made.parent_span_id,
        made.name,
    ):
        return False
    return (
        (found.start_unix_nano, found.end_unix_nano) == (made.start_unix_nano, made.end_unix_nano)
        and same_attributes(found.attributes, made.attributes)
        and sorted(_key(event.name, event.time_unix_nano, event.attributes) for event in found.events)
        == sorted(_key(event.name, event.time_unix_nano, dict(event.attributes)) for event in made.events)
    )


def _key(name: str, time: int, attributes: Mapping[str, AttributeValue]) -> tuple[str, int, str]:
    return name, time, repr(sorted(attributes.items()))


def same_attributes(found: Mapping[str, AttributeValue], made: Attributes) -> bool:
    """Tell whether attributes are those that the projection made; their order is not compared."""
    wanted = dict(made)
    return found.keys() == wanted.keys() and all(_is_same(found[key], value) for key, value in wanted.items())


def _is_same(found: AttributeValue, made: AttributeValue) -> bool:
    if isinstance(made, tuple) and isinstance(found, str):
        # Jaeger on badger keeps an array as its JSON text, with escapes of its own.
        try:
            return json.loads(found) == list(made)
        except (ValueError, RecursionError):
            return False
    # By type as well: 1, 1.0 and true are equal in Python alone. By text: NaN is not even equal to itself.
    return type(found) is type(made) and repr(found) == repr(made)


def json_object(attributes: Mapping[str, AttributeValue]) -> dict[str, Any]:
    """Return attributes as a JSON object."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in attributes.items()}

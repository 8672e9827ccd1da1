"""Pattern events that a program put on its own spans: what the journal gets of an ended span (design section 5.1).

Such a program speaks only OpenTelemetry: `span.add_event("pattern.execution.started", {…})`. Its provider exports the
span, so its runs are marked native and are never projected again.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import SpanProcessor

from ..clock import encode_ulid
from ..errors import Guard, shorten
from ..model import ids, names
from ..model.details import DETAILS
from ..model.envelope import check_event
from ..model.times import format_timestamp, is_timestamp
from ..model.values import as_object, to_json_object, to_json_value
from ..process import writer_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext

# The same form as `names.stage_of` knows: a type that is not ours is kept, and validation tells that it is not known.
_EVENT_NAME: Final = re.compile(r"pattern\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# Where a key of the envelope may stand on a span event: under our attribute, or under its name in the guide.
_ON_EVENT: Final = {
    "event_id": (names.ATTR_EVENT_ID, "event_id"),
    "pattern_run_id": (names.ATTR_RUN_ID, "pattern_run_id"),
    "job_id": (names.ATTR_JOB_ID, "job_id"),
    "pattern_id": (names.ATTR_PATTERN_ID, "pattern_id"),
    "step_id": (names.ATTR_STEP_ID, "step_id"),
    "status": (names.ATTR_EVENT_STATUS, names.ATTR_STATUS, "status"),
}
# And on the span, for all its events.
_ON_SPAN: Final = {
    "pattern_run_id": (names.ATTR_RUN_ID,),
    "job_id": (names.ATTR_JOB_ID,),
    "pattern_id": (names.ATTR_PATTERN_ID,),
    "step_id": (names.ATTR_STEP_ID,),
    "status": (names.ATTR_EVENT_STATUS,),
}
# A span's status is that of the whole run: it says how the run ended, not how it began.
_ON_SPAN_AT_END: Final = {**_ON_SPAN, "status": (names.ATTR_EVENT_STATUS, names.ATTR_STATUS)}
# What these say stands in the event and in its place already.
_IMPLIED: Final = frozenset({names.ATTR_EVENT_INDEX, names.ATTR_STAGE})
_WHOLE_DETAILS: Final = (names.ATTR_DETAILS, "details")
_LONGEST_SLUG: Final = 100
# The random part of a ULID has 80 bits.
_SPAN_BITS: Final = 56
_INDEX_BITS: Final = 24

# Kinds of faults, as the guard counts them.
FAULT: Final = "native"
CORRECTED: Final = "native corrected"
DROPPED: Final = "native dropped"
REFUSED: Final = "native refused"


@dataclass(frozen=True)
class NativeEvent:
    """One event of a span: its document, without `details.otel`, and what was wrong with what the program gave."""

    document: dict[str, Any]
    faults: tuple[str, ...]


@dataclass(frozen=True)
class NativeSpan:
    """What an ended span holds for the journal.

    Attributes:
        recorded: `details.otel` for the first event of each of its runs.
        events: Its pattern events, in their order.
        dropped: What the SDK dropped from the span, in words; empty when it has dropped nothing.
    """

    recorded: dict[str, Any]
    events: tuple[NativeEvent, ...]
    dropped: str


def native_span(span: ReadableSpan, writer: Mapping[str, Any]) -> NativeSpan | None:
    """Return what an ended span holds for the journal; None when that is nothing.

    Spans of our own scope hold copies of events that are in the journal.

    Args:
        span: The span.
        writer: What identifies this process, for `details.otel`.
    """
    context = span.context
    if context is None or (span.instrumentation_scope and span.instrumentation_scope.name == names.SCOPE_NAME):
        return None
    # Counted from the first event of the span, also when the SDK has dropped it: the same event, the same id.
    found = [
        (index, event)
        for index, event in enumerate(span.events, span.dropped_events)
        if _EVENT_NAME.fullmatch(str(event.name))
    ]
    given = span.attributes or {}
    if not found and not (span.dropped_events and names.ATTR_RUN_ID in given):
        return None
    of_span = _OfSpan(span, context, to_json_object(given))
    dropped = ""
    if span.dropped_events:
        dropped = (
            f"span {shorten(span.name)} of trace {of_span.trace_id} has lost its first {span.dropped_events} "
            "events, beyond OTEL_SPAN_EVENT_COUNT_LIMIT: they are not in the journal"
        )
    return NativeSpan(_recorded(of_span, writer), tuple(of_span.convert(*event) for event in found), dropped)


class _OfSpan:
    """What the events of one span share, and their conversion."""

    def __init__(self, span: ReadableSpan, context: SpanContext, attributes: dict[str, Any]) -> None:
        self.span = span
        self.context = context
        self.attributes = attributes
        self.trace_id = f"{context.trace_id:032x}"
        self._ulid = encode_ulid(context.trace_id)
        ends = context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
        # Of the event before; at first the span's start.
        self._time = _time(span.start_time) or 0
        self._hash = int.from_bytes(hashlib.sha256(ends).digest()[: _SPAN_BITS // 8], "big")

    def convert(self, index: int, event: Event) -> NativeEvent:
        attributes = to_json_object(event.attributes or {})
        faults: list[str] = []
        event_type = str(event.name)
        given = dict(self._given(event_type, attributes))
        details = _details(attributes, faults)
        time = _time(event.timestamp)
        if time is None:
            _put(details, "timestamp", to_json_value(event.timestamp))
            faults.append(f"its time is {shorten(event.timestamp)}: that of the event before it was taken")
            time = self._time
        self._time = time
        document = {
            "event_id": self._event_id(index, time),
            "event_type": event_type,
            "timestamp": format_timestamp(time),
            "job_id": f"JOB-{self._ulid}",
            "pattern_run_id": f"PRUN-{self._ulid}",
            "pattern_id": _pattern_id(str(self.span.name)),
            "status": _default_status(event_type),
            "details": details,
            "step_id": None,
        }
        derived = dict(document)
        document.update((key, value) for key, (_, value) in given.items() if value not in (None, ""))
        for problem in list(check_event(document, known_types_only=False)):
            key = problem.field
            if key in given:
                name, value = given[key]
                faults.append(f"{name}: {problem}")
                # Two foreign run ids in one trace are two runs.
                document[key] = self._run_id(value) if key == "pattern_run_id" else derived[key]
                _put(details, name, value)
        if getattr(event, "dropped_attributes", 0):
            faults.append(f"it has lost {event.dropped_attributes} attributes, beyond OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT")
        return NativeEvent(document, tuple(f"event {document['event_id']}: {fault}" for fault in faults))

    def _given(self, event_type: str, attributes: dict[str, Any]) -> Iterator[tuple[str, tuple[str, Any]]]:
        """Yield what was given for keys of the envelope, with the attribute it stood under, and take it out."""
        also_details = {detail.name for detail in DETAILS.get(event_type, ())}
        on_span = _ON_SPAN_AT_END if event_type in names.TERMINAL_EVENT_TYPES else _ON_SPAN
        for key, candidates in _ON_EVENT.items():
            present = [name for name in candidates if name in attributes]
            if present:
                yield key, (present[0], value := attributes[present[0]])
                for name in present:
                    # Another value than the one that counts stays, as a detail.
                    if attributes[name] == value and name not in also_details:
                        del attributes[name]
                continue
            for name in on_span.get(key, ()):
                if name in self.attributes:
                    yield key, (name, self.attributes[name])
                    break

    def _run_id(self, foreign: Any) -> str:
        return f"PRUN-{encode_ulid(int(ids.trace_id(self.trace_id, str(foreign)), 16))}"

    def _event_id(self, index: int, unix_nano: int) -> str:
        """Return an id that sorts like the events of a span, also within one millisecond."""
        number = (unix_nano // 1_000_000 << _SPAN_BITS | self._hash) << _INDEX_BITS | index % (1 << _INDEX_BITS)
        return f"EVT-{encode_ulid(number)}"


def _recorded(of_span: _OfSpan, writer: Mapping[str, Any]) -> dict[str, Any]:
    context, given = of_span.context, of_span.attributes
    recorded: dict[str, Any] = {
        "v": names.OTEL_VERSION,
        # The run's trace is the span's, whatever its run id is.
        "traceparent": f"00-{of_span.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}",
        "join": "child",
        "remote": False,
        "sampled": context.trace_flags.sampled,
        "native": True,
        "resource": to_json_object(of_span.span.resource.attributes),
        "writer": writer,
    }
    if state := context.trace_state.to_header():
        recorded["tracestate"] = state
    for key, name in (("operation_kind", names.ATTR_OPERATION_KIND), ("pattern_version", names.ATTR_PATTERN_VERSION)):
        if isinstance(given.get(name), str):
            recorded[key] = given[name]
    if of_span.span.dropped_events:
        recorded["dropped_events"] = of_span.span.dropped_events
    return recorded


def _details(attributes: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """Return the details that attributes hold: whole as JSON, and each one by itself."""
    details: dict[str, Any] = {}
    for name in _WHOLE_DETAILS:
        if name in attributes and (whole := _whole(attributes[name])) is not None:
            del attributes[name]
            details.update(whole)
            break
        if name in attributes:
            faults.append(f"{name} is no whole JSON object: it was kept as it is")
    for name, value in attributes.items():
        if name not in _IMPLIED:
            _put(details, name.removeprefix(names.ATTR_DETAIL) or name, value)
    if names.OTEL in details:
        # That key is ours: what stands there decides whether and how a run is projected.
        _put(details, f"{names.OTEL}#2", details.pop(names.OTEL))
    return details


def _whole(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, str):
        return as_object(value)
    try:
        parsed = as_object(json.loads(value))
    except (ValueError, RecursionError):
        return None
    return None if parsed is None else to_json_object(parsed)


def _put(details: dict[str, Any], name: str, value: Any) -> None:
    """Add a detail; when there is another one of its name, as `name#2`."""
    free, number = name, 1
    while free in details and details[free] != value:
        number += 1
        free = f"{name}#{number}"
    details[free] = value


def _time(given: object) -> int | None:
    """Return a time as an integer of the years 1970 to 2199; callers may pass anything as that of an event."""
    try:
        unix_nano = operator.index(given)  # pyright: ignore[reportArgumentType]  # refused by index itself
        return unix_nano if is_timestamp(format_timestamp(unix_nano)) else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None


def _pattern_id(span_name: str) -> str:
    slug = re.sub("[^A-Z0-9]+", "-", span_name.upper())[:_LONGEST_SLUG].strip("-")
    return f"PAT-{slug or 'UNNAMED'}"


def _default_status(event_type: str) -> str:
    if event_type == names.EXECUTION_COMPLETED:
        return names.SUCCESS
    return names.FAILED if event_type in names.TERMINAL_EVENT_TYPES else names.IN_PROGRESS


class NativeSpanProcessor(SpanProcessor):
    """Hands what ended spans hold for the journal to a function.

    No hook raises, because the SDK would pass the exception on to the program and skip the processors behind this one.

    Args:
        append: Takes what one span holds, in the thread that ended the span.
        flush: Writes what could not be written at once, and tells whether all is written.
    """

    def __init__(self, append: Callable[[NativeSpan], None], flush: Callable[[], bool]) -> None:
        self._append = append
        self._flush = flush

    def on_end(self, span: ReadableSpan) -> None:
        """Append the span's pattern events. The SDK calls it."""
        with _guard.protect(FAULT):
            found = native_span(span, writer_of(os.getpid()))
            if found is not None:
                self._append(found)

    def shutdown(self) -> None:
        """Write what could not be written at once. A span that ends later is appended all the same."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Write what could not be written at once, and tell whether the journal has everything now.

        Args:
            timeout_millis: Not used: writing has a deadline of its own, far below.
        """
        # Writing has a deadline of its own, far below.
        del timeout_millis
        with _guard.protect(FAULT):
            return self._flush()
        return False


# For what fails before there is a journal whose guard could count it.
_guard: Final = Guard()
os.register_at_fork(after_in_child=_guard.adopt_after_fork)

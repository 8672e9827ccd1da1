"""`RunSpan`: the span of a run or stage that is going on, for the OpenTelemetry context.

What other instrumentation makes meanwhile nests under it, because it has the ids that the projection will give the
real span. It is never exported itself: what user code sets on it goes into the next event of its stage or run, so it
is in the journal and in every projection.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span, SpanContext, SpanKind, TraceFlags, TraceState

from ..clock import Clock
from ..model.encoding import encode_json
from ..model.values import as_list, as_object, to_json_value
from .exceptions import exception_event

if TYPE_CHECKING:
    from opentelemetry.trace import Status, StatusCode
    from opentelemetry.util import types

# The SDK's own limits, and what leaves room for the event itself in a line of 1 MiB.
_MAX_ATTRIBUTES: Final = 128
_MAX_EVENTS: Final = 128
_MAX_BYTES: Final = 512 * 1024
_SCALARS: Final = frozenset({str, bool, int, float})


def span_context(trace_id: str, span_id: str, *, sampled: bool, trace_state: str) -> SpanContext:
    """Return a local span's context from hex ids."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(int(trace_id, 16), int(span_id, 16), False, flags, TraceState.from_header([trace_state]))  # noqa: FBT003  # its own signature


class RunSpan(Span):
    """The current span inside of a run or stage, as `opentelemetry.trace.get_current_span()` gives it. Thread-safe.

    What is set on it goes into the next event of the stage or run, so it is in the journal and in the trace, whatever
    the sampler said: at most 128 attributes, 128 span events, 512 KiB. What comes after the end of the run, or does not
    fit, is counted as `span` and logged. Status, name and end follow from the run's events: setting them has no effect,
    and a link is counted and not kept.

    Args:
        name: Name that the span will have, as far as it is known now.
        context: Its deterministic ids.
        parent: The caller's span, or for a stage the run's.
        kind: Kind that the span will have.
        attributes: What identifies it.
        clock: Where times come from.
        on_loss: Called with what cannot be kept: after the end, or beyond the limits.
    """

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        *,
        kind: SpanKind,
        attributes: Mapping[str, types.AttributeValue],
        clock: Clock,
        on_loss: Callable[[str], None],
    ) -> None:
        self._name = name
        self._context = context
        self._parent = parent
        self._kind = kind
        self._clock = clock
        self._on_loss = on_loss
        self._start_time = clock.now_unix_nano()
        self._attributes: dict[str, Any] = dict(attributes)
        self._pending_attributes: dict[str, Any] = {}
        self._pending_events: list[dict[str, Any]] = []
        self._events_taken = 0
        self._bytes = 0
        self._exception: BaseException | None = None
        self._has_ended = False
        # Re-entrant: a signal handler may use the current span while this thread does.
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """Name that the span will have."""
        return self._name

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What identifies the span, and what was set on it, as it is now."""
        with self._lock:
            return MappingProxyType(dict(self._attributes))

    @property
    def parent(self) -> SpanContext | None:
        """Context of the span above; None for the root of a trace."""
        return self._parent

    @property
    def start_time(self) -> int:
        """When the block began, in nanoseconds since 1970."""
        return self._start_time

    @property
    def kind(self) -> SpanKind:
        """Kind that the span will have."""
        return self._kind

    def get_span_context(self) -> SpanContext:
        """Return the ids that the span will have in every projection."""
        return self._context

    def is_recording(self) -> bool:
        """Tell whether the span still takes something: until it ends, sampled or not."""
        return not self._has_ended

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        """Set an attribute of the run's or stage's span.

        Args:
            key: Its name.
            value: A scalar, or scalars of one type; anything else becomes JSON text.
        """
        converted = _attribute(value)
        with self._lock:
            is_new = key not in self._attributes
            if not self._takes(f"attribute {key!r}", converted, fits=not is_new or self._has_room_for_attribute()):
                return
            self._attributes[key] = self._pending_attributes[key] = converted

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        """Set attributes of the run's or stage's span.

        Args:
            attributes: Values by name, as for `set_attribute`.
        """
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        """Add a span event to the run's or stage's span. It is no pattern event.

        Args:
            name: Its name.
            attributes: Values by name, as for `set_attribute`.
            timestamp: When it happened, in nanoseconds since 1970; None means now.
        """
        time = self._clock.now_unix_nano() if timestamp is None else timestamp
        converted = {str(key): _attribute(value) for key, value in (attributes or {}).items()}
        self._add({"name": str(to_json_value(name)), "time_unix_nano": time, "attributes": converted})

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,  # noqa: ARG002, FBT001, FBT002  # OpenTelemetry's signature
    ) -> None:
        """Add an `exception` span event with type, message and stack trace; the same one is added once.

        Args:
            exception: What was raised.
            attributes: More attributes of the span event.
            timestamp: When it happened, in nanoseconds since 1970; None means now.
            escaped: Not used: OpenTelemetry has given it up.
        """
        with self._lock:
            if exception is self._exception:
                return
            self._exception = exception
        event = exception_event(exception, self._clock.now_unix_nano() if timestamp is None else timestamp)
        event["attributes"].update((str(key), _attribute(value)) for key, value in (attributes or {}).items())
        self._add(to_json_value(event))

    def has_recorded(self, exception: BaseException) -> bool:
        """Tell whether this exception was the last one recorded. The run does it."""
        return exception is self._exception

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:  # noqa: ARG002
        """Do nothing but count: links are made when a span begins."""
        with self._lock:
            self._on_loss(f"a link of the span {self._name!r}: links are made when a span begins")

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Do nothing: the status follows from the run's events."""

    def update_name(self, name: str) -> None:
        """Do nothing: the name follows from the run's events."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the span ends with its block."""

    def close(self) -> None:
        """Take nothing more. The run does it."""
        with self._lock:
            self._has_ended = True
            self._exception = None

    def take(self) -> dict[str, Any]:
        """Return what was set since the last call, as a part of `details.otel.span`; empty when nothing was.

        The run does it.
        """
        with self._lock:
            part: dict[str, Any] = {}
            if self._pending_attributes:
                part["attributes"], self._pending_attributes = self._pending_attributes, {}
            if self._pending_events:
                part["events"], self._pending_events = self._pending_events, []
                self._events_taken += len(part["events"])
            self._bytes = 0
            return part

    def take_over(self, other: RunSpan) -> None:
        """Take what was set on the span of a stage that has no event of its own, and end that one. The run does it."""
        part = other.take()
        with self._lock:
            self._pending_attributes.update(as_object(part.get("attributes")) or {})
            self._pending_events += as_list(part.get("events")) or []
            self._exception = other._exception or self._exception
        other.close()

    def _add(self, event: dict[str, Any]) -> None:
        with self._lock:
            room = self._events_taken + len(self._pending_events) < _MAX_EVENTS
            if self._takes(f"event {event['name']!r}", event, fits=room):
                self._pending_events.append(event)

    def _has_room_for_attribute(self) -> bool:
        return len(self._attributes) < _MAX_ATTRIBUTES

    def _takes(self, what: str, value: object, *, fits: bool) -> bool:
        """Tell whether there is room for something, and count it when not."""
        if self._has_ended:
            self._on_loss(f"{what} came after the end of the span {self._name!r}")
            return False
        size = len(encode_json(value))
        if not fits or self._bytes + size > _MAX_BYTES:
            self._on_loss(f"{what} does not fit the span {self._name!r} any more")
            return False
        self._bytes += size
        return True


def _attribute(value: object) -> Any:
    """Return a scalar, or an array of scalars of one type, as it is, and anything else as JSON text."""
    converted = to_json_value(value)
    items = as_list(converted)
    kinds: set[type[Any]] = {type(item) for item in ([converted] if items is None else items)}
    if len(kinds) <= 1 and kinds <= _SCALARS:
        return converted
    return encode_json(converted).decode("utf-8")

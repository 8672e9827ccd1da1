"""`details.otel`: what a process records with its first event of a run, as the projection reads it.

Everything here comes from a log that may be foreign or damaged, so each part is taken only when it has its form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ..model import names
from ..model.values import as_list, as_object, clean_text, to_json_value
from .trace import Attributes, AttributeValue, SpanEvent

if TYPE_CHECKING:
    from ..model.record import Event

# Members of `details.otel` of an event that was read back from a trace: that it was, and what its details were.
IMPORTED: Final = "imported"
TRUNCATED: Final = "truncated"
_TRACEPARENT: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_ZERO: Final = {"0" * 32, "0" * 16}


class Caller(NamedTuple):
    """The span that was current when the run began: ids in hex, and whether it is in another process."""

    trace_id: str
    span_id: str
    trace_state: str
    is_remote: bool
    join: str


class Recorded(NamedTuple):
    """What counts of `details.otel` for a whole run: the first one in journal order."""

    resource: Attributes
    caller: Caller | None
    sampled: bool
    native: bool


def read_recorded(prefix: Sequence[Event]) -> Recorded:
    """Return what the first event that has `details.otel` recorded; a foreign run has an unknown service.

    A run with an event that was imported from a trace counts as native: a backend has its spans, and they may differ.
    """
    found = [event.otel for event in prefix if names.OTEL in event.details]
    nothing: dict[str, Any] = {}
    recorded = next((otel for otel in found if "v" in otel), nothing)
    return Recorded(
        resource=_resource(recorded.get("resource")),
        caller=caller_of(recorded),
        sampled=recorded.get("sampled") is not False,
        native=recorded.get("native") is True or any(otel.get(IMPORTED) is True for otel in found),
    )


def _resource(value: object) -> Attributes:
    attributes = attributes_of(value)
    return attributes or ((names.ATTR_SERVICE_NAME, names.UNKNOWN_SERVICE),)


def caller_of(recorded: Mapping[str, Any]) -> Caller | None:
    """Return the span that was recorded as current when the run began; None when none was."""
    if "traceparent" not in recorded:
        return None
    match = _TRACEPARENT.fullmatch(str(recorded["traceparent"]))
    if match is None or match.group(1) in _ZERO or match.group(2) in _ZERO:
        return None
    state = recorded.get("tracestate")
    return Caller(
        trace_id=match.group(1),
        span_id=match.group(2),
        trace_state=clean_text(state) if isinstance(state, str) else "",
        is_remote=recorded.get("remote") is True,
        join="link" if recorded.get("join") == "link" else "child",
    )


def span_part(event: Event, target: str) -> tuple[Attributes, tuple[SpanEvent, ...]]:
    """Return what user code put on the current span before this event, for `target` `"run"` or `"stage"`."""
    if names.OTEL not in event.details:
        return (), ()
    span = as_object(event.otel.get("span"))
    part = as_object(span.get(target)) if span else None
    if not part:
        return (), ()
    events: list[SpanEvent] = []
    for item in as_list(part.get("events")) or []:
        fields = as_object(item) or {}
        name, time = fields.get("name"), fields.get("time_unix_nano")
        if isinstance(name, str) and type(time) is int and 0 <= time <= _INT64_MAX:
            events.append(SpanEvent(clean_text(name), time, attributes_of(fields.get("attributes"))))
    return attributes_of(part.get("attributes")), tuple(events)


def attributes_of(value: object) -> Attributes:
    """Return those members of a JSON object that an attribute can hold."""
    members = as_object(value) or {}
    attributes: list[tuple[str, AttributeValue]] = []
    for key, item in members.items():
        # As `attribute_of` would, without a call for most of them: every run has a resource.
        attribute = item if type(item) is str and item.isascii() else attribute_of(item)
        if key and attribute is not None:
            attributes.append((key if key.isascii() else clean_text(key), attribute))
    return tuple(attributes)


def attribute_of(value: object) -> AttributeValue | None:
    """Return a JSON scalar, or an array of scalars of one type, as an attribute value; None for anything else."""
    if (items := as_list(value)) is not None:
        for kind in (str, bool, int, float):
            if all(type(item) is kind for item in items):
                scalars = [scalar_of(item) for item in items]
                is_one_kind = all(type(item) is kind for item in scalars)
                return cast("AttributeValue", tuple(scalars)) if is_one_kind else None
        return None
    return scalar_of(value)


def scalar_of(value: object) -> str | bool | int | float | None:
    """Return a JSON scalar as an attribute value (integers beyond 64 bits as text); None for null, array, object."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return value if fits(value) else to_json_value(value)
    return None


def fits(value: int) -> bool:
    """Tell whether an attribute can hold an integer."""
    return _INT64_MIN <= value <= _INT64_MAX

"""An event as projections read it: the nine keys and its time, made of a line in little time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from . import names
from .envelope import are_good
from .times import parse_timestamp, read_timestamp
from .values import as_object


class Event:
    """What an event says of itself, as a `PatternEvent` for users or as an `EventRecord` for projections."""

    __slots__ = ()

    if TYPE_CHECKING:
        event_id: str
        event_type: str
        timestamp: str
        job_id: str
        pattern_run_id: str
        pattern_id: str
        status: str
        details: dict[str, Any]
        step_id: str | None

        time_unix_nano: int

    @property
    def rank(self) -> int:
        """Position of the event type in the lifecycle; orders events of one instant."""
        return names.LIFECYCLE_RANK.get(self.event_type, names.UNKNOWN_RANK)

    @property
    def stage(self) -> str:
        """`selection`, `template`, `validation` or `execution`; of a foreign type the word in its place."""
        return names.stage_of(self.event_type)

    @property
    def is_terminal(self) -> bool:
        """Whether the event ends its run."""
        return self.event_type in names.TERMINAL_EVENT_TYPES

    @property
    def otel(self) -> dict[str, Any]:
        """What the writing process recorded for projections (`details.otel`); empty when it recorded nothing."""
        return as_object(self.details.get(names.OTEL)) or {}


class EventRecord(msgspec.Struct, Event, gc=False, forbid_unknown_fields=True):
    """The nine keys of an event, under their names, and its time."""

    event_id: str
    event_type: str
    timestamp: str
    job_id: str
    pattern_run_id: str
    pattern_id: str
    status: str
    details: dict[str, Any]
    step_id: str | None = None
    time_unix_nano: int = 0


# What it returns is not checked yet, and has no time.
_decode: Final = msgspec.json.Decoder(EventRecord).decode


def read_record(line: bytes) -> EventRecord | None:
    """Return the event of a line that certainly is one with no other key than the nine; None means: look closer."""
    try:
        record = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    time = read_timestamp(record.timestamp)
    if (
        time is None
        # Ours, and no key of a line.
        or record.time_unix_nano
        or not are_good(
            record.event_id,
            record.job_id,
            record.pattern_run_id,
            record.pattern_id,
            record.status,
            record.step_id,
        )
    ):
        return None
    record.time_unix_nano = time
    return record


def record_of(document: dict[str, Any]) -> EventRecord:
    """Return the event of a document that was found to be one; other keys than the nine are left out."""
    values: dict[str, Any] = {key: document.get(key) for key in names.EVENT_KEYS}
    return EventRecord(**values, time_unix_nano=parse_timestamp(document["timestamp"]))

"""`PatternEvent`: one immutable fact, one line of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import InvalidEventError, Problem
from . import names
from .encoding import encode_line
from .envelope import check_event, is_event, new_event_document
from .record import Event
from .times import parse_timestamp
from .values import as_object, clean_keys

if TYPE_CHECKING:
    from typing_extensions import Self

_FOREIGN: Final = {"foreign": True}
_KEYS: Final = frozenset(names.EVENT_KEYS)
_FIELDS: Final = set(names.EVENT_KEYS)
# Where a model keeps what it is. The class is frozen, so it cannot be set by name; this is quicker besides.
_slots: Final = {
    name: BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
}
_set_fields, _set_names, _set_extra, _set_private = _slots.values()
_new: Final = object.__new__


_Event = TypeVar("_Event", bound="PatternEvent")


class PatternEvent(Event, BaseModel):
    """One lifecycle event of a run. Immutable; other keys of a document are in `model_extra`.

    Attributes:
        event_id: `EVT-…`; two events with one id are one event.
        event_type: One of the ten types, or that of a foreign log.
        timestamp: RFC 3339 in UTC, as it was written.
        job_id: `JOB-…`: the job that the run is a step of.
        pattern_run_id: `PRUN-…`, the same for all events of a run.
        pattern_id: `PAT-…`.
        status: `in_progress`, `success`, `failed`, `warning` or `skipped`, at the time of the event.
        details: What belongs to the event type, as JSON values.
        step_id: `STEP-…` or None.

    Raises:
        InvalidEventError: A field is missing or breaks its rule; the error names field, value, rule and fix.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    event_id: str
    event_type: str
    timestamp: str
    job_id: str
    pattern_run_id: str
    pattern_id: str
    status: str
    details: dict[str, Any]
    step_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _check(cls, data: Any, info: ValidationInfo) -> Any:
        # InvalidEventError is no ValueError, so pydantic lets it pass as it is.
        if problems := list(check_event(data, known_types_only=info.context is not _FOREIGN)):
            raise InvalidEventError(problems)
        return data if data.keys() <= _KEYS else clean_keys(data)

    @classmethod
    def create(  # noqa: PLR0913  # the guide's signature
        cls,
        event_type: str,
        job_id: str,
        pattern_run_id: str,
        pattern_id: str,
        status: str,
        details: Mapping[str, Any] | None = None,
        step_id: str | None = None,
        *,
        time_unix_nano: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Return a new event with a fresh id, of the present time or another. Nothing is written.

        Args:
            event_type: One of the ten types, like `pattern.execution.started`.
            job_id: `JOB-…`.
            pattern_run_id: `PRUN-…`, the same for all events of a run.
            pattern_id: `PAT-…`.
            status: `in_progress`, `success`, `failed`, `warning` or `skipped`.
            details: What belongs to the event type. Any Python values; they are converted, never refused.
            step_id: `STEP-…` or None.
            time_unix_nano: When it happened, in nanoseconds since 1970; None means now.
            clock: Where time and id come from, for tests.

        Raises:
            InvalidEventError: A field breaks its rule.
        """
        time = clock.now_unix_nano() if time_unix_nano is None else time_unix_nano
        return _build(
            cls,
            new_event_document(
                f"EVT-{clock.new_monotonic_ulid()}",
                time,
                event_type,
                job_id,
                pattern_run_id,
                pattern_id,
                status,
                details,
                step_id,
            ),
        )

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the event of a document read from a log; an event type that is not ours is accepted.

        Args:
            document: A JSON object; other keys than the nine are kept in `model_extra`.

        Raises:
            InvalidEventError: The document is no event.
        """
        fields = as_object(document)
        if fields is not None and fields.keys() <= _KEYS and is_event(fields):
            details: dict[str, Any] = fields["details"]
            if all(type(key) is str for key in details):
                return _build(cls, {**dict.fromkeys(names.EVENT_KEYS), **fields, "details": details.copy()})
        return cls.model_validate(document, context=_FOREIGN)

    @cached_property
    def time_unix_nano(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only, as the model is
        """The timestamp in nanoseconds since 1970."""
        return parse_timestamp(self.timestamp)

    def to_dict(self) -> dict[str, Any]:
        """Return the nine keys in canonical order. `details` is the event's own object, not a copy."""
        fields = self.__dict__
        return {key: fields[key] for key in names.EVENT_KEYS}

    def to_json(self) -> str:
        """Return the event as one line of the journal, without its newline."""
        return self.to_line()[:-1].decode("utf-8")

    def to_line(self) -> bytes:
        """Return the event as one line of the journal: UTF-8 JSON, nine keys in order, and a newline."""
        return encode_line(self.to_dict())


def event_of(document: dict[str, Any]) -> PatternEvent:
    """Return the event of a document with the nine keys and no other that `is_event` found good; it takes it over."""
    return _build(PatternEvent, document)


def checked_event(document: dict[str, Any]) -> PatternEvent:
    """Return the event of a document that was read from a line and found to be one; the event takes it over."""
    # The order of the keys is seen in the event's repr.
    return (
        _build(PatternEvent, document) if tuple(document) == names.EVENT_KEYS else PatternEvent.from_document(document)
    )


def _build(cls: type[_Event], document: dict[str, Any]) -> _Event:
    """Do what pydantic would do with a checked document: keep every field as it is, in a thirtieth of the time.

    Each event that is emitted, read, folded or projected passes here.
    """
    event = _new(cls)
    _set_fields(event, document)
    _set_names(event, _FIELDS)
    _set_extra(event, {})
    _set_private(event, None)
    return event


def check_strict(event: PatternEvent) -> list[Problem]:
    """Return what the guide's table requires of the event's details and does not find."""
    return list(check_event(event.to_dict(), strict=True, known_types_only=False))

"""`PatternEvent`: one immutable fact, one line of the journal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import to_json

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import InvalidEventError, Problem
from . import names
from .envelope import check_event
from .times import format_timestamp, parse_timestamp
from .values import as_object, clean_keys, to_json_object, to_json_value

if TYPE_CHECKING:
    from typing_extensions import Self

# Line separators that some readers split at, C1 controls that a terminal obeys: legal in JSON, escaped all the same.
_RISKY: Final = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2[\x80-\x9f]|\x7f")
_FOREIGN: Final = {"foreign": True}
_KEYS: Final = frozenset(names.EVENT_KEYS)


class PatternEvent(BaseModel):
    """One lifecycle event of a run (design section 3). Immutable; other keys of a document are in `model_extra`.

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
        """Return a new event with a fresh id, of the present time or another.

        Details may hold any Python values; they are converted by the rule of `otel_patterns.model.values`.

        Raises:
            InvalidEventError: A field breaks its rule.
        """
        converted: Any = {} if details is None else details
        if isinstance(converted, Mapping):
            converted = to_json_object(converted)  # pyright: ignore[reportUnknownArgumentType]  # keys may be anything
        return cls(
            event_id=f"EVT-{clock.new_monotonic_ulid()}",
            event_type=to_json_value(event_type),
            timestamp=format_timestamp(clock.now_unix_nano() if time_unix_nano is None else time_unix_nano),
            job_id=to_json_value(job_id),
            pattern_run_id=to_json_value(pattern_run_id),
            pattern_id=to_json_value(pattern_id),
            status=to_json_value(status),
            details=converted,
            step_id=to_json_value(step_id),
        )

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the event of a document read from a log; an event type that is not ours is accepted.

        Raises:
            InvalidEventError: The document is no event.
        """
        return cls.model_validate(document, context=_FOREIGN)

    @cached_property
    def time_unix_nano(self) -> int:
        """The timestamp in nanoseconds since 1970."""
        return parse_timestamp(self.timestamp)

    @property
    def rank(self) -> int:
        """Position of the event type in the lifecycle; orders events of one instant."""
        return names.LIFECYCLE_RANK.get(self.event_type, names.UNKNOWN_RANK)

    @property
    def stage(self) -> str:
        """selection, template, validation or execution."""
        return names.stage_of(self.event_type)

    @property
    def is_terminal(self) -> bool:
        """Whether the event ends its run."""
        return self.event_type in names.TERMINAL_EVENT_TYPES

    @property
    def otel(self) -> dict[str, Any]:
        """What the writing process recorded for projections (`details.otel`); empty when it recorded nothing."""
        return as_object(self.details.get(names.OTEL)) or {}

    def to_dict(self) -> dict[str, Any]:
        """Return the nine keys in canonical order. `details` is the event's own object, not a copy."""
        return {key: getattr(self, key) for key in names.EVENT_KEYS}

    def to_json(self) -> str:
        """Return the event as one line of the journal, without its newline."""
        return self.to_line()[:-1].decode("utf-8")

    def to_line(self) -> bytes:
        """Return the event as one line of the journal: UTF-8 JSON, nine keys in order, and a newline."""
        return encode_line(self.to_dict())


def encode_line(document: Mapping[str, Any]) -> bytes:
    """Return a document as one line: what a terminal obeys or a reader may split at is escaped."""
    line = encode_json(document)
    if _RISKY.search(line):
        line = _RISKY.sub(_escape, line)
    return line + b"\n"


def encode_json(value: object) -> bytes:
    """Return a JSON value as compact UTF-8; what a damaged log may hold beside JSON is converted, never raised at."""
    try:
        return to_json(value, inf_nan_mode="strings")
    except ValueError:
        # Lone surrogates, written as escapes by other programs, have no UTF-8 form.
        return to_json(to_json_value(value))


def check_strict(event: PatternEvent) -> list[Problem]:
    """Return what the guide's table requires of the event's details and does not find."""
    return list(check_event(event.to_dict(), strict=True, known_types_only=False))


def _escape(match: re.Match[bytes]) -> bytes:
    return f"\\u{ord(match.group().decode('utf-8')):04x}".encode()

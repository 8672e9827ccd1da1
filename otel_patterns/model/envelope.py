"""The envelope of an event: the nine keys, checked without any library so that short reads start fast."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from ..errors import MISSING, InvalidEventError, Problem
from . import ids, names
from .details import check_details
from .times import END_UNIX_NANO, format_timestamp, is_timestamp
from .values import as_object, to_json_object, to_json_value

_ID_KEYS: Final = (
    ("event_id", ids.EVENT_ID_PATTERN),
    ("job_id", ids.JOB_ID_PATTERN),
    ("pattern_run_id", ids.RUN_ID_PATTERN),
    ("pattern_id", ids.PATTERN_ID_PATTERN),
    ("step_id", ids.STEP_ID_PATTERN),
)
_ID_FORMS: Final = {
    "event_id": "EVT-<ULID>",
    "job_id": "JOB-<ULID>",
    "pattern_run_id": "PRUN-<ULID>",
    "step_id": "STEP-<ULID>",
}
_REMEMBERED_RUNS: Final = 4096
_Get = Callable[[str], Any]
STATUSES: Final = frozenset(names.EVENT_STATUSES)


class _Id:
    """The rule of a kind of id: its prefix, and what comes behind it.

    `^` and `$` of the pattern are for JSON Schema; fullmatch says the same without Python's `$` before a final newline.
    Without their prefixes most patterns are one, and it is compiled once.
    """

    def __init__(self, pattern: str) -> None:
        prefix, hyphen, rest = pattern[1:-1].partition("-")
        self.prefix = prefix + hyphen
        self._length = len(self.prefix)
        self._match = re.compile(rest).fullmatch

    def matches(self, value: str) -> bool:
        """Tell whether a text is an id of this kind."""
        return value.startswith(self.prefix) and self._match(value, self._length) is not None


_IDS: Final = tuple((key, _Id(pattern)) for key, pattern in _ID_KEYS)
_is_event_id, _is_job_id, _is_run_id, _is_pattern_id, _is_step_id = (rule.matches for _, rule in _IDS)


def is_event(document: dict[str, Any]) -> bool:
    """Tell whether a JSON object certainly is an event, also one of a type that is not ours.

    False means "ask `check_event`", which knows what is wrong, if anything. This is asked of every line that is
    read, and costs a tenth of the full check.
    """
    get = cast("_Get", document.get)
    event_id, timestamp = get("event_id"), get("timestamp")
    job_id, run_id, pattern_id = get("job_id"), get("pattern_run_id"), get("pattern_id")
    status, step_id = get("status"), get("step_id")
    return (
        type(get("details")) is dict
        # Asked before `are_good`: the hash of a subclass of str may do anything.
        and type(event_id) is type(get("event_type")) is type(timestamp) is type(status) is str
        and type(run_id) is type(job_id) is type(pattern_id) is str
        and (step_id is None or type(step_id) is str)
        and is_timestamp(timestamp)
        and are_good(event_id, job_id, run_id, pattern_id, status, step_id)
    )


def are_good(event_id: str, job_id: str, run_id: str, pattern_id: str, status: str, step_id: str | None) -> bool:
    """Tell whether the texts of an event, each exactly a str, keep their rules."""
    return status in STATUSES and are_good_of_run(job_id, run_id, pattern_id, step_id) and _is_event_id(event_id)


@lru_cache(_REMEMBERED_RUNS)
def are_good_of_run(job_id: str, run_id: str, pattern_id: str, step_id: str | None) -> bool:
    """Tell whether the texts that all events of a run share, each exactly a str, keep their rules."""
    # Remembered, because they stand in every event of a run.
    return (
        _is_run_id(run_id)
        and _is_job_id(job_id)
        and _is_pattern_id(pattern_id)
        and (step_id is None or _is_step_id(step_id))
    )


def new_event_document(  # noqa: PLR0913, PLR0917  # the parts of an event, in the guide's order
    event_id: str,
    time_unix_nano: int,
    event_type: str,
    job_id: str,
    pattern_run_id: str,
    pattern_id: str,
    status: str,
    details: Mapping[str, Any] | None = None,
    step_id: str | None = None,
) -> dict[str, Any]:
    """Return the nine keys of a new event, in order; whatever its details hold is converted.

    Args:
        event_id: `EVT-` and a ULID that a clock has made: it keeps its rule, and is not checked.
        time_unix_nano: When it happened, in nanoseconds since 1970.
        event_type: One of the ten types.
        job_id: `JOB-…`.
        pattern_run_id: `PRUN-…`.
        pattern_id: `PAT-…`.
        status: One of the statuses of an event.
        details: Any mapping.
        step_id: `STEP-…` or None.

    Raises:
        InvalidEventError: A part breaks its rule.
    """
    converted: Any = details
    if details is None:
        converted = {}
    elif type(details) is dict or isinstance(details, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        converted = to_json_object(converted)
    document: dict[str, Any] = {
        "event_id": event_id,
        "event_type": event_type,
        "timestamp": format_timestamp(time_unix_nano),
        "job_id": job_id,
        "pattern_run_id": pattern_run_id,
        "pattern_id": pattern_id,
        "status": status,
        "details": converted,
        "step_id": step_id,
    }
    if (
        # Asked first: the hash of a subclass of str may do anything.
        type(event_type) is type(status) is type(pattern_run_id) is type(job_id) is type(pattern_id) is str
        and (step_id is None or type(step_id) is str)
        and event_type in names.LIFECYCLE_RANK
        and status in STATUSES
        and are_good_of_run(job_id, pattern_run_id, pattern_id, step_id)
        and type(converted) is dict
        and 0 <= time_unix_nano < END_UNIX_NANO
    ):
        return document
    # A text of another type than str, like an Enum's member; or a mistake, which the check names.
    document.update((key, to_json_value(document[key])) for key in _GIVEN_TEXTS)
    if problems := list(check_event(document)):
        raise InvalidEventError(problems)
    return document


def checked_event_document(document: dict[str, Any]) -> dict[str, Any]:
    """Return an event's document to write: whatever its details hold is converted.

    Raises:
        InvalidEventError: It breaks a rule; only its event type may be one that is not ours.
    """
    if not is_event(document) and (problems := list(check_event(document, known_types_only=False))):
        raise InvalidEventError(problems)
    return {**document, "details": to_json_object(document["details"])}


_GIVEN_TEXTS: Final = ("event_type", "job_id", "pattern_run_id", "pattern_id", "status", "step_id")


def check_event(document: object, *, strict: bool = False, known_types_only: bool = True) -> Iterator[Problem]:
    """Yield everything wrong with an event document: missing keys first, then ids, words, time and details.

    Args:
        document: A JSON value; extra keys are allowed.
        strict: Also demand the details that the guide's table requires for the event type.
        known_types_only: False accepts any string as event type, as readers of foreign logs do.
    """
    if (event := as_object(document)) is None:
        yield Problem("", document, "an event must be a JSON object", "Pass one object with the nine keys.")
        return
    for key in names.EVENT_KEYS:
        if key not in event and key != "step_id":
            yield Problem(f"/{key}", MISSING, "an event must have it", f"Add {key!r}.")
    yield from _check_ids(event)
    yield from _check_words(event, known_types_only=known_types_only)
    if "timestamp" in event:
        timestamp = event["timestamp"]
        if not (isinstance(timestamp, str) and is_timestamp(timestamp)):
            yield Problem(
                "/timestamp",
                timestamp,
                "it must be RFC 3339 in UTC, years 1970 to 2199",
                "Write it like 2026-11-22T09:30:00.000000Z, with Z or +00:00.",
            )
    if "details" in event:
        if (details := as_object(event["details"])) is None:
            yield Problem(
                "/details",
                event["details"],
                "it must be an object",
                'Pass a dict, like {"operation_kind": "semgrep_scan"}.',
            )
        elif not all(isinstance(key, str) for key in cast("dict[object, Any]", details)):
            yield Problem("/details", details, "its keys must be strings", "Use PatternEvent.create, which converts.")
        elif strict and isinstance(event.get("event_type"), str):
            yield from check_details(event["event_type"], details)


def _check_ids(event: Mapping[str, Any]) -> Iterator[Problem]:
    for key, rule in _IDS:
        value = event.get(key)
        if (isinstance(value, str) and rule.matches(value)) or key not in event:
            continue
        if key == "step_id" and value is None:
            continue
        if key == "pattern_id":
            yield Problem(
                "/pattern_id",
                value,
                "it must be PAT- and upper-case letters, digits or hyphens",
                "Write it like PAT-SEMGREP-001.",
            )
        else:
            yield Problem(
                f"/{key}",
                value,
                f"it must be {rule.prefix} and 1 to 128 of letters, digits, dot, underscore or hyphen",
                f"Use {_ID_FORMS[key]}, or {rule.prefix} and an id of your own"
                + (", or null." if key == "step_id" else "."),
            )


def _check_words(event: Mapping[str, Any], *, known_types_only: bool) -> Iterator[Problem]:
    if "event_type" in event:
        value = event["event_type"]
        if not isinstance(value, str) or (known_types_only and value not in names.LIFECYCLE_RANK):
            close = _close_matches(value, names.EVENT_TYPES)
            fix = f"Did you mean {close[0]!r}?" if close else f"Use one of {', '.join(names.EVENT_TYPES)}."
            yield Problem("/event_type", value, "it must be a known event type", fix)
    if "status" in event:
        value = event["status"]
        if not (isinstance(value, str) and value in names.EVENT_STATUSES):
            close = _close_matches(value, names.EVENT_STATUSES)
            fix = f"Did you mean {close[0]!r}?" if close else "Choose the one that fits."
            yield Problem("/status", value, f"it must be one of {', '.join(names.EVENT_STATUSES)}", fix)


def _close_matches(value: object, words: Sequence[str]) -> list[str]:
    import difflib  # noqa: PLC0415  # only for mistakes, and slow to load

    return difflib.get_close_matches(value, words, n=1) if isinstance(value, str) else []

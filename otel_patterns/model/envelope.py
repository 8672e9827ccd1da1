"""The envelope of an event: the nine keys, checked without any library so that short reads start fast."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ..errors import MISSING, Problem
from . import ids, names
from .details import check_details
from .times import is_timestamp
from .values import as_object

_ID_KEYS: Final = (
    ("event_id", ids.EVENT_ID_PATTERN),
    ("job_id", ids.JOB_ID_PATTERN),
    ("pattern_run_id", ids.RUN_ID_PATTERN),
    ("pattern_id", ids.PATTERN_ID_PATTERN),
    ("step_id", ids.STEP_ID_PATTERN),
)
# `^` and `$` are for JSON Schema; here fullmatch says the same without Python's `$` before a final newline.
_IDS: Final = tuple((key, re.compile(pattern[1:-1])) for key, pattern in _ID_KEYS)
_ID_FORMS: Final = {
    "event_id": "EVT-<ULID>",
    "job_id": "JOB-<ULID>",
    "pattern_run_id": "PRUN-<ULID>",
    "step_id": "STEP-<ULID>",
}


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
    for key, pattern in _IDS:
        value = event.get(key)
        if (isinstance(value, str) and pattern.fullmatch(value)) or key not in event:
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
            prefix = _ID_FORMS[key].split("-")[0]
            yield Problem(
                f"/{key}",
                value,
                f"it must be {prefix}- and 1 to 128 of letters, digits, dot, underscore or hyphen",
                f"Use {_ID_FORMS[key]}, or {prefix}- and an id of your own"
                + (", or null." if key == "step_id" else "."),
            )


def _check_words(event: Mapping[str, Any], *, known_types_only: bool) -> Iterator[Problem]:
    if "event_type" in event:
        value = event["event_type"]
        if not isinstance(value, str) or (known_types_only and value not in names.LIFECYCLE_RANK):
            close = difflib.get_close_matches(value, names.EVENT_TYPES, n=1) if isinstance(value, str) else []
            fix = f"Did you mean {close[0]!r}?" if close else f"Use one of {', '.join(names.EVENT_TYPES)}."
            yield Problem("/event_type", value, "it must be a known event type", fix)
    if "status" in event:
        value = event["status"]
        if not (isinstance(value, str) and value in names.EVENT_STATUSES):
            close = difflib.get_close_matches(value, names.EVENT_STATUSES, n=1) if isinstance(value, str) else []
            fix = f"Did you mean {close[0]!r}?" if close else "Choose the one that fits."
            yield Problem("/status", value, f"it must be one of {', '.join(names.EVENT_STATUSES)}", fix)

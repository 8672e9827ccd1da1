"""Checks of many events at once: one column of texts after the other, each in a fraction of the time.

They say what `is_timestamp` and `check_event` say of each text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from . import ids
from .times import TIMESTAMP_PATTERN, is_timestamp


def _many(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern[1:-1]}\\n)*", re.ASCII)


_TIMESTAMPS: Final = _many(TIMESTAMP_PATTERN)
_EVENT_IDS: Final = _many(ids.EVENT_ID_PATTERN)
_RUN_IDS: Final = _many(ids.RUN_ID_PATTERN)
_JOB_IDS: Final = _many(ids.JOB_ID_PATTERN)
_PATTERN_IDS: Final = _many(ids.PATTERN_ID_PATTERN)
_STEP_IDS: Final = _many(ids.STEP_ID_PATTERN)
# Bytes are translated in a fifth of the time of text.
_ZEROS: Final = b"0000-00-00T00:00:00.000000Z\n"
_AS_ZERO: Final = bytes.maketrans(b"123456789", b"0" * 9)
_TENS: Final = b"012345"
_DAY_LENGTH, _MINUTE_AT, _SECOND_AT = 10, 14, 17
_XS: Final = b"XXX-" + b"X" * 26 + b"\n"
_LETTERS_AND_DIGITS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_AS_X: Final = bytes.maketrans(_LETTERS_AND_DIGITS, b"X" * len(_LETTERS_AND_DIGITS))


def are_timestamps(texts: Collection[str]) -> bool:
    """Tell whether all texts are timestamps."""
    return _are_all(_TIMESTAMPS, texts)


def are_in_our_form(texts: Sequence[str]) -> bool:
    """Tell whether all texts are timestamps as `format_timestamp` writes them."""
    joined = _joined(texts)
    if not texts or not joined.isascii():
        return False
    data = joined.encode()
    if data.translate(_AS_ZERO) != _ZEROS * len(texts):
        return False
    # Mostly they are in order already: to find that takes half of the time of a minimum and a maximum.
    ordered = sorted(texts)
    earliest, latest = ordered[0], ordered[-1]
    if earliest[:_DAY_LENGTH] != latest[:_DAY_LENGTH]:
        return all(map(is_timestamp, texts))
    # All are of one day, and the latest has the last hour. Left are the tens of all minutes and of all seconds.
    return (
        is_timestamp(earliest)
        and is_timestamp(latest)
        and not data[_MINUTE_AT :: len(_ZEROS)].strip(_TENS)
        and not data[_SECOND_AT :: len(_ZEROS)].strip(_TENS)
    )


def are_ids(
    event_ids: Collection[str],
    run_ids: Collection[str],
    job_ids: Collection[str],
    pattern_ids: Collection[str],
    step_ids: AbstractSet[str | None],
) -> bool:
    """Tell whether all ids are good ones of their kind; a step may be None."""
    return (
        (_are_our_event_ids(event_ids) or _are_all(_EVENT_IDS, event_ids))
        and _are_all(_RUN_IDS, run_ids)
        and _are_all(_JOB_IDS, job_ids)
        and _are_all(_PATTERN_IDS, pattern_ids)
        and _are_all(_STEP_IDS, [step_id for step_id in step_ids if step_id is not None])
    )


def _are_our_event_ids(event_ids: Collection[str]) -> bool:
    """Tell whether all are `EVT-` and 26 letters or digits, as we make them."""
    joined = _joined(event_ids)
    if not joined.isascii():
        return False
    data = joined.encode()
    # There is one hyphen in each, so each `EVT-` that is found is a beginning.
    return data.translate(_AS_X) == _XS * len(event_ids) and data.count(b"EVT-") == len(event_ids)


def _are_all(pattern: re.Pattern[str], texts: Collection[str]) -> bool:
    joined = _joined(texts)
    # A newline inside of a text would make two of it.
    return joined.count("\n") == len(texts) and pattern.fullmatch(joined) is not None


def _joined(texts: Collection[str]) -> str:
    return "\n".join(texts) + "\n" if texts else ""

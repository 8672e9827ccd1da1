"""Times and durations as people write and read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Final

from ..model.times import format_timestamp

_NANO: Final = 1_000_000_000
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Compiled by whom it is asked for: most commands are given no time.
_AGE: Final = "([0-9]{1,9})([smhdw])"
_MOMENT: Final = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2})(?:(:[0-9]{2})(?:\.([0-9]{1,9}))?)?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)
_DURATION: Final = "([0-9]{1,9}(?:\\.[0-9]{1,9})?)([smhdw]?)"
_MILLISECONDS: Final = 1000
_DIGITS: Final = 10
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def parse_moment(text: str, now_unix_nano: int) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 time or of an age like `10m`, `2h`, `3d`, `45s`.

    A time without a zone is UTC, a date alone its first moment.

    Raises:
        ValueError: It is neither; the message says what would be.
    """
    if (age := re.fullmatch(_AGE, text)) is not None:
        return now_unix_nano - int(age[1]) * _UNITS[age[2]] * _NANO
    moment = re.fullmatch(_MOMENT, text)
    if moment is None:
        raise ValueError(f"{text!r} is no time: write it like 2026-11-22T09:30:00Z, or as an age like 45s, 10m, 2h, 3d")
    date, minutes, seconds, fraction, zone = moment.groups()
    try:
        # fromisoformat of Python 3.10 knows neither `Z` nor fractions of any length.
        offset = "+00:00" if zone is None or zone in "Zz" else zone
        whole = datetime.fromisoformat(f"{date}T{minutes or '00:00'}{seconds or ':00'}{offset}")
    except ValueError as error:
        raise ValueError(f"{text!r} is no time: {error}") from None
    return (whole - _EPOCH) // _SECOND * _NANO + int((fraction or "").ljust(9, "0"))


def parse_seconds(text: str) -> float:
    """Return the seconds of a duration like `90`, `1.5s`, `10m`, `2h`; never zero.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    duration = re.fullmatch(_DURATION, text)
    seconds = float(duration[1]) * _UNITS[duration[2] or "s"] if duration is not None else 0
    if not seconds:
        raise ValueError(f"{text!r} is no duration over zero: write it in seconds, or like 90s, 10m, 2h")
    return seconds


def parse_bytes(text: str) -> int:
    """Return the bytes of a size like `1000`, `500MB`, `10GB`, `4GiB`.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    size = re.fullmatch(r"(?a:(\d{1,15})(?: ?([KMGT])(i?)B)?)", text)
    if size is None:
        raise ValueError(f"{text!r} is no size: write it in bytes, or like 500MB, 10GB, 4GiB")
    power = 0 if size[2] is None else "KMGT".index(size[2]) + 1
    return int(size[1]) * (1024 if size[3] else 1000) ** power


def show_moment(unix_nano: int) -> str:
    """Return a time as RFC 3339 UTC with milliseconds."""
    return f"{format_timestamp(unix_nano)[:23]}Z"


def show_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter."""
    if (milliseconds := seconds * 1000) < _MILLISECONDS - 0.5:
        return f"{milliseconds:.0f} ms" if milliseconds >= _DIGITS or seconds == 0 else f"{milliseconds:.2g} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"

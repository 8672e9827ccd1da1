"""Timestamps and nanoseconds: what is written is read back."""

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from otel_patterns.model.times import format_timestamp, is_timestamp, parse_timestamp
from tests.documents import event_document
from tests.schemas import LENIENT_EVENT

# 2200-01-01T00:00:00Z.
END_UNIX_NANO = 7_258_118_400 * 10**9
unix_nanos = st.integers(0, END_UNIX_NANO - 1)


@given(unix_nanos)
def test_time_written_and_read_back_is_the_same_microsecond(unix_nano: int) -> None:
    """Writing cuts below the microsecond, and nothing else is lost in any year of the range."""
    text = format_timestamp(unix_nano)
    assert is_timestamp(text)
    assert len(text) == len("2026-11-22T09:30:00.000000Z")
    assert parse_timestamp(text) == unix_nano // 1000 * 1000


@given(unix_nanos, unix_nanos)
def test_times_written_sort_like_the_times(first: int, second: int) -> None:
    """Written times compare as text the way their microseconds compare as numbers."""
    first, second = first // 1000, second // 1000
    assert (format_timestamp(first * 1000) < format_timestamp(second * 1000)) is (first < second)


@given(unix_nanos, st.integers(0, 9), st.sampled_from(["Z", "+00:00"]))
def test_time_is_read_with_any_number_of_fraction_digits(unix_nano: int, digits: int, zone: str) -> None:
    """None to nine digits of a second's fraction, and both ways to write UTC, are read exactly."""
    seconds, nano = divmod(unix_nano, 10**9)
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    fraction = f".{nano:09d}"[: digits + 1] if digits else ""
    text = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}{zone}"
    unit = 10 ** (9 - digits)
    assert is_timestamp(text)
    assert LENIENT_EVENT.accepts(event_document(timestamp=text))
    assert parse_timestamp(text) == unix_nano // unit * unit


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_date_of_any_year_is_accepted_within_the_range_only(moment: datetime) -> None:
    """Years 1970 to 2199 are accepted, all others refused."""
    text = f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    assert is_timestamp(text) is (1970 <= moment.year < 2200)


@given(st.integers(1, 9999), st.integers(0, 13), st.integers(0, 32))
def test_only_dates_of_the_calendar_are_accepted(year: int, month: int, day: int) -> None:
    """The pattern knows the lengths of the months and the leap years, like Python's calendar."""
    try:
        expected = 1970 <= datetime(year, month, day, tzinfo=timezone.utc).year < 2200
    except ValueError:
        expected = False
    assert is_timestamp(f"{year:04d}-{month:02d}-{day:02d}T00:00:00Z") is expected

"""Timestamps: which are accepted, what they mean, how they are written."""

import calendar

import pytest

from otel_patterns.model.times import format_timestamp, is_timestamp, parse_timestamp
from otel_patterns.testing import START_UNIX_NANO
from tests.traps import TIMESTAMPS

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "unix_nano"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("2026-11-22T09:30:00Z", START_UNIX_NANO),
        ("2026-11-22T09:30:00+00:00", START_UNIX_NANO),
        ("2026-11-22T09:30:00.5Z", START_UNIX_NANO + SECOND // 2),
        ("2026-11-22T09:30:00.123Z", START_UNIX_NANO + 123_000_000),
        ("2026-11-22T09:30:00.123+00:00", START_UNIX_NANO + 123_000_000),
        ("2026-11-22T09:30:00.000001Z", START_UNIX_NANO + 1_000),
        ("2026-11-22T09:30:00.123456789Z", START_UNIX_NANO + 123_456_789),
        ("2026-11-22T09:30:00.123456789+00:00", START_UNIX_NANO + 123_456_789),
        ("2000-02-29T00:00:00Z", 951_782_400 * SECOND),
        ("2199-12-31T23:59:59.999999999Z", 7_258_118_400 * SECOND - 1),
    ],
)
def test_timestamp_of_each_accepted_form_is_parsed_to_the_nanosecond(text: str, unix_nano: int) -> None:
    """Z and +00:00, and none to nine digits of a fraction, mean what RFC 3339 says, without rounding."""
    assert is_timestamp(text)
    assert parse_timestamp(text) == unix_nano


@pytest.mark.parametrize("text", TIMESTAMPS.accepted)
def test_timestamp_of_the_list_is_accepted(text: str) -> None:
    """What the schema accepts, the model does."""
    assert is_timestamp(text)


@pytest.mark.parametrize("text", [text for text in TIMESTAMPS.refused if isinstance(text, str)])
def test_timestamp_of_another_form_is_refused(text: str) -> None:
    """No other zone, no lower case, no leap second, no date that the calendar does not have."""
    assert not is_timestamp(text)


def test_timestamp_of_february_29_is_accepted_in_leap_years_only() -> None:
    """The pattern has the leap years of all 230 years, 2000 among them and 2100 not."""
    accepted = [year for year in range(1900, 2300) if is_timestamp(f"{year}-02-29T00:00:00Z")]
    assert accepted == [year for year in range(1970, 2200) if calendar.isleap(year)]


@pytest.mark.parametrize(
    ("unix_nano", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (START_UNIX_NANO, "2026-11-22T09:30:00.000000Z"),
        (START_UNIX_NANO + 1_999, "2026-11-22T09:30:00.000001Z"),
        (START_UNIX_NANO + SECOND - 1, "2026-11-22T09:30:00.999999Z"),
        (7_258_118_400 * SECOND - 1, "2199-12-31T23:59:59.999999Z"),
    ],
)
def test_time_is_written_in_utc_with_microseconds_and_z(unix_nano: int, text: str) -> None:
    """Six digits always, cut and never rounded up, so that no event is written as later than it was."""
    assert format_timestamp(unix_nano) == text

"""Times and durations on the command line."""

import pytest

from otel_patterns.cli.moments import parse_moment, show_moment, show_seconds
from otel_patterns.testing import START_UNIX_NANO

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("1w", 604_800)]
)
def test_parse_moment_age_is_counted_back_from_now(text: str, seconds: int) -> None:
    """An age is a time that long ago."""
    assert parse_moment(text, START_UNIX_NANO) == START_UNIX_NANO - seconds * SECOND


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T09:30:00Z",
        "2026-11-22T09:30:00.000000000Z",
        "2026-11-22t09:30:00z",
        "2026-11-22 09:30",
        "2026-11-22T10:30:00+01:00",
        "2026-11-22T04:00:00-05:30",
    ],
)
def test_parse_moment_rfc_3339_is_that_time(text: str) -> None:
    """RFC 3339 is read in all its forms; a time without a zone is UTC."""
    assert parse_moment(text, 0) == START_UNIX_NANO


def test_parse_moment_fraction_is_exact() -> None:
    """No digit of a fraction is lost to floating point."""
    assert parse_moment("2026-11-22T09:30:00.123456789Z", 0) == START_UNIX_NANO + 123_456_789


def test_parse_moment_date_is_its_first_moment() -> None:
    """A date alone is midnight in UTC."""
    assert parse_moment("1970-01-02", 0) == 86_400 * SECOND


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 m", "-5m", "2026-02-30", "2026-11-22T25:00Z", "\uff110m"])
def test_parse_moment_anything_else_is_refused_with_examples(text: str) -> None:
    """A time that cannot be read is an error that says why."""
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(text, 0)


def test_show_moment_is_rfc_3339_with_milliseconds() -> None:
    """Times are shown in UTC, with `Z`."""
    assert show_moment(START_UNIX_NANO + 12_345_678) == "2026-11-22T09:30:00.012Z"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.00042, "0.42 ms"),
        (0.0421, "42 ms"),
        (0.9996, "1.00 s"),
        (2.333, "2.33 s"),
        (62, "1 m 02 s"),
        (3725, "1 h 02 m"),
        (100_000, "1 d 3 h"),
    ],
)
def test_show_seconds_uses_the_units_that_matter(seconds: float, shown: str) -> None:
    """A duration is shown as precisely as people read it."""
    assert show_seconds(seconds) == shown

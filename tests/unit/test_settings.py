"""Settings that are numbers."""

import pytest

from otel_patterns.errors import ConfigurationError
from otel_patterns.settings import Settings


def test_number_is_read_from_text_and_has_a_default() -> None:
    """A whole number comes from the variable as from an argument; unset, the default counts."""
    assert Settings.load({}).rotate_bytes == 256 * 1024 * 1024
    assert Settings.load({"OTEL_PATTERNS_ROTATE_BYTES": "1000"}).rotate_bytes == 1000
    assert Settings.load({"OTEL_PATTERNS_ROTATE_SECONDS": "60"}, rotate_seconds=0).rotate_seconds == 0


@pytest.mark.parametrize("text", ["-1", "1.5", "256MiB", "\u0661", "many"])
def test_number_that_is_none_names_the_variable(text: str) -> None:
    """What is no whole number is an error that names the variable and says what to give."""
    with pytest.raises(ConfigurationError, match=r"OTEL_PATTERNS_ROTATE_BYTES.*give a whole number, 0 or more"):
        Settings.load({"OTEL_PATTERNS_ROTATE_BYTES": text})

"""`otel-patterns exec`: what is read from its arguments. What it does is tested on real processes in integration/."""

from pathlib import Path

import pytest

from otel_patterns.cli.exec import name_of_command, parse_input, pattern_id_of
from otel_patterns.cli.moments import parse_seconds
from otel_patterns.errors import ConfigurationError
from tests.unit.cli.support import call


@pytest.mark.parametrize(
    ("command", "name", "pattern_id"),
    [
        ("pytest", "pytest", "PAT-PYTEST"),
        ("./scripts/build.sh", "build.sh", "PAT-BUILD-SH"),
        ("python3.11", "python3.11", "PAT-PYTHON3-11"),
        ("_x__y_", "_x__y_", "PAT-X-Y"),
        ("bin/", "bin", "PAT-BIN"),
        ("[", "[", "PAT-COMMAND"),
        ("prüfe", "prüfe", "PAT-PR-FE"),
        ("/", "/", "PAT-COMMAND"),
        ("", "command", "PAT-COMMAND"),
    ],
)
def test_pattern_id_follows_from_the_command(command: str, name: str, pattern_id: str) -> None:
    """The file name is the operation kind, and the pattern id is made of its letters and digits."""
    assert (name_of_command([command, "x"]), pattern_id_of(name)) == (name, pattern_id)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", "null"),
        ("True", "True"),
        ("007", "007"),
        (" 3", " 3"),
        ("1e999", "1e999"),
        ("9" * 400, "9" * 400),
        ("NaN", "NaN"),
        ('"3"', '"3"'),
        ("[1]", "[1]"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_input_is_a_number_a_boolean_or_text(text: str, value: object) -> None:
    """A JSON number, true or false is one; anything else is the text as it stands."""
    key, parsed = parse_input(f"key={text}")
    assert (key, parsed, type(parsed)) == ("key", value, type(value))


@pytest.mark.parametrize("text", ["key", "=3", ""])
def test_input_without_a_key_is_told(text: str) -> None:
    """What is no pair is refused with its value and a fix."""
    with pytest.raises(ConfigurationError, match="write it as KEY=VALUE"):
        parse_input(text)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5", 1.5), ("0.2s", 0.2), ("10m", 600), ("2h", 7200)])
def test_duration_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    """A time-out is given as timeout(1) takes it."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "-1", "1y", "ten", "", "1e3", "m"])
def test_duration_that_is_none_is_told(text: str) -> None:
    """Zero would be no time-out or an instant one: neither is guessed."""
    with pytest.raises(ValueError, match="no duration over zero"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--pattern-id", "semgrep"), ("--pattern-id='semgrep'", "Write it like PAT-SEMGREP-001")),
        (("--job-id", "42"), ("--job-id='42'", "Use JOB-<ULID>")),
        (("--step-id", "STEP-a b"), ("--step-id='STEP-a b'", "Use STEP-<ULID>")),
        (("--input", "x"), ("--input='x'", "KEY=VALUE")),
        (("--timeout", "soon"), ("--timeout", "'soon'", "like 90s")),
        (("--nothing",), ("unrecognized arguments: --nothing",)),
    ],
)
def test_exec_bad_argument_is_told_before_the_command_starts(
    tmp_path: Path, argv: tuple[str, ...], told: tuple[str, ...]
) -> None:
    """A mistake is exit code 2 with field, value and fix; nothing runs, and nothing is on record."""
    journal = tmp_path / "j"
    result = call("exec", "--journal", str(journal), *argv, "--", "touch", "started")
    assert (result.code, result.out) == (2, "")
    assert [part for part in told if part not in result.err] == []
    assert not Path("started").exists()
    assert not journal.exists()


def test_exec_without_a_command_is_told() -> None:
    """There must be something to run."""
    for argv in ((), ("--",)):
        result = call("exec", *argv)
        assert result.code == 2
        assert "otel-patterns exec -- make test" in result.err

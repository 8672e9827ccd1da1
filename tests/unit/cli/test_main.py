"""The command line as a whole: usage, exit codes, reference."""

import io
from pathlib import Path

import pytest

from otel_patterns import cli
from otel_patterns.cli import events as events_command
from otel_patterns.cli.commands import COMMANDS
from otel_patterns.cli.reference import reference
from tests.unit.cli.support import call

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nothing",),
        ("events", "--nothing"),
        ("events", "--lim", "3"),
        ("events", "--limit", "-1"),
        ("events", "--limit", "many"),
        ("events", "--since", "yesterday"),
        ("events", "--status", "done"),
        ("--color", "blue", "events"),
        ("run",),
    ],
)
def test_main_wrong_usage_returns_2(argv: tuple[str, ...]) -> None:
    """Wrong usage is told on stderr and is exit code 2; so is an abbreviated option, whose meaning may change."""
    result = call(*argv)
    assert (result.code, result.out) == (2, "")
    assert "usage: otel-patterns" in result.err


def test_main_setting_that_cannot_be_used_returns_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad variable is named in one line."""
    monkeypatch.setenv("OTEL_PATTERNS_JOIN", "both")
    result = call("events")
    assert (result.code, result.err) == (2, "otel-patterns: OTEL_PATTERNS_JOIN='both': give one of child, link\n")


@pytest.mark.parametrize("argv", [("--version",), ("--help",), *((command.name, "--help") for command in COMMANDS)])
def test_main_help_and_version_return_0(argv: tuple[str, ...]) -> None:
    """Help and version are data on stdout."""
    result = call(*argv)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(("usage: otel-patterns", "otel-patterns "))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_main_help_of_a_command_has_its_examples(command: cli.commands.Command) -> None:
    """Each command's help shows how it is used."""
    out = call(command.name, "--help").out
    assert command.examples
    assert all(example in out for example in command.examples)


def test_main_reader_gone_ends_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the reader of stdout goes away nothing is printed about it."""

    class Gone(io.TextIOWrapper):
        def write(self, s: str, /) -> int:
            raise BrokenPipeError(s)

    monkeypatch.setattr("sys.stdout", Gone(io.BytesIO()))
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    assert cli.main(["--version"]) == cli.BROKEN_PIPE
    assert err.getvalue() == ""


def test_main_full_disk_fails_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operating system refuses is one line on stderr and exit code 1."""

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events_command, "execute", fail)
    result = call("events")
    assert (result.code, result.err) == (1, "otel-patterns: [Errno 28] No space left on device\n")


def test_reference_is_what_the_docs_show() -> None:
    """The reference is generated: `python -m otel_patterns.cli.reference > docs/reference/cli.md`."""
    assert REFERENCE.read_text(encoding="utf-8") == reference()


def test_reference_names_every_option() -> None:
    """Nothing that the parser accepts is missing from the reference."""
    text = reference()
    flags = {flag for command in COMMANDS for argument in command.arguments for flag in argument.flags}
    assert [flag for flag in flags if flag.startswith("-") and flag not in text] == []

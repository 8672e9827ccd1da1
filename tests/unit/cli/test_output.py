"""Streams, colours and signs."""

import io

import pytest

from otel_patterns.cli.output import ColorMode, Output, Styled


class _Terminal(io.StringIO):
    encoding = "utf-8"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]  # StringIO has none

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("color", "environ", "is_colored"),
    [
        ("auto", {"TERM": "xterm"}, True),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {}, False),
    ],
)
def test_output_terminal_is_colored_as_asked(color: ColorMode, environ: dict[str, str], is_colored: bool) -> None:
    """On a terminal colours are used unless NO_COLOR, a dumb terminal or the option says no."""
    stream = _Terminal()
    Output(stream, io.StringIO(), color=color, environ=environ).line(Styled("x", "red"))
    assert ("\x1b[31m" in stream.getvalue()) is is_colored


def test_output_pipe_is_not_colored() -> None:
    """What is piped holds no escape sequence."""
    stream = io.StringIO()
    Output(stream, io.StringIO(), environ={}).line(Styled("x", "red"))
    assert stream.getvalue() == "x\n"


def test_output_styled_text_cannot_end_its_color() -> None:
    """Text in colour is escaped like any other; only our own sequences reach the terminal."""
    stream = io.StringIO()
    Output(stream, io.StringIO(), color="always", environ={}).line(Styled("\x1b[0mx", "red"))
    assert stream.getvalue() == "\x1b[31m\\x1b[0mx\x1b[0m\n"


def test_output_block_of_many_lines_is_cut_and_says_so() -> None:
    """A long text is indented, kept to its limit, and tells how much is missing."""
    stream = io.StringIO()
    Output(stream, io.StringIO(), environ={}).block("a\n\tb\r\nc\nd\n", "  ", limit=2)
    assert stream.getvalue() == "  a\n      b\\x0d\n  ... 2 more lines\n"


def test_output_say_goes_to_stderr_in_one_safe_line() -> None:
    """Talk is on stderr, in one line, and escaped as well."""
    out, err = io.StringIO(), io.StringIO()
    Output(out, err, environ={}).say("no\n\x1b[2J")
    assert (out.getvalue(), err.getvalue()) == ("", "otel-patterns: no\\x0a\\x1b[2J\n")

"""Where a command writes: data to stdout, talk to stderr, colours only where somebody looks."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TextIO

from ..model import names
from .text import cut, safe

ColorMode = Literal["auto", "always", "never"]
Style = Literal["bold", "dim", "red", "green", "yellow", "cyan"]
PIPED_WIDTH: Final = 80

_CODES: Final[Mapping[Style, str]] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}
STATUS_STYLES: Final[Mapping[str, Style]] = {
    names.PENDING: "dim",
    names.IN_PROGRESS: "cyan",
    names.SUCCESS: "green",
    names.FAILED: "red",
    names.WARNING: "yellow",
    names.SKIPPED: "dim",
}


class Styled(NamedTuple):
    """A piece of text and how it is shown where colours are."""

    text: str
    style: Style


Part = str | Styled


class Symbols(NamedTuple):
    """The signs that an encoding can print. `eighths` are blocks that fill one to eight eighths of a cell."""

    signs: Mapping[str, str]
    ellipsis: str
    separator: str
    eighths: str
    right_half: str

    def sign(self, status: str) -> str:
        """Return the sign of a status."""
        return self.signs.get(status, "?")


UNICODE: Final = Symbols(
    {
        names.PENDING: "○",
        names.IN_PROGRESS: "●",
        names.SUCCESS: "✓",
        names.FAILED: "✗",
        names.WARNING: "!",
        names.SKIPPED: "-",
    },
    ellipsis="…",
    separator=" · ",
    eighths="▏▎▍▌▋▊▉█",
    right_half="▐",
)
ASCII: Final = Symbols(
    {
        names.PENDING: ".",
        names.IN_PROGRESS: "*",
        names.SUCCESS: "+",
        names.FAILED: "x",
        names.WARNING: "!",
        names.SKIPPED: "-",
    },
    ellipsis="...",
    separator=", ",
    eighths="||||####",
    right_half="#",
)


_LONGEST_LINE: Final = 500


class Output:
    """Two streams and what the first of them can show.

    Everything but `data` passes through `safe`, so no text of an event can reach the terminal as it is.

    Attributes:
        is_terminal: Whether somebody looks at stdout.
        can_redraw: Whether a line can be drawn again in its place, on a terminal where somebody reads the talk as well.
        width: Columns of the terminal, 80 without one.
        symbols: The signs that stdout can print.
    """

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        *,
        color: ColorMode = "auto",
        environ: Mapping[str, str] | None = None,
        width: int | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self._stdout = stdout
        self._stderr = stderr
        self.is_terminal = stdout.isatty()
        self.can_redraw = self.is_terminal and stderr.isatty() and environ.get("TERM", "dumb") != "dumb"
        columns = terminal_width() if self.is_terminal else PIPED_WIDTH
        self.width = columns if width is None else width
        self.symbols = UNICODE if _can_print(UNICODE, stdout.encoding) else ASCII
        wanted = self.is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._colors = color == "always" or (color == "auto" and wanted)

    @classmethod
    def of_process(cls, color: ColorMode) -> Output:
        """Return the output of this process; what the encoding of a stream cannot print is shown escaped."""
        # None where the caller has closed them; what is opened next must not take their place.
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for good
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for good
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return cls(sys.stdout, sys.stderr, color=color)

    def line(self, *parts: Part) -> None:
        """Write one line of data."""
        self._stdout.write("".join(self._render(part) for part in parts).rstrip(" ") + "\n")

    def block(self, text: str, indent: str, *, limit: int) -> None:
        """Write a text of several lines, each of them indented; no more than `limit` lines and 500 characters each."""
        lines = text.expandtabs(4).strip("\n").split("\n")
        for line in lines[:limit]:
            self.line(indent, self.cut(safe(line), _LONGEST_LINE))
        if len(lines) > limit:
            self.line(indent, Styled(f"{self.symbols.ellipsis} {len(lines) - limit} more lines", "dim"))

    def data(self, line: bytes) -> None:
        """Write one line of JSON as it is. A command writes either lines or data: the two are buffered apart."""
        self.lines(line + b"\n")

    def lines(self, lines: bytes) -> None:
        """Write whole lines of JSON as they are, with the newline behind each."""
        self._stdout.buffer.write(lines)

    def say(self, message: str) -> None:
        """Tell the user something that is no data."""
        self.flush()
        self._stderr.write(f"otel-patterns: {safe(message)}\n")
        self._stderr.flush()

    def redraw(self, message: str) -> None:
        """Put a line in the place of the one that was drawn last; an empty one leaves nothing."""
        # As wide as the terminal is now; one that is full would begin another line.
        shown = self.cut(safe(message), terminal_width() - 1)
        self._stderr.write(f"\r\x1b[K{shown}")
        self._stderr.flush()

    def flush(self) -> None:
        """Hand over what was written."""
        self._stdout.flush()

    def abandon(self) -> None:
        """Give stdout up: nobody reads it any more, and the interpreter must not try again at its end."""
        with contextlib.suppress(OSError, ValueError):
            descriptor = os.open(os.devnull, os.O_WRONLY)
            os.dup2(descriptor, self._stdout.fileno())
            os.close(descriptor)

    def cut(self, text: str, width: int) -> str:
        """Return text of at most `width` columns."""
        return cut(text, width, self.symbols.ellipsis)

    def status(self, status: str, text: str) -> Styled:
        """Return a text in the colour of a status."""
        return Styled(text, STATUS_STYLES.get(status, "dim"))

    def _render(self, part: Part) -> str:
        if isinstance(part, str):
            return safe(part)
        text = safe(part.text)
        return f"\x1b[{_CODES[part.style]}m{text}\x1b[0m" if self._colors and text else text


def _can_print(symbols: Symbols, encoding: str | None) -> bool:
    signs = (*symbols.signs.values(), symbols.ellipsis, symbols.separator, symbols.eighths, symbols.right_half)
    try:
        "".join(signs).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def terminal_width() -> int:
    """Return what `shutil.get_terminal_size` says, without the compression libraries that shutil loads."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or PIPED_WIDTH
    except OSError:
        # Without a stdout, or with one that is closed or no terminal.
        return PIPED_WIDTH

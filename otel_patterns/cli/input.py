"""Files that a command is given; `-` is stdin."""

from __future__ import annotations

import sys
from typing import Final

from .output import Output

STDIN: Final = "-"


def name_of(name: str) -> str:
    """Return a file's name as messages say it."""
    return "stdin" if name == STDIN else name


def read_input(name: str, output: Output) -> bytes | None:
    """Return what is in a file; None when it cannot be read, and the user is told."""
    try:
        if name != STDIN:
            with open(name, "rb") as file:
                return file.read()
        if sys.stdin.isatty():
            output.say("reading from the terminal; end with Ctrl-D")
        return sys.stdin.buffer.read()
    except OSError as error:
        output.say(f"{name}: {error.strerror or error}")
        return None

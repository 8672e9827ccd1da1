"""The parser of the command line, made from the table of the commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..clock import Clock
from ..compiled import is_compiled
from .commands import BY_NAME, COMMANDS, COMMON, DESCRIPTION, EPILOG, PROGRAM, Argument
from .moments import parse_bytes, parse_moment, parse_seconds
from .output import terminal_width

_HELP_WIDTH: Final = 79


class _Format(argparse.RawDescriptionHelpFormatter):
    """Is given the width: argparse makes one for each argument, and would load shutil to ask for it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal_width() - 2)


class _Parser(argparse.ArgumentParser):
    """Wraps its description when somebody asks for it: wrapping takes a module that no command needs."""

    def format_help(self) -> str:
        """Return the help text."""
        import textwrap  # noqa: PLC0415  # see the class

        if self.description is not None:
            self.description = textwrap.fill(self.description, _HELP_WIDTH)
        return super().format_help()


class _Version(argparse.Action):
    """Prints the version; reading it earlier would slow down every start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415  # reading metadata is slow

        print(f"{PROGRAM} {version(PROGRAM)}{', compiled' if is_compiled() else ''}")
        parser.exit()


def build_parser(clock: Clock, argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of this command line; ages are counted back from the clock's present time.

    When it begins with a command, as it nearly always does, the parser knows no other: making all of them takes longer
    than many a command.
    """
    given = BY_NAME.get(argv[0]) if argv else None
    parser = _Parser(
        PROGRAM,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_Format,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and whether it is compiled")
    parser.set_defaults(journal=None, color="auto")
    for argument in COMMON:
        _add(parser, argument, clock)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS if given is None else (given,):
        subparser = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            epilog="examples:\n" + "\n".join(f"  {example}" for example in command.examples),
            formatter_class=_Format,
            allow_abbrev=False,
        )
        for argument in command.arguments:
            _add(subparser, argument, clock)
    return parser


def _add(parser: argparse.ArgumentParser, argument: Argument, clock: Clock) -> None:
    options: dict[str, Any] = {"help": argument.help}
    if argument.metavar is not None:
        options["metavar"] = argument.metavar
    if argument.choices is not None:
        options["choices"] = argument.choices
    if argument.kind == "switch":
        options["action"] = "store_true"
    elif argument.kind == "texts":
        options["nargs"] = "*"
    elif argument.kind == "pair":
        options.update(nargs=2, metavar=tuple((argument.metavar or "").split()))
    elif argument.kind == "rest":
        options["nargs"] = argparse.REMAINDER
    elif argument.kind == "repeated":
        options.update(action="append", default=[])
    else:
        options["type"] = _readers(clock).get(argument.kind, str)
    if any(argument.flags == common.flags for common in COMMON):
        # Accepted before and after the command: the second parser must not undo what the first one read.
        options["default"] = argparse.SUPPRESS
    parser.add_argument(*argument.flags, **options)


def _readers(clock: Clock) -> dict[str, Callable[[str], float]]:
    def moment(text: str) -> int:
        try:
            return parse_moment(text, clock.now_unix_nano())
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def count(text: str) -> int:
        if not (text.isascii() and text.isdecimal()):
            raise argparse.ArgumentTypeError(f"{text!r} is no number: give 0 or more")
        return int(text)

    def seconds(text: str) -> float:
        try:
            return parse_seconds(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    def size(text: str) -> int:
        try:
            return parse_bytes(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return {"moment": moment, "count": count, "seconds": seconds, "bytes": size}

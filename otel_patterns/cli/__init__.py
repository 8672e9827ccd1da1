"""The command line `otel-patterns`. A command's module is loaded when it is called, so reading events starts fast."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import ConfigurationError, OtelPatternsError
from .arguments import build_parser
from .commands import BY_NAME
from .output import Output

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
# What a shell reports for a program that Ctrl-C, or a reader that went away, has ended.
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141


def main(argv: Sequence[str] | None = None, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage or setting, 130 after Ctrl-C.

    Args:
        argv: The arguments without the program's name; None takes those of the process.
        clock: What relative times are counted from.
    """
    output = Output.of_process("auto")
    try:
        code = _run(argv, clock, output)
        output.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        output.abandon()
        return BROKEN_PIPE
    except OSError as error:
        output.abandon()
        sys.stderr.write(f"otel-patterns: {error}\n")
        return FAILED
    return code


def _run(argv: Sequence[str] | None, clock: Clock, output: Output) -> int:
    try:
        given = sys.argv[1:] if argv is None else argv
        arguments = build_parser(clock, given).parse_args(given)
    except SystemExit as end:
        # argparse has printed help, version or what is wrong.
        return end.code if isinstance(end.code, int) else DONE
    output = Output.of_process(arguments.color)
    command = import_module(f"{__name__}.{BY_NAME[arguments.command].module}")
    try:
        return int(command.execute(arguments, output, clock))
    except ConfigurationError as error:
        output.say(str(error))
        return USAGE
    except OtelPatternsError as error:
        output.say(str(error))
        return FAILED

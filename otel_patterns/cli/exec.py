"""`otel-patterns exec`: run any command as a pattern run."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from math import isfinite
from typing import Final

from ..channel import channel_of, shutdown
from ..clock import Clock
from ..errors import LOGGER_NAME, ConfigurationError, InvalidEventError
from ..runner import Run
from ..runner.arguments import Arguments
from ..runner.artifacts import Artifacts
from ..runner.command import GRACE_SECONDS, run_command
from ..runner.result import EXIT_CANNOT_EXECUTE, EXIT_NOT_FOUND, CommandResult
from ..runner.signals import Signals
from .moments import show_seconds
from .output import Output

_SHELLS_SIGNAL: Final = 128


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Run the command and return its exit code; end by the signal that ended it.

    Raises:
        ConfigurationError: An argument cannot be used; the command was not started.
    """
    argv: list[str] = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise ConfigurationError("COMMAND", "", "give the command to run, like: otel-patterns exec -- make test")
    inputs = dict(parse_input(text) for text in arguments.input)
    name = name_of_command(argv)
    said = _Said()
    begin = clock.monotonic()
    with said:
        channel = channel_of(arguments.journal)
        described = Arguments(
            arguments.pattern_id or pattern_id_of(name),
            job_id=arguments.job_id or f"JOB-{clock.new_ulid()}",
            step_id=arguments.step_id,
            operation_kind=arguments.operation_kind or name,
            inputs=inputs,
            channel=channel,
        )
        # No line of code stands for it, and this process makes no spans that could nest under it.
        run = Run(described, None)
        # Until the run is on record and sent, no signal ends us. Sending is bounded.
        with Signals() as signals:
            result = _run(run, argv, arguments, signals)
            channel.journal.flush()
            shutdown()
    if result.exit_code in (EXIT_NOT_FOUND, EXIT_CANNOT_EXECUTE) and result.pid is None:
        output.say(result.error_message or "")
    for message in said.messages if arguments.verbose else said.messages[:1]:
        output.say(message)
    if arguments.verbose:
        took = show_seconds(clock.monotonic() - begin)
        output.say(f"{run.pattern_run_id} {result.error_message or f'exit code {result.exit_code}'} in {took}")
    output.flush()
    return result.exit_code if result.exit_code >= 0 else end_by(-result.exit_code)


def _run(run: Run, argv: Sequence[str], arguments: argparse.Namespace, signals: Signals) -> CommandResult:
    with ExitStack() as stack:
        try:
            stack.enter_context(run)
        except InvalidEventError as error:
            option = f"--{error.field.replace('_', '-')}"
            raise ConfigurationError(option, error.value, f"{error.rule}. {error.fix}") from None
        execution = stack.enter_context(
            run.execution(
                argv,
                working_dir=_working_directory(),
                timeout_seconds=arguments.timeout,
                tool_name=name_of_command(argv),
            )
        )
        artifacts = Artifacts(arguments.artifact)
        result = run_command(
            argv,
            environment={**os.environ, **execution.environment()},
            signals=signals,
            timeout_seconds=arguments.timeout,
            grace_seconds=arguments.grace or GRACE_SECONDS,
        )
        execution.record(result)
        run.artifacts = artifacts.changed()
    return result


def name_of_command(argv: Sequence[str]) -> str:
    """Return the file name of a command."""
    return argv[0].rstrip("/").rpartition("/")[2] or argv[0] or "command"


def pattern_id_of(name: str) -> str:
    """Return the pattern id that stands for a command when none is given: `build.sh` is `PAT-BUILD-SH`."""
    return f"PAT-{re.sub('[^A-Z0-9]+', '-', name.upper()).strip('-') or 'COMMAND'}"


def parse_input(text: str) -> tuple[str, str | float | bool]:
    """Return key and value of `KEY=VALUE`; a number, true or false, as JSON writes them, is one, all else is text.

    Raises:
        ConfigurationError: It has no key or no `=`.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigurationError("--input", text, "write it as KEY=VALUE, like replicas=3")
    with suppress(ValueError, OverflowError):
        parsed: object = json.loads(value)
        # JSON allows spaces around it, Python's reader also Infinity and numbers that become it.
        if value.strip() == value and isinstance(parsed, (bool, int, float)) and isfinite(parsed):
            return key, parsed
    return key, value


def end_by(number: int) -> int:
    """End this process by a signal, as the command was ended: a shell's loop stops at Ctrl-C only then.

    Returns 128 and the number, which is what a shell makes of it, where the system does not let the signal end us.
    """
    import resource  # noqa: PLC0415  # only now

    with suppress(OSError, ValueError):
        # The command has left its core file; ours would only replace it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)
    sys.stderr.flush()
    with suppress(OSError):
        os.kill(os.getpid(), number)
    return _SHELLS_SIGNAL + number


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        # It was removed; a command may still run there.
        return None


class _Said(logging.Handler):
    """Keeps what the package has to say until the command has ended: its output is its own, and so is its terminal."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.messages.append(record.getMessage())

    def __enter__(self) -> None:
        logging.getLogger(LOGGER_NAME).addHandler(self)

    def __exit__(self, *_: object) -> None:
        # What may still come at exit says again what was said: the first cause stands here.
        logger = logging.getLogger(LOGGER_NAME)
        logger.addHandler(logging.NullHandler())
        logger.removeHandler(self)

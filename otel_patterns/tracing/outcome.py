"""How a run or a stage came out, and what ran: words of the semantic conventions, from the details of events."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..model import names
from ..model.details import is_integer
from ..model.outline import ABANDONED
from .recorded import scalar_of

if TYPE_CHECKING:
    from ..model.record import Event

_TIMEOUTS: Final = frozenset({"timeout", "TimeoutError", "TimeoutExpired"})
_CANCELLATIONS: Final = frozenset({"cancelled", "signal", "CancelledError", "KeyboardInterrupt"})
_SIGNALLED: Final = 128
# What a shell answers when a command is missing or may not be executed.
_NOT_EXECUTED: Final = frozenset({126, 127})
_SHELL_SYNTAX: Final = re.compile(r"""['"\\]""")
_WORD: Final = re.compile(r"[^ \t\r\n]+")


def executable_name(command: object) -> str | None:
    """Return the program's file name of a command line, skipping `NAME=value` before it; None when there is none."""
    if not isinstance(command, str):
        return None
    for word in _words(command):
        name, equals, _ = word.partition("=")
        if not (equals and name.isidentifier()):
            return word.rstrip("/").rpartition("/")[2] or None
    return None


def _words(command: str) -> Iterable[str]:
    if not _SHELL_SYNTAX.search(command):
        # What shlex would say, in a twentieth of its time, and no more of it than is wanted.
        return (match.group() for match in _WORD.finditer(command))
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def integer_of(value: object) -> int | None:
    """Return a JSON number that is an integer of 64 bits as one; None for anything else."""
    if value is None or not is_integer(value):
        return None
    scalar = scalar_of(int(value))
    return scalar if isinstance(scalar, int) else None


def result_of(closing: Event) -> str:
    """Return `cicd.pipeline.result` of an event that ends a run or a stage (semantic conventions, CI/CD).

    `failure` is the tool's or a check's verdict, `error` means that it could not be had.
    """
    if closing.event_type == names.VALIDATION_FAILED and "error_type" not in closing.details:
        return names.RESULT_FAILURE
    if closing.event_type in names.FAILED_EVENT_TYPES:
        return _failure_of(closing.details)
    if closing.event_type == names.EXECUTION_COMPLETED and closing.status == names.FAILED:
        return names.RESULT_FAILURE
    return names.RESULT_SKIP if closing.status == names.SKIPPED else names.RESULT_SUCCESS


def _failure_of(details: Mapping[str, Any]) -> str:
    error_type = details.get("error_type")
    exit_code = integer_of(details.get("exit_code"))
    if error_type == ABANDONED:
        return names.RESULT_ERROR
    if isinstance(error_type, str) and error_type in _TIMEOUTS:
        return names.RESULT_TIMEOUT
    if isinstance(error_type, str) and error_type in _CANCELLATIONS:
        return names.RESULT_CANCELLATION
    if error_type == "SystemExit" and (exit_code is None or exit_code > _SIGNALLED):
        # A handler that ends the program upon a signal exits with 128 and the signal's number.
        return names.RESULT_CANCELLATION
    if exit_code is None or exit_code in _NOT_EXECUTED:
        return names.RESULT_ERROR
    if exit_code < 0:
        # subprocess: killed by that signal.
        return names.RESULT_CANCELLATION
    return names.RESULT_FAILURE if exit_code else names.RESULT_ERROR

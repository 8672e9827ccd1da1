"""What became of a command."""

from __future__ import annotations

import errno
import os
from typing import Any, Final, NamedTuple

from .preview import Preview

ERROR_TIMEOUT: Final = "timeout"
ERROR_SIGNAL: Final = "signal"
ERROR_CANCELLED: Final = "cancelled"
ERROR_NOT_FOUND: Final = "command_not_found"
ERROR_PERMISSION: Final = "permission_denied"
ERROR_CANNOT_EXECUTE: Final = "cannot_execute"

# Those of timeout(1), env(1) and shells.
EXIT_TIMEOUT: Final = 124
EXIT_CANNOT_EXECUTE: Final = 126
EXIT_NOT_FOUND: Final = 127


class CommandResult(NamedTuple):
    """What became of a command.

    Attributes:
        exit_code: Its exit code; below zero the signal that ended it, 124 after a time-out, 127 when it was not found,
            126 when it could not be executed.
        error_type: Why it failed, when not by its own verdict.
        error_message: The same in words.
        pid: Its process id; None when it was not started.
        stdout: What is kept of its stdout, and of its stderr where both went to one place.
        stderr: What is kept of its stderr.
    """

    exit_code: int
    error_type: str | None = None
    error_message: str | None = None
    pid: int | None = None
    stdout: Preview | None = None
    stderr: Preview | None = None

    @classmethod
    def not_started(cls, name: str, error: OSError) -> CommandResult:
        """Return the result of a command that the system refused to start."""
        if error.errno == errno.ENOENT:
            return cls(EXIT_NOT_FOUND, ERROR_NOT_FOUND, f"{name}: command not found")
        reason = os.strerror(error.errno) if error.errno is not None else str(error)
        kind = ERROR_PERMISSION if error.errno in (errno.EACCES, errno.EPERM) else ERROR_CANNOT_EXECUTE
        return cls(EXIT_CANNOT_EXECUTE, kind, f"{name}: {reason}")

    def details(self) -> dict[str, Any]:
        """Return what the terminal event has of it beside its exit code: process id, line counts, previews."""
        details: dict[str, Any] = {} if self.pid is None else {"pid": self.pid}
        for name, preview in (("stdout", self.stdout), ("stderr", self.stderr)):
            if preview is not None:
                details[f"{name}_lines"] = preview.lines
                if preview.lines:
                    details[f"{name}_preview"] = preview.text
        return details

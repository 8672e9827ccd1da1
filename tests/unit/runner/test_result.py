"""What became of a command."""

import errno

import pytest

from otel_patterns.runner.preview import Preview
from otel_patterns.runner.result import CommandResult


@pytest.mark.parametrize(
    ("number", "code", "kind", "message"),
    [
        (errno.ENOENT, 127, "command_not_found", "tool: command not found"),
        (errno.EACCES, 126, "permission_denied", "tool: Permission denied"),
        (errno.E2BIG, 126, "cannot_execute", "tool: Argument list too long"),
    ],
)
def test_result_of_a_command_that_did_not_start(number: int, code: int, kind: str, message: str) -> None:
    """Exit codes are those of a shell and of `env`, and the message says what a shell would say."""
    result = CommandResult.not_started("tool", OSError(number, "x"))
    assert (result.exit_code, result.error_type, result.error_message) == (code, kind, message)
    assert result.details() == {}


def test_result_has_counts_and_previews_of_what_was_seen() -> None:
    """A stream that was silent has no preview, one that went elsewhere has nothing at all."""
    stdout, silent = Preview(), Preview()
    stdout.add(b"one\n")
    assert CommandResult(0, pid=42, stdout=stdout).details() == {
        "pid": 42,
        "stdout_lines": 1,
        "stdout_preview": "one\n",
    }
    assert CommandResult(0, stdout=silent).details() == {"stdout_lines": 0}

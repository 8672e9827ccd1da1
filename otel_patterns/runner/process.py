"""Starting a command, and learning what becomes of it and of its process group."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

# What Python ignores and a command must not.
_DEFAULTS: Final = (signal.SIGPIPE, signal.SIGXFSZ)


class Process(Protocol):
    """A command that was started.

    Attributes:
        pid: Its process id, and the id of its process group.
        descriptor: Readable when it has changed; None when SIGCHLD tells.
    """

    pid: int
    descriptor: int | None

    def poll(self) -> int | None:
        """Return the status, as `os.waitpid` gives it, of a command that has stopped or ended since the last call."""
        ...

    def close(self) -> None:
        """Let go of a command that has ended."""
        ...


class GroupProcess:
    """A command in a process group of its own.

    Args:
        argv: The command.
        environment: All of its variables.
        streams: Our descriptors that become its 0, 1 and 2; what is not named is inherited.

    Raises:
        OSError: It could not be started.
    """

    descriptor: int | None = None

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], streams: Mapping[int, int]) -> None:
        self.pid = spawn(argv, environment, streams)

    def poll(self) -> int | None:
        """See `Process`."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        return status if pid else None

    def close(self) -> None:
        """See `Process`."""


def send(group: int, number: int) -> None:
    """Send a signal to a process group; nothing happens when it has gone or belongs to somebody else."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_alive(group: int) -> bool:
    """Tell whether a process group has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def spawn(argv: Sequence[str], environment: Mapping[str, str], streams: Mapping[int, int]) -> int:
    """Start a command as leader of a new process group and return its id; see `GroupProcess`."""
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in streams.items()]
    try:
        return os.posix_spawnp(argv[0], list(argv), environment, file_actions=actions, setpgroup=0, setsigdef=_DEFAULTS)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    import shutil  # noqa: PLC0415  # only for a script without its `#!` line

    # Which a shell, `env` and `nice` run all the same.
    script = argv[0] if "/" in argv[0] else shutil.which(argv[0]) or argv[0]
    return os.posix_spawn(
        "/bin/sh", ["/bin/sh", script, *argv[1:]], environment, file_actions=actions, setpgroup=0, setsigdef=_DEFAULTS
    )

"""A command that has a terminal for itself, in a session of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from .process import send, spawn
from .signals import Signals

_REPORT: Final = struct.Struct("=ii")
_STARTED: Final = 0
_FAILED: Final = 1
_CHANGED: Final = 2
# Of wait(): ended by SIGKILL.
_KILLED_STATUS: Final = int(signal.SIGKILL)


class SessionProcess:
    """A command that has a terminal for itself.

    Between us and it stands a process that leads its session. Without that the system would not let the command be
    stopped by Ctrl-Z, and its end would hang up on what it leaves behind, like the `tee` of `exec > >(tee log)`.

    Args:
        argv: The command.
        environment: All of its variables.
        streams: Our descriptors that become its 0, 1 and 2; the first is its end of the terminal.
        signals: Ours, which the process between must not take.

    Raises:
        OSError: It could not be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        streams: Mapping[int, int],
        *,
        signals: Signals,
    ) -> None:
        reports, reporter = os.pipe()
        waiter, self._release = os.pipe()
        self._leader = os.fork()
        if self._leader == 0:
            _lead(argv, environment, streams, signals=signals, reporter=reporter, waiter=waiter)
        os.close(reporter)
        os.close(waiter)
        self.descriptor: int | None = reports
        self._reports = reports
        kind, value = self._report() or (_FAILED, errno.EAGAIN)
        if kind == _FAILED:
            self.close()
            raise OSError(value, os.strerror(value), argv[0])
        self.pid = value
        os.set_blocking(reports, False)

    def poll(self) -> int | None:
        """See `process.Process`."""
        try:
            report = self._report()
        except BlockingIOError:
            return None
        if report is None:
            # Somebody has killed the process between: nobody can tell any more what becomes of the command.
            send(self.pid, signal.SIGKILL)
            return _KILLED_STATUS
        return report[1]

    def close(self) -> None:
        """See `process.Process`."""
        os.close(self._reports)
        os.close(self._release)
        os.waitpid(self._leader, 0)

    def _report(self) -> tuple[int, int] | None:
        data = os.read(self._reports, _REPORT.size)
        return _REPORT.unpack(data) if len(data) == _REPORT.size else None


def _lead(
    argv: Sequence[str],
    environment: Mapping[str, str],
    streams: Mapping[int, int],
    *,
    signals: Signals,
    reporter: int,
    waiter: int,
) -> NoReturn:
    """Lead the session of a command, in a forked process: start it, report what becomes of it, wait to be released."""
    try:
        signals.release()
        terminal = streams[0]
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        try:
            pid = spawn(argv, environment, streams)
        except OSError as error:
            os.write(reporter, _REPORT.pack(_FAILED, error.errno or errno.EAGAIN))
            os._exit(1)
        os.tcsetpgrp(terminal, pid)
        # In case that it wanted to read before it was allowed to.
        send(pid, signal.SIGCONT)
        # What we inherited and hold open has no end for those who read it.
        _close_all_but(terminal, reporter, waiter)
        os.write(reporter, _REPORT.pack(_STARTED, pid))
        while True:
            status = os.waitpid(pid, os.WUNTRACED)[1]
            if not os.WIFSTOPPED(status):
                break
            os.write(reporter, _REPORT.pack(_CHANGED, status))
        os.close(terminal)
        os.write(reporter, _REPORT.pack(_CHANGED, status))
        os.read(waiter, 1)
    finally:
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    first = 0
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))

"""Running a command as if we were not there: its output, its keys, its signals, and what becomes of it.

This knows nothing of events. What it has to get right is what `env`, `nice` and `time` never had to: they are, or look
like, the command itself. A command of ours runs in its own process group, so that a time-out reaches all of it and
Ctrl-C reaches it once: the system sends it to us, and we pass it on.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from .process import Process, is_alive, send
from .result import ERROR_CANCELLED, ERROR_SIGNAL, ERROR_TIMEOUT, EXIT_TIMEOUT, CommandResult
from .signals import PASSED_ON, Signals, name_of
from .wiring import Wiring

if TYPE_CHECKING:
    from .terminal import Terminal

# Between SIGTERM and SIGKILL. Below the ten seconds that container engines give us.
GRACE_SECONDS: Final = 5.0
# What a command leaves behind may have last words, like a `tee`.
_LINGER_SECONDS: Final = 1.0
# The system does not tell when the last process of a group has gone.
_GROUP_CHECK_SECONDS: Final = 0.02
_FOREGROUND_CHECK_SECONDS: Final = 0.25
_ENDING: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
# Not SIGINT and SIGQUIT: many commands take Ctrl-C for something else than their end.
_BOUNDED: Final = frozenset({signal.SIGHUP, signal.SIGTERM})
_WANTS_TERMINAL: Final = frozenset({signal.SIGTTIN, signal.SIGTTOU})


def run_command(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    signals: Signals,
    timeout_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> CommandResult:
    """Run a command to its end on our own stdin, stdout and stderr. Only for the main thread.

    Signals that we get are passed on to the command's process group. What it is told by SIGTERM or SIGHUP, or by a
    time-out, it has to do within the grace; then its process group is killed.

    Args:
        argv: The command and its arguments; not empty.
        environment: All variables of the command.
        signals: Entered.
        timeout_seconds: How long it may take.
        grace_seconds: Between SIGTERM and SIGKILL.
    """
    wiring = Wiring(signals)
    try:
        process = wiring.start(argv, environment)
    except OSError as error:
        wiring.close()
        return CommandResult.not_started(argv[0], error)
    attendance = _Attendance(process, wiring, signals, timeout_seconds, grace_seconds)
    status = attendance.attend()
    return attendance.result(status)


class _Attendance:
    """Everything that may happen while a command runs."""

    def __init__(
        self,
        process: Process,
        wiring: Wiring,
        signals: Signals,
        timeout_seconds: float | None,
        grace_seconds: float,
    ) -> None:
        self._process = process
        self._wiring = wiring
        self._keys = wiring.keys
        self._signals = signals
        self._timeout_seconds = timeout_seconds
        self._grace_seconds = grace_seconds
        self._timeout_at = inf if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._kill_at = inf
        self._timed_out = False
        # What came to end the command.
        self._told: list[int] = []
        self._lent: Terminal | None = None

    def attend(self) -> int:
        """Return the status with which the command ended; all that it wrote has been passed on."""
        try:
            # First the modes: what is shown before that gets its line ends twice.
            self._take_terminal()
            self._wiring.relay()
            status = self._attend_process()
            # What is typed from now on is for whoever comes after the command.
            self._keys = None
            self._wiring.release()
            if self._timed_out:
                self._attend_group()
            self._attend_relays()
        finally:
            if self._wiring.keys is not None:
                self._wiring.keys.end()
            if self._lent is not None:
                self._lent.take_back()
        self._process.close()
        self._wiring.close()
        return status

    def _attend_process(self) -> int:
        while True:
            self._wait(min(self._timeout_at, self._kill_at))
            status = self._process.poll()
            if status is None:
                self._keep_time()
            elif os.WIFSTOPPED(status):
                self._stop(os.WSTOPSIG(status))
            else:
                return status

    def _attend_group(self) -> None:
        """See to it that nothing outlives a time-out."""
        while self._kill_at < inf and is_alive(self._process.pid):
            self._wait(min(self._kill_at, time.monotonic() + _GROUP_CHECK_SECONDS))
            self._keep_time()

    def _attend_relays(self) -> None:
        """Pass on what is left, however slowly it is read, unless somebody wants us to end."""
        told = len(self._told)
        now = time.monotonic()
        stop_at = now + _LINGER_SECONDS
        leave_at = now + self._grace_seconds if told or self._timed_out else inf
        relays = self._wiring.relays.values()
        while not all(relay.ended for relay in relays):
            self._wait(min(stop_at, leave_at))
            now = time.monotonic()
            if now >= leave_at or len(self._told) > told:
                return
            if now >= stop_at:
                stop_at = inf
                for relay in relays:
                    relay.stop()

    def _wait(self, until: float) -> None:
        """Wait for something to happen, or for a time, and see to signals and keys."""
        poll = select.poll()
        poll.register(self._signals.descriptor, select.POLLIN)
        if self._process.descriptor is not None:
            poll.register(self._process.descriptor, select.POLLIN)
        keys = self._keys
        if keys is not None and not keys.has_terminal:
            # A shell does not tell a job that is brought to the foreground and was not stopped.
            until = min(until, time.monotonic() + _FOREGROUND_CHECK_SECONDS)
            keys.begin()
        for descriptor, events in keys.events.items() if keys is not None else ():
            poll.register(descriptor, events)
        milliseconds = None if until == inf else max(0, ceil((until - time.monotonic()) * 1000))
        ready = {descriptor for descriptor, _ in poll.poll(milliseconds)}
        for number in self._signals.take():
            self._on_signal(number)
        if keys is not None:
            keys.pass_on(ready)
            if keys.ended and signal.SIGHUP not in self._told:
                self._on_signal(signal.SIGHUP)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._wiring.resize()
            if self._keys is None:
                # No terminal tells it.
                send(self._process.pid, number)
        elif number == signal.SIGCONT:
            self._resume()
        elif number in PASSED_ON:
            send(self._process.pid, number)
        if number in _ENDING:
            self._told.append(number)
        if number in _BOUNDED:
            self._kill_at = min(self._kill_at, time.monotonic() + self._grace_seconds)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if now >= self._timeout_at:
            self._timeout_at = inf
            self._timed_out = True
            self._kill_at = now + self._grace_seconds
            send(self._process.pid, signal.SIGTERM)
            # A stopped one could not obey.
            send(self._process.pid, signal.SIGCONT)
        elif now >= self._kill_at:
            self._kill_at = inf
            send(self._process.pid, signal.SIGKILL)

    def _stop(self, number: int) -> None:
        """Stop as the command has stopped, so that a shell sees it; go on when we are continued."""
        if number in _WANTS_TERMINAL and self._keys is None and self._lend_terminal():
            return
        arrived = self._signals.take()
        for signalled in arrived:
            self._on_signal(signalled)
        if signal.SIGCONT in arrived:
            # A shell that saw others of the job stop has continued it already: nobody would continue us once more.
            return
        has_terminal = self._keys is not None or self._lent is not None
        self._leave_terminal()
        stopping = number if number in _WANTS_TERMINAL else signal.SIGTSTP
        for signalled in self._signals.stop_us(stopping, group=has_terminal):
            self._on_signal(signalled)
        if number == signal.SIGTSTP:
            # Also where the system did not stop us, because nobody could continue us: nor the command, then.
            self._resume()

    def _resume(self) -> None:
        self._take_terminal()
        send(self._process.pid, signal.SIGCONT)

    def _take_terminal(self) -> None:
        if self._keys is not None:
            self._wiring.resize()
            self._keys.begin()
        elif self._lent is not None:
            self._lent.lend(self._process.pid)

    def _leave_terminal(self) -> None:
        if self._keys is not None:
            self._keys.end()
        elif self._lent is not None:
            self._lent.take_back()

    def _lend_terminal(self) -> bool:
        """Let the command, which was stopped for wanting the terminal that we were started on, have it."""
        from .terminal import Terminal  # noqa: PLC0415  # see Wiring

        with suppress(OSError):
            terminal = self._lent or Terminal(os.open(os.ctermid(), os.O_RDWR | os.O_CLOEXEC))
            if terminal.lend(self._process.pid):
                self._lent = terminal
                send(self._process.pid, signal.SIGCONT)
                return True
        return False

    def result(self, status: int) -> CommandResult:
        """Return what became of a command that ended with this status."""
        code = os.waitstatus_to_exitcode(status)
        error_type = error_message = None
        end = f"ended by {name_of(-code)}" if code < 0 else f"exit code {code}"
        if self._timed_out:
            error_type, error_message = ERROR_TIMEOUT, f"timed out after {self._timeout_seconds:g} s, {end}"
            code = EXIT_TIMEOUT
        elif code < 0:
            error_type, error_message = ERROR_SIGNAL, end
        elif code > 0 and self._told:
            error_type, error_message = ERROR_CANCELLED, f"{end} after {name_of(self._told[-1])}"
        return CommandResult(
            exit_code=code,
            error_type=error_type,
            error_message=error_message,
            pid=self._process.pid,
            stdout=self._wiring.preview(1),
            stderr=self._wiring.preview(2),
        )

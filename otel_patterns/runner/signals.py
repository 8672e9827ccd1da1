"""Signals as something to read: none of them acts while a command runs, each is passed on by whoever reads them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing_extensions import Self

# What is meant for the command as much as for us, and would end or stop us before the run is on record.
PASSED_ON: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)
_TAKEN: Final = (*PASSED_ON, signal.SIGCONT, signal.SIGWINCH, signal.SIGCHLD)
_WAKE: Final = b"\0"


class Signals:
    """While this is entered, signals that arrive wait to be taken. Only for the main thread.

    What our caller made us ignore, as `nohup` does, stays ignored, here and in the command.

    Attributes:
        descriptor: Readable when there is something to take.
    """

    def __init__(self) -> None:
        self.descriptor = -1
        self._writer = -1
        self._former_wakeup = -1
        self._former: dict[int, object] = {}

    def __enter__(self) -> Self:
        self.descriptor, self._writer = os.pipe()
        for descriptor in (self.descriptor, self._writer):
            os.set_blocking(descriptor, False)
        self._former_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _TAKEN:
            # An ignored SIGCHLD is another matter: the system would throw the command's exit code away.
            if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                self._former[number] = signal.signal(number, _wait_to_be_taken)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        writer, self._writer = self._writer, -1
        os.close(self.descriptor)
        os.close(writer)

    def release(self) -> None:
        """Let signals act again as they did before; in a forked process too, which must not write into our pipe."""
        signal.set_wakeup_fd(self._former_wakeup)
        for number, former in self._former.items():
            # None: a handler that was not set from Python cannot be set again.
            signal.signal(number, former if callable(former) or isinstance(former, int) else signal.SIG_DFL)
        self._former = {}

    def take(self) -> Sequence[int]:
        """Return the signals that have arrived since the last call."""
        try:
            return [number for number in os.read(self.descriptor, 4096) if number != _WAKE[0]]
        except BlockingIOError:
            return ()

    def wake(self) -> None:
        """Make `descriptor` readable from another thread."""
        # Full: whoever reads it will wake up anyway. Closed: a relay has outlived the command.
        with suppress(OSError):
            os.write(self._writer, _WAKE)

    def stop_us(self, number: int, *, group: bool) -> Sequence[int]:
        """Stop this process as the signal does by default, or its whole process group; return when it goes on.

        The system ignores it where nobody could continue us. Nor do we stop when we are continued just before: nobody
        would do it once more.

        Returns:
            The signals that have arrived since the last call of `take`.
        """
        # What the others get is none of ours.
        former = signal.signal(number, signal.SIG_IGN)
        try:
            if group:
                os.killpg(os.getpgrp(), number)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
            try:
                signal.signal(number, signal.SIG_DFL)
                # For this thread: any other would not wait until it is let through. A SIGCONT that comes from here on
                # takes it back; one that came before can be taken by now.
                signal.pthread_kill(threading.get_ident(), number)
                arrived = self.take()
                if signal.SIGCONT in arrived:
                    # Drops it.
                    signal.signal(number, signal.SIG_IGN)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finally:
            signal.signal(number, former)
        return arrived


def name_of(number: int) -> str:
    """Return the name of a signal, like `SIGTERM`."""
    try:
        return signal.Signals(number).name
    except ValueError:
        # Real-time signals have none.
        return f"signal {number}"


def _wait_to_be_taken(number: int, frame: FrameType | None) -> None:
    """Do nothing: the number is in the pipe already."""

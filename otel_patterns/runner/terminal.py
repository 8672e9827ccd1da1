"""The terminal we were started on, and terminals of our own that stand between it and a command."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Container, Generator
from contextlib import contextmanager, suppress
from typing import Any, Final

# Input that the command has not read; more is left in the outer terminal.
_MAX_PENDING: Final = 4096
# A terminal takes this many at once whatever it holds.
_INPUT_BYTES: Final = 256
_OFLAG: Final = 1


class Terminal:
    """The outer terminal: its modes, its size, and which process group may read from it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._modes: list[Any] | None = None

    def is_foreground(self) -> bool:
        """Tell whether our process group may read; also where no job control says that it may not."""
        try:
            return os.tcgetpgrp(self.descriptor) == os.getpgrp()
        except OSError:
            return True

    def make_raw(self) -> bool:
        """Let every key through as it is, and tell whether that was done: in the background it is not."""
        if not self.is_foreground():
            return False
        with suppress(termios.error):
            modes = termios.tcgetattr(self.descriptor)
            tty.setraw(self.descriptor, termios.TCSANOW)
            self._modes = modes
            return True
        return False

    def restore(self) -> None:
        """Give the terminal its modes back."""
        modes, self._modes = self._modes, None
        if modes is not None:
            with suppress(termios.error), _allowed_in_the_background():
                termios.tcsetattr(self.descriptor, termios.TCSANOW, modes)

    def lend(self, group: int) -> bool:
        """Make a process group the one that may read, if we are it; tell whether that was done."""
        if not self.is_foreground():
            return False
        with suppress(OSError):
            os.tcsetpgrp(self.descriptor, group)
            return True
        return False

    def take_back(self) -> None:
        """Make our process group the one that may read."""
        with suppress(OSError), _allowed_in_the_background():
            os.tcsetpgrp(self.descriptor, os.getpgrp())

    def copy_size(self, target: int) -> None:
        """Give another terminal the size of this one; the system tells its programs."""
        with suppress(OSError):
            size = fcntl.ioctl(self.descriptor, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(target, termios.TIOCSWINSZ, size)

    def open_copy(self, *, with_output_modes: bool) -> tuple[int, int]:
        r"""Return both ends, ours first, of a new terminal with the modes and the size of this one.

        Args:
            with_output_modes: Whether it makes `\r\n` of `\n`, as the outer one does unless it is raw.
        """
        ours, theirs = os.openpty()
        with suppress(termios.error):
            # In the background the outer modes are those of whoever has the foreground: a shell's, while it edits.
            modes = termios.tcgetattr(self.descriptor if self.is_foreground() else theirs)
            if not with_output_modes:
                modes[_OFLAG] &= ~termios.OPOST
            termios.tcsetattr(theirs, termios.TCSANOW, modes)
        self.copy_size(theirs)
        return ours, theirs


class Keys:
    """Passes on what is typed on a terminal. A command that does not read never makes us wait.

    Attributes:
        terminal: Where it is typed.
        target: Our end of the command's terminal.
        has_terminal: Whether all that is typed comes to us.
        ended: Whether the terminal has gone.
    """

    def __init__(self, terminal: Terminal, target: int) -> None:
        self.terminal = terminal
        self.target = target
        self.ended = False
        self.has_terminal = False
        self._pending = b""
        # Shared with the relay of the command's output, which expects it.
        os.set_blocking(target, False)

    def begin(self) -> None:
        """Let every key through, unless we are in the background: then the keys are somebody else's."""
        self.has_terminal = self.has_terminal or self.terminal.make_raw()

    def end(self) -> None:
        """Give the terminal its modes back."""
        self.has_terminal = False
        self.terminal.restore()

    @property
    def events(self) -> dict[int, int]:
        """What to wait for, by descriptor."""
        wanted: dict[int, int] = {}
        if self.has_terminal and not self.ended and len(self._pending) < _MAX_PENDING:
            wanted[self.terminal.descriptor] = select.POLLIN
        if self._pending:
            wanted[self.target] = select.POLLOUT
        return wanted

    def pass_on(self, ready: Container[int]) -> None:
        """Read and write what is ready."""
        if self.terminal.descriptor in ready:
            try:
                typed = os.read(self.terminal.descriptor, _MAX_PENDING)
            except BlockingIOError:
                return
            except OSError:
                typed = b""
            self.ended = not typed
            self._pending += typed
        if self.target in ready:
            try:
                written = os.write(self.target, self._pending[:_INPUT_BYTES])
            except BlockingIOError:
                return
            except OSError:
                # The command has gone.
                written = len(self._pending)
            self._pending = self._pending[written:]


@contextmanager
def _allowed_in_the_background() -> Generator[None, None, None]:
    # A background process that changes a terminal is stopped by SIGTTOU, unless it blocks it.
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)

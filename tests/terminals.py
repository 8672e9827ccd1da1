"""A terminal with somebody at it: what he types, and what he sees."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# Far more than anything takes, so that a busy machine does not fail a test.
DEADLINE_SECONDS = 30.0
CTRL_C = "\x03"
CTRL_D = "\x04"
CTRL_Z = "\x1a"
CTRL_BACKSLASH = "\x1c"


class Screen:
    """The outer end of a terminal on which a program runs as leader of its own session.

    Attributes:
        process: The program.
        seen: All that it has shown so far.
    """

    def __init__(
        self, argv: Sequence[str], *, rows: int = 24, columns: int = 80, env: Mapping[str, str], cwd: str, **more: Any
    ) -> None:
        self._master, self.slave = os.openpty()
        self.resize(rows, columns, quietly=True)
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        self.process = subprocess.Popen(
            argv,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # there is no other way
            env=env,
            cwd=cwd,
            **(streams | more),
        )
        self.seen = b""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Wait until a text has been shown."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.seen.count(text.encode()) < times:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.seen!r}"
            assert self._read(0.1) or self.process.poll() is None or self.seen.count(text.encode()) >= times, (
                f"{text!r} was not shown, and the program has ended: {self.seen!r}"
            )

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            chunk = os.read(self._master, 65536)
        except OSError:
            return False
        self.seen += chunk
        return bool(chunk)

    def end(self) -> int:
        """Wait for the end of the program and return its exit code."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.seen!r}"
            self._read(0.05)
        while self._read(0):
            pass
        assert self.process.returncode is not None
        return self.process.returncode

    def resize(self, rows: int, columns: int, *, quietly: bool = False) -> None:
        """Change the size of the window; the system tells the program."""
        fcntl.ioctl(
            self.slave if quietly else self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0)
        )

    @property
    def modes(self) -> list[Any]:
        """The terminal's modes."""
        return termios.tcgetattr(self.slave)

    def wait_raw(self) -> None:
        """Wait until keys are passed on as they are."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.modes[3] & (termios.ISIG | termios.ICANON):
            assert time.monotonic() < deadline, f"the terminal does not become raw: {self.seen!r}"
            self._read(0.05)

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def close(self) -> None:
        """Kill what is left and close the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.slave)


@contextmanager
def screen(argv: Sequence[str], **more: Any) -> Generator[Screen, None, None]:
    """Yield a terminal on which a program runs."""
    opened = Screen(argv, **more)
    try:
        yield opened
    finally:
        opened.close()

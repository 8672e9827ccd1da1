"""Which of a command's streams go through pipes and which through terminals of their own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .preview import Preview
from .process import GroupProcess, Process
from .relay import Relay
from .signals import Signals

if TYPE_CHECKING:
    from .terminal import Keys, Terminal

_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Wiring:
    """Connects a command to our own streams, so that it sees terminals where we have terminals, and pipes elsewhere.

    With stdin and stdout on a terminal the command gets one for itself, with all that it may do with it. Else it
    inherits stdin, and only a stream that it writes to a terminal goes through another one. Where stdout and stderr are
    the same terminal, file or pipe they stay one stream: their order could not be kept in two.

    Attributes:
        relays: By descriptor; only that of stdout where stderr goes with it.
        keys: Passes on what is typed on the terminal; None when the command reads it itself.
    """

    def __init__(self, signals: Signals) -> None:
        self.relays: dict[int, Relay] = {}
        self.keys: Keys | None = None
        self._signals = signals
        self._terminals: list[tuple[Terminal, int]] = []
        self._streams: dict[int, int] = {}
        self._is_session = os.isatty(_STDIN) and os.isatty(_STDOUT)
        is_one = _is_same(_STDOUT, _STDERR)
        for target in (_STDOUT, _STDERR):
            if target == _STDERR and is_one:
                self._streams[_STDERR] = self._streams[_STDOUT]
            elif _is_open(target):
                self._connect(target)
        # The command's ends.
        self._theirs = set(self._streams.values())

    def _connect(self, target: int) -> None:
        crlf = False
        if os.isatty(target):
            # Commands in pipelines and jobs never see a terminal: they need not load what it takes.
            from .terminal import Keys, Terminal  # noqa: PLC0415

            crlf = self._is_session and target == _STDOUT
            terminal = Terminal(target)
            ours, theirs = terminal.open_copy(with_output_modes=crlf)
            self._terminals.append((terminal, ours))
            if crlf:
                self._streams[_STDIN] = theirs
                self.keys = Keys(terminal, ours)
        else:
            ours, theirs = os.pipe()
        self._streams[target] = theirs
        self.relays[target] = Relay(ours, target, Preview(crlf=crlf), self._signals.wake)

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> Process:
        """Start the command.

        Raises:
            OSError: It could not be started.
        """
        try:
            if self.keys is None:
                process: Process = GroupProcess(argv, environment, self._streams)
            else:
                from .session import SessionProcess  # noqa: PLC0415  # see _connect

                process = SessionProcess(argv, environment, self._streams, signals=self._signals)
        finally:
            # A terminal that nobody has open loses what was written to it; a pipe that we hold open has no end.
            kept = {self._streams[target] for target in self.relays if os.isatty(target)} if self.keys is None else ()
            self._close_theirs(self._theirs.difference(kept))
        return process

    def relay(self) -> None:
        """Begin to pass its output on."""
        for relay in self.relays.values():
            relay.start()

    def resize(self) -> None:
        """Give the command's terminals the size of ours."""
        for terminal, ours in self._terminals:
            terminal.copy_size(ours)

    def release(self) -> None:
        """Let go of the command's ends, so that its streams end when nobody else has them."""
        self._close_theirs(self._theirs)

    def _close_theirs(self, descriptors: Iterable[int]) -> None:
        for descriptor in tuple(descriptors):
            self._theirs.discard(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close what is not in use any more."""
        self.release()
        for relay in self.relays.values():
            relay.close()

    def preview(self, target: int) -> Preview | None:
        """Return what is kept of a stream."""
        relay = self.relays.get(target)
        return None if relay is None else relay.preview


def _is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False


def _is_same(one: int, other: int) -> bool:
    """Tell whether two descriptors lead to the same terminal, file or pipe; what goes to /dev/null has no order."""
    try:
        a, b = os.fstat(one), os.fstat(other)
    except OSError:
        return False
    if not os.path.samestat(a, b):
        return False
    return os.isatty(one) or not stat.S_ISCHR(a.st_mode)

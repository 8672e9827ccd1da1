"""What an append gives back: where the line is, and how safe it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from .cursor import Cursor

State = Literal["journaled", "spooled", "lost"]


class _Syncer(Protocol):
    def is_durable(self, ticket: int) -> bool: ...
    def wait(self, ticket: int, timeout_seconds: float) -> bool: ...
    def call_when_tried(self, callback: Callable[[], object]) -> None: ...


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where an appended line is; what `emit` returns.

    Attributes:
        state: `journaled`: in the kernel, survives any process's death. `spooled`: in this process's spool
            file, or else in its memory, until writing works again. `lost`: the spool was full.
        segment: The file that the line stands in, as cursors name it; empty unless journaled. It stays the same when
            the file is rotated or compressed.
        offset: Byte in it at which the line begins.
        size: How many bytes the line has, with its newline.
        syncer: For the package itself: who puts the line on disk; None when nobody was asked to.
        ticket: For the package itself: which of the syncer's lines it is.
    """

    state: State
    segment: str = ""
    offset: int = 0
    size: int = 0
    syncer: _Syncer | None = None
    ticket: int = 0

    @property
    def start(self) -> Cursor | None:
        """Cursor of the line's first byte; None unless journaled."""
        return Cursor(self.segment, self.offset) if self.segment else None

    @property
    def end(self) -> Cursor | None:
        """Cursor behind the line's newline; None unless journaled."""
        return Cursor(self.segment, self.offset + self.size) if self.segment else None

    @property
    def durable(self) -> bool:
        """Whether the line is known to be on disk by now: then it also survives a power cut."""
        return self.syncer is not None and self.syncer.is_durable(self.ticket)

    def wait(self, timeout_seconds: float) -> bool:
        """Have the line put on disk now, wait for that at most so long, and return whether it is there.

        Never true for a line that was written at level `os`: nobody was asked to put it on disk.

        Args:
            timeout_seconds: How long to wait.
        """
        return self.syncer is not None and self.syncer.wait(self.ticket, timeout_seconds)

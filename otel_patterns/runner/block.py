"""Blocks: a run, or a stage of it, while its code runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..journal.receipt import Receipt
    from .lifecycle import Lifecycle


class Block:
    """What is entered with `with` or `async with`, and in which a span of its own is current."""

    _lifecycle: Lifecycle

    def __enter__(self) -> Self:
        self._begin()
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(error)
        finally:
            # Also when a strict validation refuses the event that would have ended it.
            self.leave()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lifecycle = self._lifecycle
        lifecycle.waits = False
        try:
            self.__exit__(kind, error, trace)
        finally:
            lifecycle.waits = True
            if (awaited := lifecycle.take_awaited()) is not None:
                await _wait_for_disk(*awaited)

    def enter(self) -> None:
        """Make the block's span the current one. The `with` statement does it."""
        raise NotImplementedError

    def leave(self) -> None:
        """Make current again what was current before. The `with` statement does it."""
        raise NotImplementedError

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError


async def _wait_for_disk(receipt: Receipt, seconds: float) -> None:
    """Do what `receipt.wait` does, while the event loop goes on: what ends meanwhile shares the sync."""
    if receipt.syncer is None or receipt.durable:
        return
    # Loaded by whoever runs a loop of it; any other loop has to wait.
    asyncio = sys.modules.get("asyncio")
    loop = None
    if asyncio is not None:
        with suppress(RuntimeError):
            loop = asyncio.get_running_loop()
    if asyncio is None or loop is None:
        receipt.wait(seconds)
        return
    tried = asyncio.Event()

    def tell() -> None:
        # Closed meanwhile: nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tried.set)

    receipt.syncer.call_when_tried(tell)
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(tried.wait(), seconds)

"""Blocks: a run, or a stage of it, while its code runs."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class Block:
    """What is entered with `with` or `async with`, and in which a span of its own is current."""

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
        self.__exit__(kind, error, trace)

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

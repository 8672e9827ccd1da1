"""The ids of the events this process appended lately, for those who must not append a copy."""

from __future__ import annotations

from typing import ClassVar, Final

_GENERATION: Final = 10_000


class AppendedIds:
    """Remembers at least the last 10,000 ids, at most twice as many, and none before somebody wants them.

    Without a lock, because each step is one operation of a set: threads that meet when a generation ends may lose a few
    ids, which costs a copy of an event, and readers drop copies. A forked child keeps what its parent appended.

    Attributes:
        wanted: Whether ids are kept, in every journal of the process: who wants them may not know the journal yet.
    """

    wanted: ClassVar[bool] = False

    def __init__(self) -> None:
        self._latest: set[str] = set()
        self._former: set[str] = set()

    def add(self, event_id: str) -> None:
        """Remember an id, when ids are wanted."""
        if not AppendedIds.wanted:
            return
        if len(self._latest) >= _GENERATION:
            self._former, self._latest = self._latest, set()
        self._latest.add(event_id)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._latest or event_id in self._former

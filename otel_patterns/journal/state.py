"""What a journal's writers must remember beside its lines: one small JSON file, replaced as a whole.

It holds counts alone. When it is lost or damaged nothing but counts is lost: numbers of segments are also seen from
the files that are there.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

from ..model.values import as_object
from .descriptor import make_directory, sync_directory

ACKNOWLEDGED: Final = "acknowledged"
_FILE_MODE: Final = 0o600


class JournalState:
    """The state file of a journal, `<journal>.state`. Whoever changes it holds the journal's lock."""

    def __init__(self, journal_path: str) -> None:
        self.path = f"{journal_path}.state"

    def load(self) -> dict[str, Any]:
        """Return what it holds; nothing when it is missing or damaged."""
        try:
            with open(self.path, encoding="utf-8") as file:
                state = json.load(file)
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON

    def save(self, state: dict[str, Any]) -> None:
        """Replace what it holds. After a crash it holds either.

        Raises:
            OSError: It cannot be written.
        """
        replace_file(self.path, json.dumps(state, sort_keys=True).encode() + b"\n")

    def number(self, key: str) -> int:
        """Return one of its numbers; zero when it is not there."""
        value = self.load().get(key)
        return value if isinstance(value, int) else 0

    def acknowledged(self, key: str) -> int:
        """Return how much of one of its numbers somebody has taken note of."""
        value = (as_object(self.load().get(ACKNOWLEDGED)) or {}).get(key)
        return value if isinstance(value, int) else 0


def replace_file(path: str, data: bytes) -> None:
    """Write a file whole or not at all, and on disk at return.

    Raises:
        OSError: It cannot be written; the former one is still there.
    """
    directory = os.path.dirname(path)
    make_directory(directory)
    temporary = f"{path}.{os.getpid()}.tmp"
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(number, view) :]
            os.fsync(number)
        finally:
            os.close(number)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(directory)

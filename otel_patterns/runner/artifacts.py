"""Which files a command has made: those that match and are new or other than before."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Final

MAX_ARTIFACTS: Final = 1000

_State = tuple[int, int, int]


class Artifacts:
    """Remembers the files that match when it is made, and tells afterwards which were created or changed.

    Args:
        patterns: As a shell has them, with `**` for any folders; relative to the working directory.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._folder = ""
        try:
            # Asked now: the command may take its folder away.
            self._folder = os.getcwd() if patterns else ""
        except OSError:
            self._patterns = ()
        self._before = self._matches()

    def changed(self) -> list[str]:
        """Return the paths of files created or changed since, sorted; those below the working directory relative."""
        changed = {path for path, state in self._matches().items() if self._before.get(path) != state}
        return sorted(changed)[:MAX_ARTIFACTS]

    def _matches(self) -> dict[str, _State]:
        if not self._patterns:
            return {}
        import glob  # noqa: PLC0415  # most commands have no patterns

        found: dict[str, _State] = {}
        for pattern in self._patterns:
            for match in glob.iglob(pattern, root_dir=self._folder, recursive=True):
                if (state := _state_of(os.path.join(self._folder, match))) is not None:
                    found[self._shown(match)] = state
        return found

    def _shown(self, match: str) -> str:
        relative = os.path.relpath(os.path.join(self._folder, match), self._folder)
        return match if os.path.isabs(match) and relative.startswith(os.pardir) else relative


def _state_of(path: str) -> _State | None:
    """Return what differs when a file was written again; None when it is no file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None

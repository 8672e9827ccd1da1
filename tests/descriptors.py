"""What a process holds open. Threads of earlier tests may close theirs at any time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def opened_below(path: Path) -> list[str]:
    """Return the files that this process has open, once for each descriptor, that are `path` or stand below it."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in found if link == str(path) or link.startswith(f"{path}/")]

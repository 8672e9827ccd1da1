"""What identifies a process beyond its life, and whether such a process still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def writer_of(pid: int) -> dict[str, Any]:
    """Return what identifies a process of this host: `host`, `boot`, `pid`, `start` (in clock ticks since boot).

    Without procfs (macOS) `boot` and `start` are left out.
    """
    writer: dict[str, Any] = {"host": os.uname().nodename, "pid": pid}
    if (boot := _boot_id()) and (start := _start_of(pid)) is not None:
        writer["boot"], writer["start"] = boot, start
    return writer


def is_gone(writer: Mapping[str, Any]) -> bool | None:
    """Tell whether the process that `writer_of` described has ended; None when that cannot be told from here.

    It can be told of this host since its last start. A process of another one, or one that recorded less, may live or
    not. So may one behind a reboot: two machines may have one name.
    """
    host, boot, pid, start = (writer.get(name) for name in ("host", "boot", "pid", "start"))
    if type(pid) is not int or type(start) is not int or pid <= 0:
        return None
    if host != os.uname().nodename or not boot or boot != _boot_id():
        return None
    # A number is given to another process some time after: that one started later.
    return _start_of(pid) != start


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None when there is none, or when it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The second field is the program's name, which may hold spaces and parentheses.
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None

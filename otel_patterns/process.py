"""What identifies a process beyond its life, whether such a process still lives, and how it forks."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from importlib import import_module
from typing import Any, Final

# Longer than any of our modules takes to load.
_FORK_SECONDS: Final = 5.0
_loading = threading.RLock()
_is_watching_forks = False
_is_held_for_fork = False


def loading() -> AbstractContextManager[bool]:
    """Return the lock that is held while modules are loaded that `emit` needs, in whichever thread needs them first.

    A fork waits for it. Otherwise its child, in which that thread does not exist, would wait for the module for ever.
    """
    global _is_watching_forks  # noqa: PLW0603  # forks are the process's own
    if not _is_watching_forks:
        with _loading:
            if not _is_watching_forks:
                # It has a lock taken before a fork that loading a module may need. What is registered last comes first.
                import_module("logging")
                os.register_at_fork(
                    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
                )
                _is_watching_forks = True
    return _loading


def _before_fork() -> None:
    global _is_held_for_fork  # noqa: PLW0603  # as above
    _is_held_for_fork = _loading.acquire(timeout=_FORK_SECONDS)


def _after_fork_in_parent() -> None:
    if _is_held_for_fork:
        _loading.release()


def _after_fork_in_child() -> None:
    global _loading  # noqa: PLW0603  # as above
    _loading = threading.RLock()


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
        # As bytes: a codec would be loaded by whichever thread comes first.
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode("ascii", "replace").strip()
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

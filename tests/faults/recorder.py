"""A writer of which every change on disk is recorded: `python -m tests.faults.recorder <root> <recording>`.

The scenario has lines of all levels of durability, two writers, rotation, a write and a sync that fail, a spool file,
compressed and deleted segments.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_patterns.journal import append as append_module
from otel_patterns.journal.append import Journal
from otel_patterns.journal.compress import compress
from otel_patterns.journal.descriptor import make_directory
from otel_patterns.journal.prune import delete_segments
from otel_patterns.journal.read import read_documents
from otel_patterns.journal.receipt import Receipt
from otel_patterns.journal.rotation import Rotation
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.settings import Durability
from tests.faults.images import Call
from tests.faults.writers import line_of

JOURNAL = "events/pattern_events.jsonl"


class Recorder:
    """Takes the place of the functions of `os` by which files are changed.

    Attributes:
        calls: What was done below the root, in order.
        fail: What fails when it is called next: `write` of the active file, after half of the data; `fdatasync` of the
            active file; `late fdatasync`, of a sealed one.
    """

    def __init__(self, root: str) -> None:
        self.calls: list[Call] = []
        self.fail: set[str] = set()
        self._root = os.path.realpath(root)
        self._numbers: dict[int, int] = {}
        self._contents: dict[int, int] = {}
        # One call at a time, so that the order on record is the one in which they happened.
        self._lock = threading.RLock()
        self._real: dict[str, Callable[..., Any]] = {}
        for name in ("open", "write", "ftruncate", "rename", "unlink", "mkdir", "fsync", "fdatasync"):
            self._real[name] = getattr(os, name)
            setattr(os, name, self._locked(getattr(self, f"_{name}")))

    def _locked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def call_locked(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                return call(*arguments, **options)

        return call_locked

    def note(self, kind: str, name: str, data: bytes = b"") -> None:
        """Record what the scenario says of itself."""
        with self._lock:
            self.calls.append(Call(kind, name, data=data))

    def _name(self, path: Any) -> str | None:
        """Return the path below the root; None when it is elsewhere."""
        full = os.path.abspath(os.fsdecode(path))
        return os.path.relpath(full, self._root) if full.startswith(self._root + os.sep) else None

    def _opened(self, descriptor: int) -> tuple[str, int | None]:
        """Return the path and our number of an opened file."""
        path = os.readlink(f"/proc/self/fd/{descriptor}").removesuffix(" (deleted)")
        return path, self._numbers.get(os.fstat(descriptor).st_ino)

    def _open(self, path: Any, flags: int, *mode: Any, **options: Any) -> int:
        name = self._name(path)
        is_new = name is not None and bool(flags & os.O_CREAT) and not os.path.lexists(path)
        descriptor = self._real["open"](path, flags, *mode, **options)
        if name is not None and is_new:
            number = len(self._contents)
            self._contents[number] = 0
            self._numbers[os.fstat(descriptor).st_ino] = number
            self.calls.append(Call("link", name, file=number))
        return descriptor

    def _write(self, descriptor: int, data: Any) -> int:
        path, number = self._opened(descriptor)
        if number is not None and "write" in self.fail and path.endswith(JOURNAL):
            if len(data) > 1000:
                data = bytes(data)[: len(data) // 2]
            else:
                self.fail.discard("write")
                raise OSError(errno.ENOSPC, "No space left on device")
        written = self._real["write"](descriptor, data)
        if number is not None:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) - written
            self._changed(number, Call("write", file=number, offset=offset, data=bytes(data)[:written]))
        return written

    def _ftruncate(self, descriptor: int, size: int) -> None:
        self._real["ftruncate"](descriptor, size)
        _, number = self._opened(descriptor)
        if number is not None:
            self._contents[number] = size
            self.calls.append(Call("truncate", file=number, offset=size))

    def _changed(self, number: int, call: Call) -> None:
        self._contents[number] = max(self._contents[number], call.offset + len(call.data))
        self.calls.append(call)

    def _rename(self, source: Any, target: Any, **options: Any) -> None:
        self._real["rename"](source, target, **options)
        name = self._name(source)
        if name is not None:
            self.calls.append(Call("rename", name, self._name(target) or ""))

    def _unlink(self, path: Any, **options: Any) -> None:
        self._real["unlink"](path, **options)
        if (name := self._name(path)) is not None:
            self.calls.append(Call("unlink", name))

    def _mkdir(self, path: Any, *mode: Any, **options: Any) -> None:
        self._real["mkdir"](path, *mode, **options)
        if (name := self._name(path)) is not None:
            self.calls.append(Call("mkdir", name))

    def _fdatasync(self, descriptor: int) -> None:
        path, number = self._opened(descriptor)
        fault = "fdatasync" if path.endswith(JOURNAL) else "late fdatasync"
        if number is not None and fault in self.fail:
            self.fail.discard(fault)
            self.calls.append(Call("failed_sync", file=number))
            raise OSError(errno.EIO, "Input/output error")
        self._real["fdatasync"](descriptor)
        if number is not None:
            self._synced(descriptor, number)

    def _fsync(self, descriptor: int) -> None:
        self._real["fsync"](descriptor)
        path, number = self._opened(descriptor)
        if number is not None:
            self._synced(descriptor, number)
        elif os.path.isdir(path) and (path == self._root or self._name(path) is not None):
            self.calls.append(Call("sync_directory", "" if path == self._root else self._name(path) or ""))

    def _synced(self, descriptor: int, number: int) -> None:
        # What was written by other means than `os.write`, as compressed files are.
        size, known = os.fstat(descriptor).st_size, self._contents[number]
        if size > known:
            with open(f"/proc/self/fd/{descriptor}", "rb") as file:
                file.seek(known)
                self._changed(number, Call("write", file=number, offset=known, data=file.read()))
        self.calls.append(Call("sync", file=number))


class Scenario:
    """Appends lines and says of each when it is about to be written and when it was reported durable."""

    def __init__(self, recorder: Recorder, path: str) -> None:
        self.recorder = recorder
        self.path = path
        self.number = 0
        self.receipts: dict[str, Receipt] = {}
        self.states: list[str] = []

    def append(self, journal: Journal, level: Durability, count: int, *, largest: int = 700) -> None:
        """Append lines of one level."""
        for _ in range(count):
            line = line_of("w", self.number, largest=largest)
            event_id = f"EVT-w.{self.number}"
            self.recorder.note("emit", event_id, line)
            self.receipts[event_id] = journal.append(line, durability=level)
            self.states.append(self.receipts[event_id].state)
            self.number += 1
            self.look()

    def begin_as_killed_writer(self) -> None:
        """Make the active file and write a line, as a writer does that is killed before it syncs anything."""
        line, event_id = line_of("w", self.number), f"EVT-w.{self.number}"
        self.recorder.note("emit", event_id, line)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, line)
        os.close(descriptor)
        self.number += 1

    def look(self) -> None:
        """Record which lines are reported durable by now."""
        for event_id, receipt in list(self.receipts.items()):
            if receipt.durable:
                self.recorder.note("durable", event_id)
                del self.receipts[event_id]

    def sync(self, journal: Journal) -> None:
        """Have what waits put on disk."""
        assert journal.sync(10)
        self.look()

    def prune(self, count: int) -> None:
        """Delete the oldest segments."""
        segments = sealed_segments(self.path)[:count]
        for segment in segments:
            for _, document in read_documents(segment.path):
                self.recorder.note("release", document["event_id"])
        delete_segments(self.path, segments)


def play(root: str) -> tuple[list[Call], dict[str, Any]]:
    """Play the scenario and return what was recorded, and what happened."""
    append_module._RETRY_SECONDS = 0.0  # pyright: ignore[reportPrivateUsage]  # nobody waits for the next try
    recorder = Recorder(root)
    path = os.path.join(os.path.realpath(root), JOURNAL)
    journal, other = Journal(path), Journal(path)
    for writer in (journal, other):
        writer.rotate(5000)
        writer.spools_to_file = True
    scenario = Scenario(recorder, path)
    make_directory(os.path.dirname(path))
    scenario.begin_as_killed_writer()
    scenario.append(journal, "os", 4)
    scenario.append(journal, "each", 2)
    scenario.append(other, "group", 3)
    scenario.append(journal, "os", 2)
    scenario.sync(other)
    scenario.append(journal, "each", 4)
    scenario.append(other, "each", 2, largest=1800)
    recorder.fail.add("write")
    scenario.append(journal, "each", 3, largest=1500)
    scenario.append(journal, "each", 2)
    scenario.append(other, "os", 3)
    recorder.fail.add("fdatasync")
    scenario.append(journal, "each", 2)
    scenario.sync(journal)
    # A file that is left fails to sync while the next one, of a writer that was killed, is not on disk by name.
    Rotation(path).seal()
    scenario.begin_as_killed_writer()
    recorder.fail.add("late fdatasync")
    scenario.append(journal, "each", 2)
    scenario.sync(journal)
    scenario.append(other, "each", 2)
    for segment in sealed_segments(path)[:2]:
        compress(path, segment, "gzip")
    scenario.append(journal, "each", 3)
    scenario.prune(2)
    scenario.append(other, "group", 4)
    scenario.sync(other)
    scenario.append(journal, "os", 3)
    for writer in (journal, other):
        writer.close()
    happened = {"states": scenario.states, "counts": journal.guard.counts, "left": sorted(recorder.fail)}
    return recorder.calls, happened


if __name__ == "__main__":
    recorded, story = play(sys.argv[1])
    Path(sys.argv[2]).write_text("".join(f"{call.to_json()}\n" for call in recorded), encoding="utf-8")
    sys.stdout.write(json.dumps(story))

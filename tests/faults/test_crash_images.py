"""J18, power loss: every state of the disk that a power cut may leave of a journal is read, and keeps its promises.

The writer's calls are recorded. Of each prefix of them images are made: what was not synced is there, or not, or in
part, or as NUL bytes or garbage; names that were not synced are there or not.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.journal.append import Journal
from otel_patterns.journal.check import check
from otel_patterns.journal.read import Filter, read_documents, read_last
from otel_patterns.journal.runs import read_runs
from otel_patterns.settings import Durability
from tests.faults.writers import line_of

IMAGES_AT_LEAST = 1000
NAME = "pattern_events.jsonl"


@dataclass
class Disk:
    """Files by inode as they are, how much of each is on disk, and names as they are and as they are on disk."""

    data: dict[int, bytes] = field(default_factory=dict[int, bytes])
    synced: dict[int, bytes] = field(default_factory=dict[int, bytes])
    names: dict[str, int] = field(default_factory=dict[str, int])
    synced_names: dict[str, int] = field(default_factory=dict[str, int])

    def copy(self) -> Disk:
        """Return the same state, to be changed."""
        return Disk(dict(self.data), dict(self.synced), dict(self.names), dict(self.synced_names))


@dataclass
class State:
    """What a power cut at one moment finds: the disk, and the lines that were reported to be on it."""

    disk: Disk
    durable: frozenset[bytes]


class Recorder:
    """Records the calls by which a directory is changed, as the states that they lead to."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.states: list[State] = []
        self.durable: set[bytes] = set()
        self.calls: Counter[str] = Counter()
        self._directory = str(directory)
        self._disk = Disk()
        for name in ("open", "write", "ftruncate", "rename", "unlink", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._wrapped(name, getattr(os, name)))

    def note_durable(self, line: bytes) -> None:
        """Note that a line was reported to be on disk."""
        self.durable.add(line)
        self._keep()

    def _keep(self) -> None:
        self.states.append(State(self._disk.copy(), frozenset(self.durable)))

    def _wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            result = function(*arguments, **more)
            if self._follow(name, arguments, result):
                self.calls[name] += 1
                self._keep()
            return result

        return call

    def _follow(self, name: str, arguments: tuple[Any, ...], result: Any) -> bool:
        """Change the disk as a call did, and tell whether it was one of this directory."""
        disk = self._disk
        if name in ("open", "rename", "unlink"):
            path = str(arguments[0])
            if not path.startswith(self._directory + "/"):
                return False
            key = path[len(self._directory) + 1 :]
            if name == "open":
                if not arguments[1] & os.O_CREAT or key in disk.names:
                    return False
                inode = os.fstat(result).st_ino
                disk.names[key] = inode
                disk.data[inode] = disk.synced[inode] = b""
            elif name == "rename":
                disk.names[arguments[1][len(self._directory) + 1 :]] = disk.names.pop(key)
            else:
                disk.names.pop(key, None)
            return True
        status = os.fstat(arguments[0])
        if stat.S_ISDIR(status.st_mode):
            disk.synced_names = dict(disk.names)
            return name in ("fsync", "fdatasync")
        inode = status.st_ino
        if inode not in disk.data:
            return False
        if name == "write":
            disk.data[inode] += bytes(arguments[1][:result])
        elif name == "ftruncate":
            disk.data[inode] = disk.data[inode][: arguments[1]]
        else:
            disk.synced[inode] = disk.data[inode]
        return True


def tails(data: bytes, synced: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what may be there of a file."""
    yield "all", data
    if len(data) > len(synced) and data.startswith(synced):
        rest = data[len(synced) :]
        yield "lost", synced
        yield "torn", synced + rest[: len(rest) // 2]
        yield "torn early", synced + rest[: len(rest) // 5]
        yield "torn at its end", data[:-1]
        yield "zeros", synced + bytes(len(rest))
        yield "zeros in between", synced + bytes(len(rest) // 2) + rest[len(rest) // 2 :]
        yield "garbage", synced + bytes((byte * 7 + 13) % 256 for byte in rest)


def images(state: State) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield each image that a power cut may leave of a state, by what happened to it."""
    disk = state.disk
    for known, names in (("names", disk.names), ("names lost", disk.synced_names)):
        if known == "names lost" and names == disk.names:
            continue
        kinds = {kind for inode in names.values() for kind, _ in tails(disk.data[inode], disk.synced[inode])}
        for kind in sorted(kinds):
            files: dict[str, bytes] = {}
            for name, inode in names.items():
                found = dict(tails(disk.data[inode], disk.synced[inode]))
                files[name] = found.get(kind, disk.data[inode])
            yield f"{known}, {kind}", files


def write_journal(path: Path, recorder: Recorder) -> dict[bytes, int]:
    """Write a journal at all levels of durability, over several segments, and return its lines."""
    lines: dict[bytes, int] = {}
    journal = Journal(path)
    levels: tuple[Durability, ...] = ("each", "os", "group", "each", "os", "each")
    for number in range(110):
        if number == 6:
            journal.rotate(max_bytes=8000)
        line = line_of("w", number, largest=900)
        lines[line] = number
        receipt = journal.append(line, durability=levels[number % len(levels)], is_terminal=number % 5 == 0)
        if receipt.durable:
            recorder.note_durable(line)
    assert journal.sync(5)
    journal.close()
    return lines


def test_j18_every_image_of_a_power_cut_keeps_what_was_reported_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers never raise, what was reported durable is whole and there once, and nothing is read that nobody wrote."""
    source, target = tmp_path / "source", tmp_path / "image"
    source.mkdir()
    target.mkdir()
    with monkeypatch.context() as patch:
        recorder = Recorder(source, patch)
        lines = write_journal(source / NAME, recorder)
    assert len(recorder.durable) > 40
    assert recorder.calls["rename"] >= 3
    seen: set[tuple[tuple[str, bytes], ...]] = set()
    happened: Counter[str] = Counter()
    for state in recorder.states:
        for kind, files in images(state):
            key = (*sorted(files.items()), ("durable", b"".join(sorted(state.durable))))
            if key in seen:
                continue
            seen.add(key)
            found = read_image(target, files)
            assert found <= lines.keys(), f"{kind}: something was read that nobody wrote"
            assert state.durable <= found, f"{kind}: {len(state.durable - found)} lines that were on disk are gone"
            happened[kind] += 1
            happened["lines lost"] += len(found) < len(lines)
            happened["bad lines"] += any(True for _ in check(str(target / NAME)))
    print(f"{len(seen)} images of {len(recorder.states)} states: {dict(happened)}")
    assert len(seen) >= IMAGES_AT_LEAST
    assert happened["lines lost"] > 100
    assert happened["bad lines"] > 100


def read_image(directory: Path, files: dict[str, bytes]) -> set[bytes]:
    """Return the lines that readers find in an image, after checking that it can be written on."""
    for path in sorted(directory.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    path = directory / NAME
    documents = list(read_documents(path))
    ids = {document["event_id"] for _, document in documents}
    assert len(read_last(path, Filter(), 1000)) == len(documents)
    assert sum(len(run.events) for run in read_runs(path).values()) >= len(ids)
    journal = Journal(path)
    fresh = line_of("fresh", len(files))
    assert journal.append(fresh).state == "journaled"
    journal.close()
    assert fresh == [line for line, _ in read_documents(path)][-1].data + b"\n"
    return {line.data + b"\n" for line, _ in documents}

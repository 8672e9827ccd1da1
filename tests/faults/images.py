"""The disks that a power cut may leave: made from a recording of every call that changed a file or a directory.

What is assumed of a file system is little. Data that were synced are there. Of data that were not, any beginning is
there, cut at a sector, and behind it there is nothing, NUL bytes or garbage; or one sector of them is NUL bytes.
Entries of a directory that was not synced since are there or not: in the order in which they were made, or all but one
and those that build upon it. A rename is whole or has not happened. A file's sync says nothing about its name.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SECTOR_BYTES = 512
_DIRECTORY = -1


class Call(NamedTuple):
    """One recorded call, or what the scenario says of itself.

    `emit`: the line `data` of the event `name` is about to be appended. `durable`: the event was reported durable.
    `release`: the event is about to be deleted, so it is promised no more.
    """

    kind: str
    name: str = ""
    target: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""

    def to_json(self) -> str:
        """Return it as a line of a recording."""
        return json.dumps(self._replace(data=self.data.decode("latin-1")))  # pyright: ignore[reportArgumentType]  # bytes as text


def read_recording(path: Path) -> list[Call]:
    """Return the calls of a recording."""
    with path.open(encoding="utf-8") as file:
        return [Call(*fields[:5], data=fields[5].encode("latin-1")) for fields in map(json.loads, file)]


class Image(NamedTuple):
    """One possible disk, and what is true of it.

    Attributes:
        files: Every file's content by its path below the root; None: an empty directory.
        emitted: Every line that was ever appended, by event id.
        durable: The ids of the events that must be there.
        fault: What the power cut did, for a message.
    """

    files: dict[str, bytes | None]
    emitted: dict[str, bytes]
    durable: frozenset[str]
    fault: str

    def write_to(self, root: Path) -> None:
        """Make the files in an empty directory."""
        for name, content in self.files.items():
            path = root / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


class _File:
    """A file's content: on disk, and what was done to it since."""

    def __init__(self) -> None:
        self.synced = b""
        self.pending: list[Call] = []
        self.is_suspect = False

    @property
    def cached(self) -> bytes:
        return _changed(self.synced, self.pending)

    def sync(self) -> None:
        # After a sync has failed the kernel has dropped pages, and the next one that is said to be good covers nothing.
        if not self.is_suspect:
            self.synced, self.pending = self.cached, []

    def contents(self, seed: int) -> Iterator[tuple[str, bytes]]:
        """Yield what a power cut may leave of it."""
        # The same garbage at every look: else an old file would have new images for ever.
        chance = random.Random(seed)
        full = len(self.cached)
        for index, call in enumerate(self.pending):
            before = _changed(self.synced, self.pending[:index])
            yield "cut", before
            if call.kind != "write":
                continue
            whole = before[: call.offset] + call.data
            first = (call.offset // SECTOR_BYTES + 1) * SECTOR_BYTES
            for size in (call.offset, *range(first, len(whole), SECTOR_BYTES)):
                kept, lost = whole[:size], full - size
                yield "cut", kept
                if lost > 0:
                    yield "NUL tail", kept + b"\0" * lost
                    yield "garbage tail", kept + _garbage(lost, chance)
                    yield "garbage line", kept + _garbage(lost, chance)[:-1] + b"\n"
                    hole = min(size // SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES, full) - size
                    yield "NUL hole", kept + b"\0" * hole + self.cached[size + hole :]


def _changed(content: bytes, calls: Iterable[Call]) -> bytes:
    for call in calls:
        if call.kind == "write":
            content = (
                content[: call.offset].ljust(call.offset, b"\0") + call.data + content[call.offset + len(call.data) :]
            )
        else:
            content = content[: call.offset].ljust(call.offset, b"\0")
    return content


def _garbage(size: int, chance: random.Random) -> bytes:
    # Newlines among it, as in the blocks of other logs.
    return bytes(10 if byte > 250 else byte for byte in chance.randbytes(size))


class _Directory:
    """The entries of a directory: on disk, and what was done to them since."""

    def __init__(self) -> None:
        self.synced: dict[str, int] = {}
        self.pending: list[Call] = []

    @property
    def cached(self) -> dict[str, int]:
        return _relinked(self.synced, self.pending)

    def sync(self) -> None:
        self.synced, self.pending = self.cached, []

    def entries(self) -> Iterator[dict[str, int]]:
        """Yield what a power cut may leave of them."""
        for index, missing in enumerate(self.pending):
            yield _relinked(self.synced, self.pending[:index])
            names = {missing.name, missing.target} - {""}
            rest = self.pending[:index]
            for call in self.pending[index + 1 :]:
                touched = {call.name, call.target} - {""}
                if touched & names:
                    names |= touched
                else:
                    rest.append(call)
            yield _relinked(self.synced, rest)


def _relinked(entries: dict[str, int], calls: Iterable[Call]) -> dict[str, int]:
    entries = dict(entries)
    for call in calls:
        name = os.path.basename(call.name)
        if call.kind == "link":
            entries[name] = call.file
        elif call.kind == "unlink":
            entries.pop(name, None)
        elif name in entries:
            entries[os.path.basename(call.target)] = entries.pop(name)
    return entries


class Disk:
    """What is on disk, and what is only in the kernel, after so many calls."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._files: dict[int, _File] = {}
        self._directories: dict[str, _Directory] = {"": _Directory()}
        self._emitted: dict[str, bytes] = {}
        self._durable: set[str] = set()

    def apply(self, call: Call) -> None:
        """Do what a call did."""
        if call.kind in ("link", "unlink", "rename"):
            self._directories[os.path.dirname(call.name)].pending.append(call)
            if call.kind == "link":
                self._files[call.file] = _File()
        elif call.kind == "mkdir":
            linked = call._replace(kind="link", file=_DIRECTORY)
            self._directories[os.path.dirname(call.name)].pending.append(linked)
            self._directories[call.name] = _Directory()
        elif call.kind in ("write", "truncate"):
            self._files[call.file].pending.append(call)
        elif call.kind == "sync":
            self._files[call.file].sync()
        elif call.kind == "failed_sync":
            self._files[call.file].is_suspect = True
        elif call.kind == "sync_directory":
            self._directories[call.name].sync()
        elif call.kind == "emit":
            self._emitted[call.name] = call.data
        elif call.kind == "durable":
            self._durable.add(call.name)
        elif call.kind == "release":
            self._durable.discard(call.name)
        else:
            raise ValueError(call.kind)

    def images(self) -> Iterator[Image]:
        """Yield what the disk may look like when the power is cut now; some more than once."""
        cached = {number: file.cached for number, file in self._files.items()}
        synced = {number: file.synced for number, file in self._files.items()}
        present = {name: directory.cached for name, directory in self._directories.items()}
        absent = {name: directory.synced for name, directory in self._directories.items()}
        for contents in (cached, synced):
            yield self._image(present, contents, "everything or no data")
            yield self._image(absent, contents, "new entries lost")
            for name, directory in self._directories.items():
                for entries in directory.entries():
                    yield self._image({**present, name: entries}, contents, "new entries lost")
                    yield self._image({**absent, name: entries}, contents, "new entries lost")
        for number, file in self._files.items():
            for fault, content in file.contents(self._seed + number):
                for contents in (cached, synced):
                    for directories in (present, absent):
                        yield self._image(directories, {**contents, number: content}, fault)

    def _image(self, directories: dict[str, dict[str, int]], contents: dict[int, bytes], fault: str) -> Image:
        files: dict[str, bytes | None] = {}

        def add(directory: str) -> None:
            for name, number in directories[directory].items():
                path = os.path.join(directory, name)
                if number == _DIRECTORY:
                    files[path] = None
                    add(path)
                else:
                    files[path] = contents[number]

        add("")
        return Image(files, self._emitted, frozenset(self._durable), fault)


def distinct_images(calls: Iterable[Call], seed: int) -> Iterator[Image]:
    """Yield every image after any number of the calls, each once for each set of durable events."""
    disk = Disk(seed)
    seen: set[int] = set()
    for call in calls:
        disk.apply(call)
        for image in disk.images():
            key = hash((frozenset(image.files.items()), image.durable))
            if key not in seen:
                seen.add(key)
                yield image

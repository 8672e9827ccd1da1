"""Lines of a journal, what stands between them and the disk, and files that count what is read."""

import errno
import io
import json
import os
from pathlib import Path
from typing import Any

from otel_patterns.clock import encode_ulid
from otel_patterns.journal.cursor import Cursor, segment_of_file
from otel_patterns.journal.lines import Line, ReadReport, read_lines
from otel_patterns.journal.parse import parse_slowly
from otel_patterns.journal.receipt import Receipt
from tests.documents import RUN_ID, event_document


def run_id_at(unix_nano: int, number: int = 1) -> str:
    """Return the id of a run that was born then."""
    return f"PRUN-{encode_ulid(unix_nano // 1_000_000 << 80 | number)}"


def event_line(number: int, *, run_id: str = RUN_ID, size: int = 0, **changes: Any) -> bytes:
    """Return an event's line, newline included; `size` bytes of padding make it longer."""
    document = event_document(event_id=f"EVT-{number:026d}", pattern_run_id=run_id)
    document["details"] = {"number": number, "text": "x" * size}
    document |= changes
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def add(path: Path, data: bytes) -> tuple[int, int]:
    """Append bytes as any program might, and return where they begin and end."""
    with path.open("ab") as file:
        file.write(data)
        return file.tell() - len(data), file.tell()


def event_ids(path: Path, **wanted: str) -> list[str]:
    """Return the ids of the events in a journal's plain files in journal order, copies included."""
    sealed = sorted(path.parent.glob(f"{path.stem}-{'[0-9]' * 8}{path.suffix}"))
    found: list[str] = []
    for line in (line for file in (*sealed, path) if file.exists() for line in all_lines(file)):
        try:
            document = parse_slowly(line)
        except ValueError:
            continue
        if all(document[key] == value for key, value in wanted.items()):
            found.append(document["event_id"])
    return found


def all_lines(path: Path, report: ReadReport | None = None) -> list[Line]:
    """Return every complete line of a file that is not empty."""
    with path.open("rb") as file:
        return list(read_lines(file, report=report))


def segment_at(path: Path) -> str:
    """Return the segment that the file at a path is, as cursors name it."""
    with path.open("rb") as file:
        return segment_of_file(file)


def cursor_at(path: Path, offset: int) -> Cursor:
    """Return the cursor of a byte of a file."""
    return Cursor(segment_at(path), offset)


class CountingFile(io.FileIO):
    """A file that adds up what is read through all objects of this class."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like any file, and count."""
        data = super().read(-1 if size is None else size)
        CountingFile.bytes_read += len(data)
        return data


class Writes:
    """Stands in for `os.write`: each call takes the next of `script`, a size to write, or an error to raise.

    When the script has ended, everything is written.
    """

    def __init__(self, *script: int | BaseException) -> None:
        self.script = list(script)
        self.sizes: list[int] = []
        self._write = os.write

    def __call__(self, descriptor: int, data: Any) -> int:
        self.sizes.append(len(data))
        step = self.script.pop(0) if self.script else len(data)
        if isinstance(step, BaseException):
            raise step
        return self._write(descriptor, bytes(data)[:step])


NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def bytes_at(path: Path, receipt: Receipt) -> bytes:
    """Return what stands between the cursors of a receipt."""
    assert receipt.start is not None
    assert receipt.end is not None
    assert receipt.start.segment == receipt.end.segment == segment_at(path)
    return path.read_bytes()[receipt.start.offset : receipt.end.offset]

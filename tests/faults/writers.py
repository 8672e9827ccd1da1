"""Lines whose every byte follows from writer and number, so that a reader can tell a whole one from a damaged one."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, BinaryIO, cast

from otel_patterns.journal.lines import read_lines
from tests.documents import event_document


def line_of(writer: str, number: int, *, largest: int = 500) -> bytes:
    """Return the line with this number of a writer: between about 300 bytes and `largest` more."""
    digest = hashlib.sha256(f"{writer}/{number}/{largest}".encode()).hexdigest()
    size = int(digest[:8], 16) % largest
    document = event_document(event_id=f"EVT-{writer}.{number}")
    document["details"] = {
        "writer": writer,
        "number": number,
        "largest": largest,
        "fill": (digest * (size // 64 + 1))[:size],
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class Found:
    """What a journal holds: the numbers of each writer in journal order, and the lines that are none of theirs.

    Its segments are read by their names alone, without the code under test.
    """

    def __init__(self, path: Path) -> None:
        self.numbers: defaultdict[str, list[int]] = defaultdict(list)
        self.damaged: list[bytes] = []
        sealed = f"{path.stem}-{'[0-9]' * 8}{path.suffix}"
        plain = {*path.parent.glob(sealed)}
        packed = {file.with_suffix("") for file in path.parent.glob(f"{sealed}.gz")}
        for file in sorted(plain | packed):
            self._add(file if file in plain else Path(f"{file}.gz"))
        if path.exists():
            self._add(path)

    def _add(self, path: Path) -> None:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for line in read_lines(cast("BinaryIO", file)):
                try:
                    details: dict[str, Any] = json.loads(line.data)["details"]
                    writer, number = details["writer"], details["number"]
                    expected = line_of(writer, number, largest=details["largest"])
                except (ValueError, KeyError, TypeError):
                    self.damaged.append(line.data[:200])
                    continue
                if line.data + b"\n" == expected:
                    self.numbers[writer].append(number)
                else:
                    self.damaged.append(line.data[:200])

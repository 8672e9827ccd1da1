"""Lines whose every byte follows from writer and number, so that a reader can tell a whole one from a damaged one."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

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
        for file in [*sorted(path.parent.glob(f"{path.stem}-{'[0-9]' * 8}{path.suffix}")), path]:
            if file.exists():
                self._add(file)

    def _add(self, path: Path) -> None:
        with path.open("rb") as file:
            for line in read_lines(file):
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

"""Fixtures of the journal's tests."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from otel_patterns.journal import segments
from otel_patterns.journal.lines import open_to_read
from tests.unit.journal.lines import CountingFile
from tests.unit.journal.tails import Bench


def _open_counting(path: str | os.PathLike[str]) -> BinaryIO | None:
    file = open_to_read(path)
    if file is None:
        return None
    with file:
        return CountingFile(os.dup(file.fileno()), "rb")  # pyright: ignore[reportReturnType]  # raw BinaryIO


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> type[CountingFile]:
    """Return the class that counts what following and tailing read."""
    monkeypatch.setattr(segments, "open_to_read", _open_counting)
    CountingFile.bytes_read = 0
    return CountingFile


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Yield a bench with an empty directory."""
    bench = Bench(tmp_path / "pattern_events.jsonl")
    yield bench
    bench.close()

"""A journal that does not exist yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_patterns.journal.append import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal that does not exist yet."""
    return tmp_path / "pattern_events.jsonl"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Yield a journal at `path` and close it."""
    journal = Journal(path)
    yield journal
    journal.close()

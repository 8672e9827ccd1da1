"""The ids of the events that were appended lately."""

from __future__ import annotations

import pytest

from otel_patterns.journal import appended
from otel_patterns.journal.appended import AppendedIds


def test_appended_ids_unwanted_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered for nobody."""
    monkeypatch.setattr(AppendedIds, "wanted", False)
    ids = AppendedIds()
    ids.add("EVT-1")
    assert "EVT-1" not in ids


def test_appended_ids_wanted_are_the_latest_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones are all there, and old ones make room."""
    monkeypatch.setattr(AppendedIds, "wanted", True)
    monkeypatch.setattr(appended, "_GENERATION", 10)
    ids = AppendedIds()
    for number in range(95):
        ids.add(f"EVT-{number}")
        assert all(f"EVT-{recent}" in ids for recent in range(max(0, number - 9), number + 1))
    assert sum(f"EVT-{number}" in ids for number in range(95)) <= 20

"""Commands must see neither the settings nor the journal of the machine; and what the doctor asks."""

import os
from pathlib import Path

import pytest

from otel_patterns.tracing import probe as probe_module
from tests.unit.cli.sinks import FakeSink, send_to_fake
from tests.unit.cli.support import whole_run, write_journal


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start every test in an empty directory, without variables that commands read."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name in ("NO_COLOR", "COLUMNS", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> type[FakeSink]:
    """Let the probe ask a fake."""
    return send_to_fake(monkeypatch, probe_module)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal with one run that has ended."""
    path = tmp_path / "pattern_events.jsonl"
    write_journal(path, whole_run())
    return path

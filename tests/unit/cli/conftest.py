"""Commands must see neither the settings nor the journal of the machine."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start every test in an empty directory, without variables that commands read."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name in ("NO_COLOR", "COLUMNS", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

"""What `otel-patterns doctor` asks in tests, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from otel_patterns.testing import START_UNIX_NANO
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.parcels import Parcel
from otel_patterns.tracing.replay import Selection, traces_of
from tests.unit.cli.support import call

URL = "http://localhost:4318/v1/traces"
# What `call` says the time is.
NOW = START_UNIX_NANO // 10**9 + 3600


def examined(path: Path, *options: str) -> dict[str, Any]:
    """Return what `--json` says of a journal."""
    return json.loads(call("doctor", "--json", "--journal", str(path), *options).out)


def findings(document: dict[str, Any], section: str, level: str) -> list[str]:
    """Return the messages of a section with this level, each with its fix."""
    return [f"{each['message']}: {each['fix']}" for each in document[section]["findings"] if each["level"] == level]


def settle(path: Path, answer: Answer, destination: str = URL) -> None:
    """Put on record what a destination made of all spans of a journal."""
    record = DeliveryRecord(path, destination)
    parcels = [Parcel(run.run_id, tuple(span.span_id for span in run.spans)) for run in traces_of(path, Selection())]
    record.settle(parcels, answer)
    record.close()

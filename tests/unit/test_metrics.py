"""Metrics of ourselves: what a meter provider collects is what happened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from otel_patterns import configure, emit_pattern_event, observe_metrics, pattern_run, shutdown
from otel_patterns.model import names
from tests.receiver import Receiver

Points = Mapping[str, Mapping[str, float]]


class Meter:
    """A meter provider whose numbers can be read."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def read(self) -> Points:
        """Return the values of each metric by outcome."""
        data = self._reader.get_metrics_data()
        assert data is not None
        found: dict[str, dict[str, float]] = {}
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                assert scope.scope.name == names.SCOPE_NAME
                for metric in scope.metrics:
                    points = found.setdefault(metric.name, {})
                    for point in metric.data.data_points:
                        assert isinstance(point, NumberDataPoint)
                        points[str((point.attributes or {}).get(names.METRIC_OUTCOME, ""))] = point.value
        return found


@pytest.fixture
def meter() -> Meter:
    """Return a meter that observes the process's own journal."""
    meter = Meter()
    observe_metrics(meter_provider=meter.provider)
    return meter


def test_metrics_of_a_delivered_run_are_its_events_bytes_and_spans(tmp_path: Path, meter: Meter) -> None:
    """What is journaled and acknowledged is counted, and nothing waits."""
    with Receiver() as receiver:
        emitter = configure(journal=tmp_path / "j.jsonl", endpoint=receiver.url, durability="each")
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
            pass
        assert emitter.flush(10)
        read = meter.read()
        shutdown()
    lines = (tmp_path / "j.jsonl").read_bytes()
    assert read[names.METRIC_EVENTS] == {"journaled": lines.count(b"\n"), "spooled": 0, "lost": 0}
    assert read[names.METRIC_BYTES] == {"": len(lines)}
    assert read[names.METRIC_SYNC_TIME][""] > 0
    assert read[names.METRIC_SPANS] == {"acknowledged": len(receiver.spans)}
    assert (read[names.METRIC_WAITING], read[names.METRIC_LEFT_OUT], read[names.METRIC_LAG]) == (
        {"": 0},
        {"": 0},
        {"": 0},
    )


def test_metrics_of_a_receiver_that_is_away_show_what_waits(tmp_path: Path, meter: Meter) -> None:
    """Each try is counted, spans wait, and the time since the first refusal grows."""
    emitter = configure(journal=tmp_path / "j.jsonl", endpoint="http://127.0.0.1:9/v1/traces")
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
        pass
    assert not emitter.flush(10)
    read = meter.read()
    shutdown()
    assert read[names.METRIC_SPANS]["retry"] >= 1
    assert read[names.METRIC_WAITING][""] >= 1
    assert read[names.METRIC_LAG][""] > 0


def test_metrics_of_a_journal_that_cannot_be_written_show_what_is_spooled(tmp_path: Path, meter: Meter) -> None:
    """Events that wait for the journal are counted once and shown as long as they wait."""
    (tmp_path / "j.jsonl").mkdir()
    observed = Meter()
    emitter = configure(journal=tmp_path / "other.jsonl", export="off")
    os.mkfifo(tmp_path / "pipe")
    emitter.channel.journal.close()
    (tmp_path / "other.jsonl").unlink(missing_ok=True)
    os.rename(tmp_path / "pipe", tmp_path / "other.jsonl")
    observe_metrics(emitter, meter_provider=observed.provider)
    emit_pattern_event("pattern.execution.started", "JOB-1", "PRUN-1", "PAT-A", "in_progress", {}, emitter=emitter)
    for read in (observed.read(), meter.read()):
        assert read[names.METRIC_EVENTS] == {"journaled": 0, "spooled": 1, "lost": 0}
        assert read[names.METRIC_SPOOLED] == {"": 1}
        assert names.METRIC_SPANS not in read
    emitter.channel.journal.end()
    shutdown()

"""Metrics of ourselves: what a meter provider collects is what happened."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, InMemoryMetricReader, NumberDataPoint

from otel_patterns import configure, emit_pattern_event, observe_metrics, pattern_run, shutdown
from otel_patterns.errors import ConfigurationError, InvalidEventError
from otel_patterns.metrics import observe_shipper
from otel_patterns.model import names
from otel_patterns.tracing.meters import meter_provider_of_environment
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
    assert read[names.METRIC_EVENTS] == {
        "journaled": lines.count(b"\n"),
        "rejected": 0,
        "spooled": 0,
        "lost": 0,
    }
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


def test_metrics_of_events_that_break_a_rule_count_them_as_rejected(tmp_path: Path, meter: Meter) -> None:
    """Each refusal is counted once, whichever way the event came, and nothing of it is in the journal."""
    emitter = configure(journal=tmp_path / "j.jsonl", export="off", validation="strict")

    def with_bad_id() -> None:
        emit_pattern_event(names.EXECUTION_STARTED, "JOB 1", "PRUN-1", "PAT-A", names.IN_PROGRESS, {})

    def with_missing_details() -> None:
        emit_pattern_event(names.EXECUTION_STARTED, "JOB-1", "PRUN-1", "PAT-A", names.IN_PROGRESS, {})

    def as_no_event() -> None:
        emitter.emit("event")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def as_a_run() -> None:
        with pattern_run("pat", job_id="JOB-1", operation_kind="scan"):
            pass

    for emit in (with_bad_id, with_missing_details, as_no_event, as_a_run):
        with pytest.raises(InvalidEventError):
            emit()
    assert meter.read()[names.METRIC_EVENTS] == {"journaled": 0, "rejected": 4, "spooled": 0, "lost": 0}
    assert emitter.counts["rejected"] == 4
    shutdown()


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
        assert read[names.METRIC_EVENTS] == {"journaled": 0, "rejected": 0, "spooled": 1, "lost": 0}
        assert read[names.METRIC_SPOOLED] == {"": 1}
        assert names.METRIC_SPANS not in read
    emitter.channel.journal.end()
    shutdown()


@dataclass
class Shipping:
    """What a shipper shows of itself."""

    counts: Counter[str] = field(default_factory=lambda: Counter(delivered=3, parked=1))
    spans: Counter[str] = field(default_factory=lambda: Counter(acknowledged=9, retry=5))
    waiting: int = 4
    owed: int = 2
    lag_seconds: float = 1.5
    bad_lines: int = 6


def test_metrics_of_a_shipper_are_its_numbers() -> None:
    """As they are at the time of each collection."""
    meter, shipper = Meter(), Shipping()
    observe_shipper(shipper, meter_provider=meter.provider)
    assert meter.read() == {
        names.METRIC_RUNS: {"delivered": 3, "parked": 1},
        names.METRIC_SPANS: {"acknowledged": 9, "retry": 5},
        names.METRIC_WAITING: {"": 4},
        names.METRIC_OWED: {"": 2},
        names.METRIC_LAG: {"": 1.5},
        names.METRIC_BAD_LINES: {"": 6},
    }
    shipper.owed = 0
    assert meter.read()[names.METRIC_OWED] == {"": 0}


@pytest.mark.parametrize(
    ("variables", "exporter"),
    [
        ({}, None),
        ({"OTEL_METRICS_EXPORTER": "none"}, None),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "http"),
        ({"OTEL_METRICS_EXPORTER": "OTLP", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}, "grpc"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}, "grpc"),
        (
            {
                "OTEL_METRICS_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
            "http",
        ),
    ],
)
def test_metrics_of_a_command_go_where_the_environment_says(
    variables: dict[str, str], exporter: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nowhere by default, because the endpoint may take traces alone."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen: list[str] = []
    for kind in ("http", "grpc"):

        def choose(kind: str = kind) -> ConsoleMetricExporter:
            chosen.append(kind)
            return ConsoleMetricExporter(out=io.StringIO())

        monkeypatch.setattr(f"opentelemetry.exporter.otlp.proto.{kind}.metric_exporter.OTLPMetricExporter", choose)
    provider = meter_provider_of_environment("ship")
    if provider is not None:
        provider.shutdown(100)
    assert chosen == ([] if exporter is None else [exporter])


def test_metrics_exporter_that_is_none_of_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to give instead."""
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    with pytest.raises(ConfigurationError, match=r"OTEL_METRICS_EXPORTER.*prometheus.*give otlp or none"):
        meter_provider_of_environment("ship")

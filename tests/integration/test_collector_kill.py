"""A real collector is killed under load, before a real Jaeger and a real Tempo: all runs arrive, and none differs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from otel_patterns import configure, pattern_run, shutdown
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.owed import owed_to
from tests.backends.servers import CollectorServer, JaegerServer, TempoServer
from tests.integration.conftest import StartBackend

RUNS = 400
KILLS = 3


@pytest.mark.parametrize("kind", ["jaeger", "tempo"])
def test_runs_arrive_although_their_collector_is_killed(
    kind: str, start_backend: StartBackend[JaegerServer | TempoServer | CollectorServer], tmp_path: Path
) -> None:
    """The backend has the same runs as the journal, by `doctor --reconcile`; what was sent twice had the same bytes."""
    backend_directory, collector_directory = tmp_path / "backend", tmp_path / "collector"
    backend_directory.mkdir()
    collector_directory.mkdir()
    backend = start_backend((JaegerServer if kind == "jaeger" else TempoServer)(backend_directory))
    assert isinstance(backend, (JaegerServer, TempoServer))
    collector = start_backend(CollectorServer(collector_directory, forward_http_to=backend.otlp_http_endpoint))
    journal = tmp_path / "pattern_events.jsonl"
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http_endpoint}
    command = [sys.executable, "-m", "otel_patterns"]
    begun = threading.Event()

    def run_all() -> None:
        for number in range(RUNS):
            with pattern_run("PAT-A", job_id=f"JOB-{number % 7}", operation_kind="scan"):
                time.sleep(0.01)
            begun.set()

    configure(journal=journal, delivery="ship")
    engine = threading.Thread(target=run_all)
    with subprocess.Popen([*command, "ship", "--journal", str(journal)], env=environment) as ship:
        try:
            engine.start()
            assert begun.wait(20)
            for _ in range(KILLS):
                time.sleep(0.7)
                collector.kill()
                assert engine.is_alive(), "the load was over before the collector was killed"
                collector.start()
            engine.join(60)
            record = DeliveryRecord(journal, Endpoint(f"{collector.otlp_http_endpoint}/v1/traces").destination)
            deadline = time.monotonic() + 60
            while owed_to(journal, record):
                assert time.monotonic() < deadline
                time.sleep(0.5)
        finally:
            shutdown()
            ship.terminate()
    told = subprocess.run(
        [*command, "doctor", "--no-probe", "--reconcile", kind, backend.query_url, "--journal", str(journal)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert f"{RUNS} runs" in told.stdout + told.stderr
    # The fault happened: the shipper was told so, and asked again.
    assert len(collector.log.split("Everything is ready")) > KILLS

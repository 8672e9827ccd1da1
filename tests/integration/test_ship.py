"""`otel-patterns ship`: what is owed and what is new arrives, once, whatever happens to shipper and receiver."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.journals import write_journal
from otel_patterns import configure, pattern_run, shutdown
from otel_patterns.journal.read import read_events
from otel_patterns.model import names
from otel_patterns.model.fold import fold
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.owed import owed_to
from otel_patterns.tracing.replay import Selection, traces_of
from tests.backends.servers import CollectorServer
from tests.receiver import Receiver, Reply


def argv(journal: Path, *arguments: str) -> list[str]:
    """Return the command line of a shipper."""
    return [sys.executable, "-m", "otel_patterns", "ship", "--journal", str(journal), *arguments]


def environment(receiver_url: str) -> dict[str, str]:
    """Return the variables of a shipper."""
    return {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver_url}


@contextmanager
def shipper(journal: Path, receiver_url: str) -> Generator[subprocess.Popen[str], None, None]:
    """Run a shipper, which has to end well on SIGTERM."""
    with subprocess.Popen(argv(journal), stderr=subprocess.PIPE, text=True, env=environment(receiver_url)) as process:
        try:
            assert process.stderr is not None
            assert any("delivering to" in line for line in process.stderr)
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def slowly(_number: int) -> Reply:
    """Answer after a while."""
    time.sleep(0.2)
    return Reply()


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> float:
    """Wait until something is so, and return how long that took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it never came"
        time.sleep(0.02)
    return time.monotonic() - begin


def span_ids(journal: Path) -> set[str]:
    """Return the ids of all final spans of a journal."""
    return {span.span_id for trace in traces_of(journal, Selection()) for span in trace.spans}


def received(receiver: Receiver) -> Counter[str]:
    """Return how often each span was received."""
    return Counter(span.span_id.hex() for _, span in receiver.spans)


@pytest.fixture
def journal(tmp_path: Path) -> Generator[Path, None, None]:
    """Yield the path of a journal that this process writes, with no exporter of its own."""
    path = tmp_path / "pattern_events.jsonl"
    configure(journal=path, delivery="ship")
    yield path
    shutdown()


def test_ship_delivers_what_is_new_within_a_second(journal: Path) -> None:
    """Stages come while the run goes on, the marker after a second, the root at its end; and each of them once."""
    with Receiver() as receiver, shipper(journal, receiver.base_url):
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
            wait_until(lambda: any(span.name == "run started" for _, span in receiver.spans))
        assert wait_until(lambda: any(span.name == "scan PAT-A" for _, span in receiver.spans)) < 1.5
    assert span_ids(journal) <= received(receiver).keys()
    assert set(received(receiver).values()) == {1}
    resource = receiver.spans[0][0].resource
    assert "telemetry.sdk.name" in {attribute.key for attribute in resource.attributes}


def test_x9_ship_pays_old_runs_and_new_ones_do_not_wait(journal: Path) -> None:
    """While thousands of older runs are paid to a slow receiver, a new one arrives first; in the end all do, once."""
    write_journal(journal, 40_000)
    with Receiver(slowly) as receiver, shipper(journal, receiver.base_url):
        wait_until(lambda: len(receiver.requests) >= 2)
        with pattern_run("PAT-NEW", job_id="JOB-1", operation_kind="scan"):
            pass
        waited = wait_until(lambda: any(span.name == "scan PAT-NEW" for _, span in receiver.spans))
        paid = len(received(receiver))
        assert paid < len(span_ids(journal)) / 2, "the backlog was paid before: the test shows nothing"
        assert waited < 3
        record = DeliveryRecord(journal, Endpoint(receiver.url).destination)
        wait_until(lambda: not owed_to(journal, record), seconds=60)
    # The journal's last runs have no end, and are old: by then they have got one.
    assert span_ids(journal) <= received(receiver).keys()
    assert set(received(receiver).values()) == {1}


def test_x7_ship_killed_and_started_again_pays_the_rest(journal: Path) -> None:
    """Killed at any moment it has lost nothing, and what it sends again has the same bytes."""
    write_journal(journal, 20_000)
    with Receiver(slowly) as receiver:
        for _ in range(3):
            with subprocess.Popen(argv(journal), env=environment(receiver.base_url)) as process:
                seen = len(receiver.requests)
                wait_until(lambda seen=seen: len(receiver.requests) > seen)
                process.kill()
        done = subprocess.run(argv(journal, "--once"), env=environment(receiver.base_url), check=True)
        assert done.returncode == 0
        assert span_ids(journal) == received(receiver).keys()
        copies: dict[bytes, set[bytes]] = {}
        for _, span in receiver.spans:
            copies.setdefault(span.span_id, set()).add(span.SerializeToString())
        assert all(len(each) == 1 for each in copies.values())


def test_ship_once_to_a_dead_receiver_fails_and_keeps_all(journal: Path) -> None:
    """It says so, and what is owed stays owed."""
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
        pass
    done = subprocess.run(
        argv(journal, "--once"), env=environment("http://127.0.0.1:9"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "some are owed" in done.stderr
    with Receiver() as receiver:
        subprocess.run(argv(journal, "--once"), env=environment(receiver.base_url), check=True)
        assert span_ids(journal) == received(receiver).keys()


def test_x7_second_shipper_and_replay_are_told_who_delivers(journal: Path) -> None:
    """One process pays a destination at a time; the others name it."""
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
        pass
    with Receiver() as receiver, shipper(journal, receiver.base_url) as first:
        for command in (argv(journal), [*argv(journal)[:3], "replay", "--journal", str(journal)]):
            other = subprocess.run(
                command, env=environment(receiver.base_url), capture_output=True, text=True, check=False
            )
            assert other.returncode == 1
            assert f"process {first.pid} on " in other.stderr
        doctor = [*argv(journal)[:3], "doctor", "--json", "--journal", str(journal)]
        wait_until(lambda: bool(receiver.requests))
        told = subprocess.run(doctor, env=environment(receiver.base_url), capture_output=True, text=True, check=False)
        [destination] = json.loads(told.stdout)["delivery"]["destinations"]
        assert destination["owner"].startswith(f"process {first.pid} on ")


def test_ship_ends_the_run_of_a_killed_engine(journal: Path) -> None:
    """Its root arrives as abandoned, without anybody calling finalize."""
    engine = (
        "import os, signal; from otel_patterns import emit_pattern_event as e;"
        "e('pattern.execution.started', 'JOB-1', 'PRUN-KILLED', 'PAT-A', 'in_progress', {});"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    variables = {**os.environ, "OTEL_PATTERNS_JOURNAL": str(journal), "OTEL_PATTERNS_DELIVERY": "ship"}
    assert subprocess.run([sys.executable, "-c", engine], env=variables, check=False).returncode == -signal.SIGKILL
    with Receiver() as receiver:
        subprocess.run(argv(journal, "--once"), env=environment(receiver.base_url), check=True)
        assert span_ids(journal) == received(receiver).keys()
    run = fold(read_events(journal))["PRUN-KILLED"]
    assert (run.status, run.error and run.error["type"]) == ("failed", "abandoned")


def test_ship_keeps_a_checkpoint_that_people_can_read(journal: Path) -> None:
    """It names the destination, the cursor, and what became of the runs before it."""
    for _ in range(3):
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
            pass
    with Receiver() as receiver:
        subprocess.run(argv(journal, "--once"), env=environment(receiver.base_url), check=True)
    [path] = (journal.parent / "delivery").glob("*.json")
    checkpoint = json.loads(path.read_text())
    assert checkpoint["destination"] == receiver.url
    assert checkpoint["before"] == {"delivered": 3}
    assert checkpoint["cursor"]["offset"] == journal.stat().st_size


def test_ship_reports_its_own_metrics_to_a_real_collector(journal: Path, collector: CollectorServer) -> None:
    """Where the environment asks for them: what was delivered, that nothing is owed, and who says so."""
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="scan"):
        pass
    with journal.open("ab") as file:
        file.write(b"no event\n")
    variables = {**environment(collector.otlp_http_endpoint), "OTEL_METRICS_EXPORTER": "otlp"}
    variables.pop("OTEL_SERVICE_NAME", None)
    subprocess.run(argv(journal, "--once"), env=variables, check=True)
    found: dict[str, dict[str, str]] = {}

    def is_there() -> bool:
        for line in collector.export_path.read_text().splitlines():
            for resource in json.loads(line).get("resourceMetrics", []):
                assert {"key": "service.name", "value": {"stringValue": "otel-patterns-ship"}} in resource["resource"][
                    "attributes"
                ]
                for metric in resource["scopeMetrics"][0]["metrics"]:
                    points = (metric.get("sum") or metric["gauge"])["dataPoints"]
                    found[metric["name"]] = {
                        "".join(each["value"]["stringValue"] for each in point.get("attributes", [])): point["asInt"]
                        for point in points
                        if "asInt" in point
                    }
        return bool(found)

    wait_until(is_there)
    [kept] = (journal.parent / "quarantine").glob("*.jsonl")
    entries = kept.read_text()
    [entry] = map(json.loads, entries.splitlines())
    assert base64.b64decode(entry["data_base64"]) == b"no event"
    # Whoever reads it again makes no second copy.
    next((journal.parent / "delivery").glob("*.json")).unlink()
    subprocess.run(argv(journal, "--once"), env=variables, check=True)
    assert kept.read_text() == entries
    assert found[names.METRIC_RUNS] == {"delivered": "1", "abandoned": "0"}
    assert found[names.METRIC_SPANS] == {"acknowledged": "2"}
    assert found[names.METRIC_OWED] == {"": "0"}
    assert found[names.METRIC_BAD_LINES] == {"": "1"}

"""The harness itself: real servers give back what they took, and an id that nobody sent finds nothing."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.build import build_once
from tests.backends.clients import RUN_ID_KEY, JaegerClient, TempoClient
from tests.backends.encoding import otlp_request
from tests.backends.polling import wait_for
from tests.backends.programs import JAEGER, BackendError, BackendMissingError, cache_folder
from tests.backends.servers import CollectorServer, JaegerServer, Server, TempoServer
from tests.backends.spans import (
    Attributes,
    BackendEvent,
    BackendLink,
    BackendSpan,
)
from tests.backends.wire import fetch, push_traces
from tests.integration.conftest import StartBackend

REPOSITORY = Path(__file__).parents[2]
SERVICE = "harness"
WINDOW_SECONDS = 300


def made_run() -> list[BackendSpan]:
    """Return a root and a child with fresh ids, every attribute type, and times that are no whole microseconds."""
    now = time.time_ns() // 1000 * 1000
    trace_id = "0000" + secrets.token_hex(14)  # leading zeros, which Tempo's search leaves out
    resource: Attributes = {"service.name": SERVICE, "harness.number": 5}
    root = BackendSpan(
        trace_id=trace_id,
        span_id="00" + secrets.token_hex(7),
        name="job harness",
        kind="SERVER",
        start_unix_nano=now - 2_000_000_123,
        end_unix_nano=now + 1,
        attributes={
            RUN_ID_KEY: f"PRUN-{secrets.token_hex(8)}",
            "text": "naïve → ✓",
            "empty": "",
            "flag": True,
            "largest": 2**63 - 1,
            "fraction": 1.5,
            "whole": 3.0,
            "bytes": b"\x00\xff",
            "list": ["a", 2],
            "map": {"inner": 1},
        },
        events=[
            BackendEvent(name="z.first", time_unix_nano=now - 1_000_001, attributes={"position": 0}),
            BackendEvent(name="a.second", time_unix_nano=now - 1_000_000, attributes={"position": 1}),
        ],
        links=[
            BackendLink(
                trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8), attributes={"harness.why": "caller"}
            )
        ],
        status_code="ERROR",
        status_message="it failed",
        resource=resource,
    )
    child = BackendSpan(
        trace_id=trace_id,
        span_id=secrets.token_hex(8),
        parent_span_id=root.span_id,
        name="execution harness",
        kind="INTERNAL",
        start_unix_nano=now - 1_000_000_999,
        end_unix_nano=now,
        resource=resource,
    )
    return [root, child]


def run_id_of(spans: list[BackendSpan]) -> str:
    """Return the run id of a made run."""
    return str(spans[0].attributes[RUN_ID_KEY])


def as_jaeger_keeps(span: BackendSpan) -> BackendSpan:
    """Return what Jaeger on badger makes of a span: JSON text for lists and maps, events by name, bare links."""
    return replace(
        span,
        attributes={
            key: json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else value
            for key, value in span.attributes.items()
        },
        events=sorted(span.events, key=lambda event: event.name),
        links=[replace(link, attributes={"opentracing.ref_type": "follows_from"}) for link in span.links],
    )


def as_jaeger_v1_shows(span: BackendSpan) -> BackendSpan:
    """Return what Jaeger's v1 API shows of a span: whole microseconds, and links without attributes."""
    kept = as_jaeger_keeps(span)
    start = kept.start_unix_nano // 1000 * 1000
    return replace(
        kept,
        start_unix_nano=start,
        end_unix_nano=start + (kept.end_unix_nano - kept.start_unix_nano) // 1000 * 1000,
        events=[replace(event, time_unix_nano=event.time_unix_nano // 1000 * 1000) for event in kept.events],
        links=[replace(link, attributes={}) for link in kept.links],
    )


def in_order(spans: list[BackendSpan]) -> list[BackendSpan]:
    """Return spans by start, each with its events by name, since v1 does not keep an order of its own."""
    return [
        replace(span, events=sorted(span.events, key=lambda event: event.name))
        for span in sorted(spans, key=lambda span: span.start_unix_nano)
    ]


def window() -> tuple[int, int]:
    """Return a search window around now, in seconds."""
    now = int(time.time())
    return now - WINDOW_SECONDS, now + WINDOW_SECONDS


def nobody_answers(url: str) -> bool:
    """Tell whether connections to a URL are refused."""
    try:
        fetch(url)
    except OSError:
        return True
    return False


def test_jaeger_trace_by_id_comes_back_as_sent(jaeger: JaegerServer) -> None:
    """Jaeger's v3 API returns every field as sent, to the nanosecond, but for what badger is known to change."""
    sent = made_run()
    push_traces(jaeger.otlp_http_endpoint, otlp_request(sent))
    client = JaegerClient(jaeger.query_url)
    got = wait_for(lambda: client.trace(sent[0].trace_id))
    assert in_order(got) == [as_jaeger_keeps(span) for span in sent]


def test_jaeger_v1_trace_by_id_comes_back_in_microseconds(jaeger: JaegerServer) -> None:
    """Jaeger's v1 API shows the same spans with times cut to microseconds."""
    sent = made_run()
    push_traces(jaeger.otlp_http_endpoint, otlp_request(sent))
    client = JaegerClient(jaeger.query_url)
    got = wait_for(lambda: client.trace_v1(sent[0].trace_id))
    assert in_order(got) == [as_jaeger_v1_shows(span) for span in sent]


def test_jaeger_search_by_run_id_finds_only_that_run(jaeger: JaegerServer) -> None:
    """A search by run id returns the whole trace of that run, and nothing of another run of the same service."""
    sent, other = made_run(), made_run()
    push_traces(jaeger.otlp_http_endpoint, otlp_request(sent))
    push_traces(jaeger.otlp_http_endpoint, otlp_request(other))
    client = JaegerClient(jaeger.query_url)
    got = wait_for(lambda: client.find_by_run_id(SERVICE, run_id_of(sent)))
    assert in_order(got) == [as_jaeger_v1_shows(span) for span in sent]


def test_jaeger_unknown_ids_find_nothing(jaeger: JaegerServer) -> None:
    """Ids that nobody sent find nothing in any API, although the service has a trace that the search could return."""
    sent, unsent = made_run(), made_run()
    push_traces(jaeger.otlp_http_endpoint, otlp_request(sent))
    client = JaegerClient(jaeger.query_url)
    assert wait_for(lambda: client.find_by_run_id(SERVICE, run_id_of(sent)))
    assert client.find_by_run_id(SERVICE, run_id_of(unsent)) == []
    assert client.find_by_run_id("no-such-service", run_id_of(sent)) == []
    assert client.trace(unsent[0].trace_id) == []
    assert client.trace_v1(unsent[0].trace_id) == []


def test_jaeger_restarted_after_a_kill_still_has_what_it_took(
    start_backend: StartBackend[JaegerServer], tmp_path: Path
) -> None:
    """A server that was killed and started again has the same address and the traces that it had acknowledged."""
    server = start_backend(JaegerServer(tmp_path))
    address, sent = server.otlp_http_endpoint, made_run()
    push_traces(address, otlp_request(sent))
    server.kill()
    assert nobody_answers(server.query_url)
    server.start()
    got = JaegerClient(server.query_url).trace(sent[0].trace_id)
    assert server.otlp_http_endpoint == address
    assert in_order(got) == [as_jaeger_keeps(span) for span in sent]


def test_tempo_trace_by_id_comes_back_as_sent(tempo: TempoServer) -> None:
    """Tempo returns every field as sent, to the nanosecond and in order."""
    sent = made_run()
    push_traces(tempo.otlp_http_endpoint, otlp_request(sent))
    client = TempoClient(tempo.query_url)
    got = wait_for(lambda: client.trace(sent[0].trace_id))
    assert sorted(got, key=lambda span: span.start_unix_nano) == sent


def test_tempo_search_by_run_id_finds_only_that_run(tempo: TempoServer) -> None:
    """A TraceQL search by run id returns that run with the span that carries the id, and no other run."""
    sent, other = made_run(), made_run()
    push_traces(tempo.otlp_http_endpoint, otlp_request(sent))
    push_traces(tempo.otlp_http_endpoint, otlp_request(other))
    client = TempoClient(tempo.query_url)
    root = sent[0]
    (found,) = wait_for(lambda: client.find_by_run_id(run_id_of(sent), *window()))
    (span,) = found.spans
    assert (found.trace_id, found.root_service, found.root_name) == (root.trace_id, SERVICE, root.name)
    assert (span.span_id, span.start_unix_nano, span.attributes) == (
        root.span_id,
        root.start_unix_nano,
        {RUN_ID_KEY: run_id_of(sent)},
    )
    assert span.duration_nano == root.end_unix_nano - root.start_unix_nano


def test_tempo_unknown_ids_find_nothing(tempo: TempoServer) -> None:
    """Ids that nobody sent find nothing, also while a search of the same window finds a run that was sent."""
    sent, unsent = made_run(), made_run()
    push_traces(tempo.otlp_http_endpoint, otlp_request(sent))
    client = TempoClient(tempo.query_url)
    assert wait_for(lambda: client.find_by_run_id(run_id_of(sent), *window()))
    assert client.find_by_run_id(run_id_of(unsent), *window()) == []
    assert client.trace(unsent[0].trace_id) == []


def test_collector_file_has_spans_as_sent(collector: CollectorServer) -> None:
    """The collector's file has every field as sent, to the nanosecond and in order."""
    sent = made_run()
    push_traces(collector.otlp_http_endpoint, otlp_request(sent))

    def got() -> list[BackendSpan]:
        return [span for span in collector.exported_spans() if span.trace_id == sent[0].trace_id]

    assert wait_for(got) == sent


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_collector_with_a_server_behind_it_forwards(
    jaeger: JaegerServer, start_backend: StartBackend[CollectorServer], tmp_path: Path, protocol: str
) -> None:
    """What a forwarding collector acknowledged is in the server behind it, by either protocol."""
    server = start_backend(
        CollectorServer(tmp_path, forward_http_to=jaeger.otlp_http_endpoint)
        if protocol == "http"
        else CollectorServer(tmp_path, forward_grpc_to=jaeger.otlp_grpc_endpoint)
    )
    sent = made_run()
    push_traces(server.otlp_http_endpoint, otlp_request(sent))
    assert in_order(JaegerClient(jaeger.query_url).trace(sent[0].trace_id)) == [as_jaeger_keeps(span) for span in sent]


def test_collector_with_the_server_behind_it_gone_refuses(start_backend: StartBackend[Server], tmp_path: Path) -> None:
    """A forwarding collector does not acknowledge what the server behind it did not take, and recovers with it."""
    behind = CollectorServer(tmp_path / "behind")
    start_backend(behind)
    front = CollectorServer(tmp_path / "front", forward_http_to=behind.otlp_http_endpoint)
    start_backend(front)
    behind.stop()
    sent = made_run()
    with pytest.raises(BackendError, match="answered 50"):
        push_traces(front.otlp_http_endpoint, otlp_request(sent))
    behind.start()
    push_traces(front.otlp_http_endpoint, otlp_request(sent))
    assert wait_for(behind.exported_spans) == sent


def test_collector_stopped_and_started_keeps_address_and_file(
    start_backend: StartBackend[CollectorServer], tmp_path: Path
) -> None:
    """An outage refuses connections, and after it the same address adds to the same file."""
    server = start_backend(CollectorServer(tmp_path))
    address, first, second = server.otlp_http_endpoint, made_run(), made_run()
    push_traces(address, otlp_request(first))
    server.stop()
    assert server.pid is None
    assert nobody_answers(address)
    server.start()
    push_traces(address, otlp_request(second))
    assert wait_for(server.exported_spans, lambda spans: len(spans) == 4) == [*first, *second]


def test_server_that_ends_at_once_raises_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that ends before it is ready is an error that shows its status and what it printed."""
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho this config is wrong\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv(JAEGER.setting, str(program))
    with pytest.raises(BackendError, match=r"(?s)jaeger ended with status 3.*this config is wrong"):
        JaegerServer(tmp_path).start()


def test_server_that_ignores_the_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that is never ready and ignores SIGTERM is gone when the start has failed."""
    program = tmp_path / "stubborn"
    program.write_text("#!/bin/sh\ntrap '' TERM\necho $$\nwhile :; do sleep 1; done\n")
    program.chmod(0o755)
    monkeypatch.setenv(JAEGER.setting, str(program))
    monkeypatch.setattr("tests.backends.servers.READY_SECONDS", 0.5)
    server = JaegerServer(tmp_path)
    with pytest.raises(BackendError, match="not ready in time"):
        server.start()
    assert server.pid is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a process to its parent")
def test_server_of_a_killed_test_run_ends(jaeger: JaegerServer, tmp_path: Path) -> None:
    """A test run that is killed outright leaves no server behind."""
    assert jaeger.pid is not None
    script = (
        "import pathlib, sys, time\n"
        "from tests.backends.servers import JaegerServer\n"
        "server = JaegerServer(pathlib.Path(sys.argv[1])).start()\n"
        "print(server.query_url, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        query_url = run.stdout.readline().strip()
        assert not nobody_answers(query_url)
        run.kill()
    assert wait_for(lambda: nobody_answers(query_url))


def test_program_that_is_nowhere_raises_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that is in no place is reported as missing, with what to do about it."""
    monkeypatch.delenv(JAEGER.setting, raising=False)
    monkeypatch.setenv("OTEL_PATTERNS_BACKENDS", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendMissingError, match="make backends"):
        JAEGER.find()


def test_program_named_by_a_setting_but_absent_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A setting that names no program is an error and never a skip."""
    monkeypatch.setenv(JAEGER.setting, str(tmp_path / "absent"))
    with pytest.raises(BackendError) as raised:
        JAEGER.find()
    assert not isinstance(raised.value, BackendMissingError)


def test_run_without_programs_skips_and_says_how_to_get_them(tmp_path: Path) -> None:
    """Without the programs the tests skip, and the end of the report names each one and its remedy."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("OTEL_PATTERNS_", "PYTEST_", "COV"))
    }
    report = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "no:cacheprovider", __file__, "-k", "as_sent"],
        cwd=REPOSITORY,
        env={**environment, "PATH": str(tmp_path), "OTEL_PATTERNS_BACKENDS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stdout
    assert "3 skipped" in report.stdout
    for name in ("jaeger", "tempo", "otelcol"):
        assert f"1 skipped: {name} not found: " in report.stdout


def test_build_without_go_says_so_and_succeeds(tmp_path: Path) -> None:
    """Without Go nothing is built, and that is one line on stderr and no failure."""
    build = subprocess.run(
        [sys.executable, "-m", "tests.backends.build"],
        cwd=REPOSITORY,
        env={"PATH": str(tmp_path), "OTEL_PATTERNS_BACKENDS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (build.returncode, build.stdout, build.stderr.count("\n")) == (0, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_build_runs_once_for_each_version_of_its_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program is built again when its inputs change, and not otherwise."""
    monkeypatch.setenv("OTEL_PATTERNS_BACKENDS", str(tmp_path / "cache"))
    built: list[str] = []

    def build(text: str) -> Callable[[Path], None]:
        def write(target: Path) -> None:
            built.append(text)
            target.write_text(text)

        return write

    build_once(JAEGER, build("one"), b"inputs 1")
    build_once(JAEGER, build("two"), b"inputs 1")
    build_once(JAEGER, build("three"), b"inputs 2")
    assert built == ["one", "three"]
    assert (cache_folder() / JAEGER.name).read_text() == "three"


def test_build_that_fails_leaves_the_old_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A failed build changes nothing and leaves nothing half-written in the cache."""
    monkeypatch.setenv("OTEL_PATTERNS_BACKENDS", str(tmp_path))

    def succeed(target: Path) -> None:
        target.write_text("whole")

    def fail(target: Path) -> None:
        target.write_text("half")
        raise subprocess.CalledProcessError(1, ["go"])

    build_once(JAEGER, succeed, b"inputs 1")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(subprocess.CalledProcessError):
        build_once(JAEGER, fail, b"inputs 2")
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / JAEGER.name).read_text() == "whole"

"""OTLP over gRPC: TLS, headers, compression, forks, and real servers."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from otel_patterns import PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.replay import Selection, replay, traces_of
from otel_patterns.tracing.sink import OtlpSink
from tests.backends.clients import JaegerClient
from tests.backends.polling import wait_for
from tests.backends.servers import CollectorServer, JaegerServer, Server
from tests.backends.spans import BackendSpan
from tests.integration.conftest import StartBackend
from tests.receiver import GrpcReceiver, Receiver, Tls

Configure = Callable[..., PatternEventEmitter]
PROTOCOLS = ["http/protobuf", "grpc"]


@dataclass(frozen=True)
class Certificates:
    """An authority, what it has signed, and another authority that nobody trusts."""

    folder: Path
    authority: trustme.CA
    server: trustme.LeafCert
    client: trustme.LeafCert

    @property
    def files(self) -> dict[str, str]:
        """Return the variables of a client that has all it needs."""
        return {
            "CERTIFICATE": str(self.folder / "authority.pem"),
            "CLIENT_CERTIFICATE": str(self.folder / "client.pem"),
            "CLIENT_KEY": str(self.folder / "client.key"),
        }


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates made for these tests."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    made = Certificates(folder, authority, authority.issue_cert("127.0.0.1"), authority.issue_cert("client.test"))
    authority.cert_pem.write_to_path(folder / "authority.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    for name, certificate in (("server", made.server), ("client", made.client)):
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    return made


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Yield a function that configures delivery by the standard variables alone."""

    def configure_by(**variables: str) -> PatternEventEmitter:
        for name, value in variables.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        return configure(journal=tmp_path / "j.jsonl")

    yield configure_by
    shutdown()


def run_once(emitter: PatternEventEmitter) -> str:
    """Make a run and return its id."""
    with pattern_run("PAT-A", job_id="JOB-1", operation_kind="demo", emitter=emitter) as run:
        pass
    return run.pattern_run_id


def secure_receiver(protocol: str, certificates: Certificates, *, is_mutual: bool) -> GrpcReceiver | Receiver:
    """Return a receiver with TLS that wants a client's certificate or not."""
    if protocol == "grpc":
        chain = b"".join(pem.bytes() for pem in certificates.server.cert_chain_pems)
        clients = certificates.authority.cert_pem.bytes() if is_mutual else None
        return GrpcReceiver(tls=Tls(chain, certificates.server.private_key_pem.bytes(), clients))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.server.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # pyOpenSSL is not there
    if is_mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        certificates.authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]  # likewise
    return Receiver(tls=context)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("is_mutual", [False, True], ids=["tls", "mutual tls"])
def test_tls_with_the_right_certificates_delivers(
    configured: Configure, certificates: Certificates, protocol: str, is_mutual: bool
) -> None:
    """The variables name the authority, and the client's own certificate and key where the receiver wants them."""
    wanted = certificates.files if is_mutual else {"CERTIFICATE": certificates.files["CERTIFICATE"]}
    with secure_receiver(protocol, certificates, is_mutual=is_mutual) as receiver:
        assert receiver.base_url.startswith("https:")
        emitter = configured(ENDPOINT=receiver.base_url, PROTOCOL=protocol, **wanted)
        run_once(emitter)
        assert emitter.flush(10)
        assert len(receiver.spans) == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["unknown authority", "no client certificate"])
def test_tls_without_the_right_certificates_delivers_nothing(
    configured: Configure, certificates: Certificates, protocol: str, fault: str
) -> None:
    """A receiver that nobody vouches for gets no span, and one that does not trust us takes none: all stays owed."""
    is_mutual = fault == "no client certificate"
    authority = "authority.pem" if is_mutual else "stranger.pem"
    with secure_receiver(protocol, certificates, is_mutual=is_mutual) as receiver:
        emitter = configured(
            ENDPOINT=receiver.base_url, PROTOCOL=protocol, CERTIFICATE=str(certificates.folder / authority)
        )
        run_once(emitter)
        assert wait_for(lambda: emitter.counts["delivery"], timeout_seconds=10)
        shutdown()
        assert receiver.requests == []


def test_request_has_headers_in_lower_case_and_is_packed(configured: Configure) -> None:
    """Metadata names are lower case; gzip is the channel's business, and the receiver gets the same bytes."""
    with GrpcReceiver() as receiver:
        emitter = configured(
            ENDPOINT=receiver.base_url,
            PROTOCOL="grpc",
            HEADERS="Authorization=Bearer%20abc,X-Scope-OrgID=team,x-key-bin=abc",
            COMPRESSION="gzip",
        )
        run_once(emitter)
        assert emitter.flush(10)
        headers = receiver.headers[0]
        assert (headers["authorization"], headers["x-scope-orgid"]) == ("Bearer abc", "team")
        assert headers["x-key-bin"] == b"abc"  # pyright: ignore[reportUnnecessaryComparison]  # gRPC's type
        assert headers["user-agent"].startswith("otel-patterns")
        assert len(receiver.spans) == 2


def test_bytes_are_those_of_http(configured: Configure, tmp_path: Path) -> None:
    """The same request over both: what a backend holds does not depend on the way."""
    with GrpcReceiver() as over_grpc, Receiver() as over_http:
        emitter = configured(ENDPOINT=over_grpc.base_url, PROTOCOL="grpc")
        for _ in range(20):
            run_once(emitter)
        shutdown()
        over_grpc.requests.clear()
        for endpoint in (Endpoint(over_grpc.url, protocol="grpc"), Endpoint(over_http.url)):
            assert replay(tmp_path / "j.jsonl", OtlpSink(endpoint), Selection(), force=True).sent == 20
        assert over_grpc.requests == over_http.requests


@pytest.mark.parametrize("support", ["0", "1"], ids=["as it is", "with fork support"])
def test_child_of_a_process_that_used_grpc_does_not_hang(tmp_path: Path, support: str) -> None:
    """GRPC does not survive a fork: unless its own support is on, the child's run stays owed, and that is said."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys
            from otel_patterns import configure, pattern_run
            kept = configure(journal=sys.argv[1], endpoint=sys.argv[2])
            def run(kind):
                with pattern_run("PAT-A", job_id="JOB-1", operation_kind=kind, emitter=kept):
                    pass
                return kept.flush(5)
            def child():
                print("child", run("forked"), flush=True)
            print("parent", run("first"), flush=True)
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start(); process.join(20)
            print("exit", process.exitcode)
            print("parent", run("last"))
            """
        )
    )
    with GrpcReceiver() as receiver:
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(program), str(tmp_path / "j.jsonl"), receiver.url],
            env={**os.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "GRPC_ENABLE_FORK_SUPPORT": support},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.splitlines() == ["parent True", f"child {support == '1'}", "exit 0", "parent True"]
        assert ("gRPC does not survive a fork" in done.stderr) == (support == "0")
        settled = DeliveryRecord(tmp_path / "j.jsonl", receiver.url).load()
        owed = [t for t in traces_of(tmp_path / "j.jsonl", Selection()) if t.run_id not in settled.whole]
        assert len(owed) == (1 if support == "0" else 0)


# Real servers.


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_collector_takes_runs_over_grpc(configured: Configure, collector: CollectorServer, compression: str) -> None:
    """Every span of a run arrives once, and the collector's answer, packed or not, is an acknowledgement."""
    emitter = configured(ENDPOINT=collector.otlp_grpc_endpoint, PROTOCOL="grpc", COMPRESSION=compression)
    run_once(emitter)
    assert emitter.flush(10)
    (trace,) = traces_of(emitter.global_log, Selection())
    wanted = sorted(span.span_id for span in trace.spans)
    assert wanted == wait_for(lambda: span_ids(collector, trace.trace_id), lambda ids: len(ids) >= len(wanted))
    assert emitter.counts == {}


def span_ids(collector: CollectorServer, trace_id: str) -> list[str]:
    """Return the ids of the spans that a collector has of a trace."""
    return sorted(span.span_id for span in collector.exported_spans() if span.trace_id == trace_id)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_collector_takes_runs_over_mutual_tls(
    configured: Configure,
    start_backend: StartBackend[Server],
    certificates: Certificates,
    tmp_path: Path,
    protocol: str,
) -> None:
    """A real collector with a certificate of the test, which wants one of the client, takes the runs."""
    collector = start_backend(CollectorServer(tmp_path, certificates=certificates.folder))
    assert isinstance(collector, CollectorServer)
    plain = collector.otlp_grpc_endpoint if protocol == "grpc" else collector.otlp_http_endpoint
    emitter = configured(ENDPOINT=plain.replace("http:", "https:"), PROTOCOL=protocol, **certificates.files)
    run_once(emitter)
    assert emitter.flush(10)
    (trace,) = traces_of(emitter.global_log, Selection())
    assert len(wait_for(lambda: span_ids(collector, trace.trace_id), lambda ids: len(ids) >= 2)) == 2


def test_jaeger_shows_the_same_trace_over_grpc_and_http(
    configured: Configure, start_backend: StartBackend[Server], tmp_path: Path
) -> None:
    """What one Jaeger got over gRPC is what another one got over HTTP."""
    servers = [start_backend(JaegerServer(tmp_path / name)) for name in ("grpc", "http")]
    over_grpc, over_http = (server for server in servers if isinstance(server, JaegerServer))
    emitter = configured(ENDPOINT=over_grpc.otlp_grpc_endpoint, PROTOCOL="grpc")
    run_once(emitter)
    assert emitter.flush(10)
    report = replay(emitter.global_log, OtlpSink(Endpoint(f"{over_http.otlp_http_endpoint}/v1/traces")), Selection())
    assert report.sent == 1
    (trace,) = traces_of(emitter.global_log, Selection())

    def seen(server: JaegerServer) -> list[BackendSpan]:
        spans = wait_for(lambda: JaegerClient(server.query_url).trace(trace.trace_id), lambda found: len(found) >= 2)
        return sorted(spans, key=lambda span: span.span_id)

    assert seen(over_grpc) == seen(over_http)
    assert {span.span_id for span in seen(over_grpc)} == {span.span_id for span in trace.spans}

    # As when an answer got lost: what arrives twice is seen once.
    again = OtlpSink(Endpoint(over_grpc.otlp_grpc_endpoint, protocol="grpc"))
    assert replay(emitter.global_log, again, Selection(), force=True).sent == 1
    assert seen(over_grpc) == seen(over_http)

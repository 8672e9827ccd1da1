"""Reading traces back from the query APIs of Jaeger and Tempo, and what is none of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from otel_patterns.errors import ConfigurationError, QueryError
from otel_patterns.tracing import stored
from otel_patterns.tracing.stored import StoredTraces
from tests.otlp_json import request_of, with_base64_ids, with_hex_ids
from tests.streams import TRACE_ID, semgrep_run

REQUEST = request_of(semgrep_run())
JAEGER_HAS_NONE = {"error": {"httpCode": 404, "message": "trace not found"}}


class Backend:
    """A query API on loopback that gives one answer to everything, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.headers = {"content-type": "application/json"}
        self.body = b"{}"
        self.asked: list[tuple[str, str | None]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                backend.asked.append((self.path, self.headers["authorization"]))
                self.send_response(backend.status)
                for name, value in backend.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(backend.body)))
                self.end_headers()
                self.wfile.write(backend.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                del format, args

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def answer(self, document: Any, status: int = 200, **headers: str) -> None:
        """Set the answer."""
        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.status = status
        self.headers = {"content-type": "application/json", **headers}


@pytest.fixture
def backend() -> Iterator[Backend]:
    """Yield a backend that listens."""
    backend = Backend()
    thread = threading.Thread(target=backend.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield backend
    backend.server.shutdown()
    backend.server.server_close()
    thread.join()


@pytest.fixture(params=["jaeger", "tempo"])
def traces(request: pytest.FixtureRequest, backend: Backend) -> Iterator[StoredTraces]:
    """Yield a reader of each kind."""
    traces = StoredTraces(request.param, f"http://{backend.address}/base/")
    yield traces
    traces.close()


def fails(traces: StoredTraces) -> QueryError:
    """Return the error of reading a trace."""
    with pytest.raises(QueryError) as caught:
        traces.read(TRACE_ID)
    return caught.value


def test_trace_is_asked_for_by_its_id(backend: Backend) -> None:
    """Each API has its path below the base URL, and its form of the answer."""
    for name, document, path in (
        ("jaeger", {"result": with_hex_ids(REQUEST)}, f"/base/api/v3/traces/{TRACE_ID}"),
        ("tempo", {"trace": with_base64_ids(REQUEST)}, f"/base/api/v2/traces/{TRACE_ID}"),
    ):
        backend.answer(document)
        traces = StoredTraces(name, f"http://{backend.address}/base/")
        assert len(traces.read(TRACE_ID).spans) == 5
        traces.close()
        assert backend.asked[-1] == (path, None)


def test_trace_that_is_not_there_has_no_spans(backend: Backend) -> None:
    """Jaeger says so by its 404, Tempo by an empty trace."""
    answers: list[tuple[str, Any, int]] = [("jaeger", JAEGER_HAS_NONE, 404), ("tempo", {"trace": {}}, 200)]
    for name, document, status in answers:
        backend.answer(document, status)
        traces = StoredTraces(name, f"http://{backend.address}")
        assert traces.read(TRACE_ID).spans == []
        traces.close()


@pytest.mark.parametrize(
    ("body", "status", "content_type"),
    [
        (b"404 page not found", 404, "text/plain"),
        (b"<html>", 404, "text/html"),
        (b"[]", 404, "application/json"),
        (b"<html>login</html>", 200, "text/html"),
        (b"[]", 200, "application/json"),
        (b"[" * 100_000, 200, "application/json"),
        (b"", 200, "application/json"),
        (b"{}", 401, "application/json"),
        (b"{}", 302, "application/json"),
    ],
)
def test_what_is_no_query_api_does_not_say_that_traces_are_missing(
    backend: Backend, traces: StoredTraces, body: bytes, status: int, content_type: str
) -> None:
    """A wrong URL, a login page and a redirect end everything: nothing may be sent again because of them."""
    backend.answer(body, status, **{"content-type": content_type, "location": f"http://{backend.address}/elsewhere"})
    error = fails(traces)
    assert not error.is_of_trace
    assert len(backend.asked) == 1


@pytest.mark.parametrize("status", [413, 422, 429, 500, 503])
def test_backend_that_breaks_over_a_trace_may_have_others(backend: Backend, traces: StoredTraces, status: int) -> None:
    """Its words are told, in one line."""
    backend.answer(b"trace\ntoo large", status, **{"content-type": "text/plain"})
    error = fails(traces)
    assert (error.is_of_trace, error.reason) == (True, f"HTTP {status}: trace too large")


@pytest.mark.parametrize("document", [{}, {"trace": {"resourceSpans": 7}}, {"result": {"resourceSpans": [7]}}])
def test_answer_that_is_no_trace_concerns_this_trace(backend: Backend, traces: StoredTraces, document: Any) -> None:
    """JSON that no backend writes is not read as an empty trace."""
    backend.answer(document)
    assert fails(traces).is_of_trace


def test_answer_without_end_is_given_up(
    backend: Backend, traces: StoredTraces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory has a limit, and the next trace is read all the same."""
    monkeypatch.setattr(stored, "MAX_TRACE_BYTES", 1000)
    backend.answer(b" " * 200_000)
    error = fails(traces)
    assert (error.is_of_trace, error.reason) == (True, "answers with more than 1000 bytes")
    backend.answer({"trace": {}})
    assert traces.read(TRACE_ID).spans == []


def test_answer_that_takes_too_long_is_given_up(
    backend: Backend, traces: StoredTraces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All in all, not for each piece."""
    monkeypatch.setattr(stored, "_LONGEST_SECONDS", -1.0)
    backend.answer({"trace": {}})
    assert "did not finish" in fails(traces).reason


def test_headers_are_sent_and_not_shown(backend: Backend) -> None:
    """A tenant or a token may be what a backend asks for."""
    traces = StoredTraces("tempo", f"http://{backend.address}", headers={"authorization": "Bearer s3cret"})
    backend.answer(b"", 401)
    error = fails(traces)
    traces.close()
    assert backend.asked == [(f"/api/v2/traces/{TRACE_ID}", "Bearer s3cret")]
    assert "s3cret" not in f"{error} {vars(error)}"


def test_credentials_are_sent_and_not_shown(backend: Backend) -> None:
    """User and password of the URL are sent by basic authentication; errors and the URL are without them."""
    traces = StoredTraces("tempo", f"http://me:s3cret%21@{backend.address}/?key=s3cret")
    backend.answer(b"", 401)
    error = fails(traces)
    traces.close()
    assert backend.asked == [(f"/api/v2/traces/{TRACE_ID}", "Basic bWU6czNjcmV0IQ==")]
    assert traces.url == f"http://{backend.address}"
    assert "s3cret" not in f"{error} {traces.url} {vars(error)}"


def test_backend_that_is_away_is_told() -> None:
    """Nobody listens: the reason is the system's."""
    traces = StoredTraces("jaeger", "http://127.0.0.1:1")
    error = fails(traces)
    assert (error.is_of_trace, "refused" in error.reason) == (False, True)


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("zipkin", "http://localhost"),
        ("jaeger", "localhost:16686"),
        ("tempo", "ftp://x"),
        ("tempo", "http://u:s3cret@:x"),
    ],
)
def test_backend_or_url_that_cannot_be_used_is_refused(backend: str, url: str) -> None:
    """The argument is named, without secrets."""
    with pytest.raises(ConfigurationError, match="--reconcile") as caught:
        StoredTraces(backend, url)
    assert "s3cret" not in str(caught.value)

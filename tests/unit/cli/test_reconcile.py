"""`otel-patterns doctor --reconcile`: what it lists, sends and says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from otel_patterns.cli import reconcile as command
from otel_patterns.errors import QueryError
from otel_patterns.tracing import reconcile as reconcile_module
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.decode import ReadTrace, read_trace
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.replay import Selection, traces_of
from tests.receiver import spans_of
from tests.unit.cli.sinks import FakeSink, send_to_fake
from tests.unit.cli.support import RUN_ID, Result, call, event, whole_run, write_journal

OTHER = "PRUN-TEST-002"
URL = "http://localhost:16686"


class FakeBackend:
    """Has what a test puts there."""

    has: dict[str, ReadTrace | QueryError]

    def __init__(self, backend: str, url: str, *, headers: dict[str, str]) -> None:
        assert headers == {}
        self.backend, self.url = backend, url

    def read(self, trace_id: str) -> ReadTrace:
        """Return what is there, or nothing."""
        found = self.has.get(trace_id, ReadTrace())
        if isinstance(found, QueryError):
            raise found
        return found

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(autouse=True)
def sink(monkeypatch: pytest.MonkeyPatch) -> type[FakeSink]:
    """Let the command send to a fake."""
    return send_to_fake(monkeypatch, command)


@pytest.fixture(autouse=True)
def backend(monkeypatch: pytest.MonkeyPatch) -> type[FakeBackend]:
    """Let the command ask a fake."""

    class Backend(FakeBackend):
        has: dict[str, ReadTrace | QueryError] = {}  # noqa: RUF012  # of this test

    monkeypatch.setattr(command, "StoredTraces", Backend)
    return Backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal with two runs that have ended."""
    path = tmp_path / "pattern_events.jsonl"
    write_journal(path, [*whole_run(), event("execution.completed", 60, run_id=OTHER, status="success")])
    return path


def store(backend: type[FakeBackend], path: Path, run_id: str, *, without: int = 0) -> ReadTrace:
    """Put a run into the backend, without its last spans."""
    [trace] = traces_of(path, Selection(run_id=run_id))
    spans = list(trace.spans)
    stored = backend.has[trace.trace_id] = read_trace(encode(trace.resource, spans[: len(spans) - without]))
    return stored


def reconciled(path: Path, *options: str) -> Result:
    """Compare the journal with the backend."""
    return call("doctor", "--journal", str(path), "--reconcile", "jaeger", URL, *options)


def test_backend_that_has_everything_is_done(path: Path, backend: type[FakeBackend]) -> None:
    """Nothing is listed, and the count is told."""
    store(backend, path, RUN_ID)
    store(backend, path, OTHER)
    result = reconciled(path)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"otel-patterns: jaeger at {URL}: 2 runs compared, 2 whole\n"


def test_what_a_backend_does_not_have_is_listed(path: Path, backend: type[FakeBackend]) -> None:
    """A line for each run that is not whole says what is wrong with it, and the end how to repair it."""
    store(backend, path, RUN_ID, without=2)
    result = reconciled(path)
    assert result.code == 1
    assert result.lines == [f"{RUN_ID}  incomplete: 2 of 5 spans not there", f"{OTHER}  missing: 1 of 1 span not there"]
    assert "2 runs compared, 0 whole, 1 missing, 1 incomplete" in result.err
    assert "--fix sends what is missing" in result.err


def test_differences_are_told_as_data(path: Path, backend: type[FakeBackend]) -> None:
    """The first three are shown, escaped; none of them is sent again."""
    stored = store(backend, path, OTHER)
    stored.spans[0] = replace(stored.spans[0], name="\x1b[2J", status="OK", start_unix_nano=1, end_unix_nano=2)
    result = reconciled(path, "--run", OTHER, "--fix")
    span_id = stored.spans[0].span_id
    assert result.code == 1
    assert result.out.startswith(f"{OTHER}  different: name of span {span_id} is \\x1b[2J, in the journal ")
    assert result.out.endswith("; 1 more\n")
    assert "what is different stays so" in result.err
    assert "0 missing spans of 0 runs sent" in result.err


def test_fix_sends_missing_spans_alone_and_puts_them_on_record(
    path: Path, backend: type[FakeBackend], sink: type[FakeSink]
) -> None:
    """Both runs travel in one request; nothing is owed for them any more than before."""
    store(backend, path, RUN_ID, without=2)
    result = reconciled(path, "--fix")
    assert result.code == 0
    assert "3 missing spans of 2 runs sent and acknowledged" in result.err
    [body] = sink.bodies
    wanted = [span for trace in traces_of(path, Selection()) for span in trace.spans]
    assert [span.span_id.hex() for _, span in spans_of(body)] == [span.span_id for span in wanted[3:]]
    [record] = (path.parent / "delivery").glob("*.jsonl")
    assert len(record.read_bytes().splitlines()) == 2


def test_fix_works_beside_a_shipper(path: Path, sink: type[FakeSink]) -> None:
    """Whoever owns the destination sends the same bytes; nobody has to stop it."""
    record = DeliveryRecord(path, "http://localhost:4318/v1/traces")
    with record.owned():
        assert call("replay", "--journal", str(path)).code == 1
        assert reconciled(path, "--fix").code == 0
    record.close()
    assert len(sink.bodies) == 1


def test_fix_sends_nothing_more_to_a_receiver_that_takes_nothing(
    path: Path, sink: type[FakeSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large gap makes no storm of requests; what was not sent counts as not delivered."""
    monkeypatch.setattr(reconcile_module, "MAX_BATCH_BYTES", 1)
    sink.answer = Answer("retry", "HTTP 503")
    result = reconciled(path, "--fix")
    assert (result.code, len(sink.bodies)) == (1, 1)
    assert "not delivered: HTTP 503" in result.err
    assert "the same command sends what is still missing" in result.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer("misconfigured", "HTTP 404"), "not delivered: HTTP 404"),
        (Answer("refused", "no"), "parked: refused: no"),
    ],
)
def test_fix_that_is_not_taken_fails(path: Path, sink: type[FakeSink], answer: Answer, words: str) -> None:
    """What the receiver said is told, and the exit code is 1."""
    sink.answer = answer
    result = reconciled(path, "--fix")
    assert result.code == 1
    assert words in result.err


def test_json_has_a_line_for_each_run_and_a_summary(path: Path, backend: type[FakeBackend]) -> None:
    """An unreadable trace has a reason; the last line counts."""
    stored = store(backend, path, RUN_ID)
    backend.has[stored.spans[0].trace_id] = QueryError(URL, "HTTP 500", is_of_trace=True)
    result = reconciled(path, "--json")
    unreadable, missing, summary = (json.loads(line) for line in result.lines)
    assert (result.code, unreadable["state"], unreadable["reason"]) == (1, "unreadable", "HTTP 500")
    assert list(missing) == ["pattern_run_id", "trace_id", "state", "missing", "different", "reason"]
    assert missing["reason"] is None
    assert summary == {
        "summary": {
            "compared": 2, "whole": 0, "missing": 1, "incomplete": 0, "different": 0, "unreadable": 1,
            "cannot_be_projected": 0,
        }
    }  # fmt: skip


def test_unreadable_trace_is_not_repaired(path: Path, backend: type[FakeBackend], sink: type[FakeSink]) -> None:
    """Nobody knows what of it is missing."""
    stored = store(backend, path, RUN_ID)
    backend.has[stored.spans[0].trace_id] = QueryError(URL, "HTTP 500", is_of_trace=True)
    result = reconciled(path, "--run", RUN_ID, "--fix")
    assert (result.code, sink.bodies) == (1, [])
    assert f"{RUN_ID}  unreadable: HTTP 500" in result.out


def test_backend_that_cannot_be_asked_sends_nothing(
    path: Path, backend: type[FakeBackend], sink: type[FakeSink]
) -> None:
    """What was found before is found again the next time."""
    stored = store(backend, path, OTHER)
    backend.has[stored.spans[0].trace_id] = QueryError(URL, "HTTP 401")
    result = reconciled(path, "--fix")
    assert (result.code, sink.bodies) == (1, [])
    assert f"{URL}: HTTP 401" in result.err


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_fix_without_traces_is_wrong_usage(path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The variable is named; without `--fix` it does not matter."""
    monkeypatch.setenv(name, value)
    assert reconciled(path).code == 1
    result = reconciled(path, "--fix")
    assert (result.code, result.out) == (2, "")
    assert name in result.err


def test_progress_is_told_on_a_terminal_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks on sees that it goes on; a log does not fill."""
    monkeypatch.setattr(command, "_SECONDS_BETWEEN_WORDS", 0.0)
    assert "otel-patterns: 1 run compared\n" not in reconciled(path).err
    monkeypatch.setattr(command, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True)))
    assert "otel-patterns: 1 run compared\n" in reconciled(path).err


def test_runs_are_selected_by_job_and_time(path: Path) -> None:
    """As `replay` selects them."""
    assert reconciled(path, "--job", "JOB-NOBODY").code == 0
    since = reconciled(path, "--since", "2026-11-22T09:30:30Z")
    assert [line.split()[0] for line in since.lines] == [OTHER]


@pytest.mark.parametrize("header", ["s3cret", "=s3cret", "two words=s3cret", "X-Scope-OrgID=s3cret\r\nx: y"])
def test_header_that_is_none_is_refused_and_not_shown(header: str) -> None:
    """It says which one, and what one looks like."""
    result = call("doctor", "--reconcile", "tempo", "http://127.0.0.1:9", "--header", "a=b", "--header", header)
    assert result.code == 2
    assert "--header='no. 2': give NAME=VALUE" in result.err
    assert "s3cret" not in result.err + result.out

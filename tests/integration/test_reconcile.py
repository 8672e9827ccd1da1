"""`doctor` and its `--reconcile` against real backends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from otel_patterns.clock import Clock
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.testing import START_UNIX_NANO
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.sink import OtlpSink
from otel_patterns.tracing.trace import RunTrace, Span
from tests.backends.servers import JaegerServer, TempoServer
from tests.receiver import Receiver, Reply
from tests.streams import Stream, failed_run, semgrep_run
from tests.unit.cli.support import Result, call


@pytest.fixture(params=["jaeger", "tempo"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> JaegerServer | TempoServer:
    """Return a backend whose OTLP endpoint is the one in force."""
    server: JaegerServer | TempoServer = request.getfixturevalue(request.param)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.otlp_http_endpoint)
    return server


class Journal:
    """A journal of runs of which a backend has what a test sends."""

    def __init__(self, path: Path, server: JaegerServer | TempoServer) -> None:
        self.path = path
        self.server = server
        self._sink = OtlpSink(Endpoint(f"{server.otlp_http_endpoint}/v1/traces"))

    def add(self, *, fails: bool = False, **otel: object) -> RunTrace:
        """Write a run, and return its trace; nothing is sent."""
        stream = Stream(f"PRUN-{Clock().new_ulid()}")
        events: list[PatternEvent] = failed_run(stream, exit_code=1) if fails else semgrep_run(stream, **otel)
        with self.path.open("ab") as file:
            file.writelines(event.to_line() for event in events)
        trace = project(events)
        assert trace is not None
        return trace

    def send(self, trace: RunTrace, *spans: Span) -> None:
        """Send spans of a run."""
        assert self._sink.send(encode(trace.resource, spans)).kind == "acknowledged"

    def reconcile(self, *options: str) -> Result:
        """Compare it with the backend."""
        name = "jaeger" if isinstance(self.server, JaegerServer) else "tempo"
        return call("doctor", "--journal", str(self.path), "--reconcile", name, self.server.query_url, *options)

    def close(self) -> None:
        """Close connections."""
        self._sink.close()


@pytest.fixture
def journal(tmp_path: Path, backend: JaegerServer | TempoServer) -> Iterator[Journal]:
    """Yield an empty journal."""
    journal = Journal(tmp_path / "pattern_events.jsonl", backend)
    yield journal
    journal.close()


def test_reconcile_lists_what_a_backend_does_not_have_and_fix_sends_it(journal: Journal) -> None:
    """Whole runs are not named; a missing, an incomplete and a changed one are, and only what is missing is sent."""
    whole, failed, missing, incomplete = journal.add(), journal.add(fails=True), journal.add(), journal.add()
    journal.add(sampled=False)
    journal.add(native=True)
    for trace in (whole, failed):
        journal.send(trace, *trace.spans)
    journal.send(incomplete, *incomplete.stages[:2])
    assert incomplete.root is not None

    first = journal.reconcile("--json")
    *runs, summary = (json.loads(line) for line in first.lines)
    assert first.code == 1
    assert [(run["pattern_run_id"], run["state"]) for run in runs] == [
        (missing.run_id, "missing"),
        (incomplete.run_id, "incomplete"),
    ]
    assert runs[0]["missing"] == [span.span_id for span in missing.spans]
    assert runs[1]["missing"] == [span.span_id for span in (incomplete.root, *incomplete.stages[2:])]
    assert [run["different"] for run in runs] == [[], []]
    assert summary["summary"] == {
        "compared": 4, "whole": 2, "missing": 1, "incomplete": 1, "different": 0, "unreadable": 0,
        "cannot_be_projected": 0,
    }  # fmt: skip

    fixed = journal.reconcile("--fix")
    assert fixed.code == 0, fixed.err
    lost = len(list(missing.spans)) + len(list(incomplete.spans)) - 2
    assert f"{lost} missing spans of 2 runs sent and acknowledged" in fixed.err
    again = journal.reconcile("--fix")
    assert (again.code, again.out) == (0, "")
    assert "4 runs compared, 4 whole" in again.err
    assert "0 missing spans" in again.err


def test_reconcile_finds_what_was_acknowledged_and_lost(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """On record everything is delivered, and replay sends nothing; only the backend itself knows better."""
    traces = [journal.add() for _ in range(20)]
    with Receiver() as loses_all, monkeypatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", loses_all.base_url)
        assert call("replay", "--journal", str(journal.path)).code == 0
        assert "0 runs delivered (0 spans), 20 delivered before" in call("replay", "--journal", str(journal.path)).err
    found = journal.reconcile("--fix")
    assert [line.split()[:2] for line in found.lines] == [[trace.run_id, "missing:"] for trace in traces]
    assert "100 missing spans of 20 runs sent and acknowledged" in found.err
    assert journal.reconcile().code == 0


def test_reconcile_names_what_is_different_and_leaves_it(journal: Journal) -> None:
    """A copy with another name, time, status or attribute is told field by field; `--fix` does not send it again."""
    trace = journal.add()
    assert trace.root is not None
    changed = structs.replace(
        trace.root,
        name="another",
        end_unix_nano=trace.root.end_unix_nano + 1_000_000,
        failed=True,
        attributes=tuple((key, "PAT-OTHER" if key == "pattern.id" else value) for key, value in trace.root.attributes),
    )
    journal.send(trace, changed, *trace.stages)
    result = journal.reconcile("--json", "--fix")
    run, summary = (json.loads(line) for line in result.lines)
    assert (result.code, run["state"], run["missing"]) == (1, "different", [])
    assert {difference["field"]: difference["found"] for difference in run["different"]} == {
        "name": "another",
        "end_unix_nano": changed.end_unix_nano,
        "status": "ERROR",
        "pattern.id": "PAT-OTHER",
    }
    assert {difference["span_id"] for difference in run["different"]} == {changed.span_id}
    assert summary["summary"]["sent_spans"] == 0


def test_reconcile_compares_joined_run_in_its_callers_trace(journal: Journal) -> None:
    """A run that joined a trace is looked for there, and spans of others in it do not count."""
    trace_id = f"{Clock().random_bits():032x}"
    caller = f"00-{trace_id}-{'1' * 16}-01"
    one, other = (journal.add(traceparent=caller, join="child", remote=True) for _ in range(2))
    assert one.trace_id == other.trace_id == trace_id
    journal.send(one, *one.spans)
    assert [line.split()[:2] for line in journal.reconcile().lines] == [[other.run_id, "missing:"]]
    assert journal.reconcile("--run", one.run_id).code == 0


def test_reconcile_finds_no_difference_in_what_backends_keep(journal: Journal) -> None:
    """Texts of all kinds, numbers at their ends, times, a failure and a link come back as they were sent."""
    stream = Stream(f"PRUN-{Clock().new_ulid()}")
    odd: dict[str, object] = {
        "empty": "", "nul": "a\0b", "lines": "a\nb\u2028", "wide": "日本 🎉", "long": "é" * 3000, "surrogate": "\ud800",
        "whole": 1.0, "small": 5e-324, "large": 1.7e308, "minus": -0.0, "most": 2**63 - 1, "least": -(2**63),
        "more": 2**70, "yes": True, "list": ["a", 1], "nothing": None, "deep": {"a": {"b": 1}},
    }  # fmt: skip
    events = [
        stream.event(names.SELECTION_RESOLVED, {"operation_kind": "x y", "inputs_preview": odd}, seconds=1e-6),
        stream.event(names.EXECUTION_STARTED, {"executor": "subprocess", "command": "a"}, seconds=0.123457),
        stream.event(
            names.EXECUTION_FAILED, {"exit_code": 3, "error_type": "t", "error_message": "é\0"}, status="failed"
        ),
    ]
    with journal.path.open("ab") as file:
        file.writelines(event.to_line() for event in events)
    trace = project(events)
    assert trace is not None
    journal.send(trace, *trace.spans)
    link = journal.add(traceparent=f"00-{'7' * 32}-{'1' * 16}-01", tracestate="a=b", join="link")
    journal.send(link, *link.spans)
    result = journal.reconcile()
    assert (result.code, result.out) == (0, "")


def test_doctor_with_backend_finds_receiver_and_clock(journal: Journal) -> None:
    """A real backend takes the empty request of the probe, and tells its time."""
    trace = journal.add()
    result = call("doctor", "--journal", str(journal.path), "--json")
    document = json.loads(result.out)
    assert document["endpoint"]["probe"] == {"kind": "acknowledged", "message": ""}
    # The command's clock stands still, the backend's is that of this machine.
    ahead = time.time() - (START_UNIX_NANO / 1e9 + 3600)
    assert document["clock"]["receiver_ahead_seconds"] == pytest.approx(ahead, abs=3)
    assert (document["owed"], document["problems"], result.code) == (1, 0, 0)
    assert document["journal"]["segments"] == 1
    assert call("replay", "--journal", str(journal.path), "--run", trace.run_id).code == 0
    assert json.loads(call("doctor", "--journal", str(journal.path), "--json").out)["owed"] == 0


def test_doctor_with_backend_by_grpc(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over gRPC the probe is taken as well; there is no date to compare clocks with."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", journal.server.otlp_grpc_endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    document = json.loads(call("doctor", "--journal", str(journal.path), "--json").out)
    assert (document["endpoint"]["protocol"], document["endpoint"]["probe"]["kind"]) == ("grpc", "acknowledged")
    assert document["clock"]["receiver_ahead_seconds"] is None


def test_doctor_reads_date_of_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the receiver is that of the answer's date, also when the answer is no success."""
    with Receiver(lambda _number: Reply(status=503)) as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.base_url)
        result = call("doctor", "--journal", str(tmp_path / "none"), "--json")
        assert receiver.requests == [b""]
    document = json.loads(result.out)
    assert (result.code, document["endpoint"]["probe"]["kind"]) == (1, "retry")
    # The command's clock is a fixed one of some day, the receiver's is that of today.
    assert abs(document["clock"]["receiver_ahead_seconds"]) > 3600

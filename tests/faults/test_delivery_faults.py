"""Delivery when the receiver is away, slow, wrong, or does not want what it gets, over HTTP and over gRPC.

The numbers are those of the project's list of faults of sending. Each test asserts that its fault happened.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import grpc
import pytest

from otel_patterns import PatternEventEmitter, configure, emit_pattern_event, pattern_run, shutdown
from otel_patterns.tracing.delivered import DeliveryRecord, Settled
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.replay import Selection, replay, traces_of
from otel_patterns.tracing.sink import OtlpSink
from tests.backends.polling import wait_for
from tests.receiver import AnyReceiver, GrpcReceiver, GrpcReply, Receiver, Reply, partial_success, spans_of

PROTOCOLS = ["http/protobuf", "grpc"]
DEAD = "http://127.0.0.1:1"
SECRET = "s3cret-token"


@dataclass
class Fault:
    """The same answer in both protocols."""

    http: Reply = field(default_factory=Reply)
    grpc: GrpcReply = field(default_factory=GrpcReply)


GOOD = Fault()
HANGING = Fault(Reply(hang=True), GrpcReply(hang=True))
CUT = Fault(Reply(drop=True), GrpcReply(drop=True))


def unavailable(retry_after: str | None = None, seconds: float | None = None) -> Fault:
    """Return the answer of a receiver that is overloaded and may say when to come back."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return Fault(Reply(status=503, headers=headers), GrpcReply(code=grpc.StatusCode.UNAVAILABLE, retry_seconds=seconds))


def receiving(protocol: str, script: Callable[[int], Fault]) -> AnyReceiver:
    """Return a receiver that answers its n-th request by the script."""
    if protocol == "grpc":
        return GrpcReceiver(lambda number: script(number).grpc)
    return Receiver(lambda number: script(number).http)


class Program:
    """A program that makes runs, and what is on record of its receiver."""

    def __init__(self, emitter: PatternEventEmitter, url: str) -> None:
        self.emitter = emitter
        self.url = url

    def run(self, runs: int = 1, details: Mapping[str, object] | None = None) -> float:
        """Make runs of two spans each and return the seconds of the slowest event."""
        slowest = 0.0
        for _ in range(runs):
            began = time.monotonic()
            with pattern_run("PAT-A", job_id="JOB-1", operation_kind="demo", emitter=self.emitter) as run:
                run.result_summary.update(details or {})
            slowest = max(slowest, time.monotonic() - began)
        return slowest

    @property
    def settled(self) -> Settled:
        """Return what is on record."""
        return DeliveryRecord(self.emitter.global_log, self.url).load()

    def spans(self, where: str) -> set[str]:
        """Return the ids of the spans that are `owed`, `parked` or `acknowledged`."""
        settled = self.settled
        found: dict[str, set[str]] = {"parked": set(), "acknowledged": set(), "owed": set()}
        for trace in traces_of(self.emitter.global_log, Selection()):
            for span in trace.spans:
                is_parked = span.span_id in settled.parked.get(trace.run_id, {})
                is_settled = settled.has(trace.run_id, [span.span_id])
                found["parked" if is_parked else "acknowledged" if is_settled else "owed"].add(span.span_id)
        return found[where]


Start = Callable[..., Program]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each test with it runs over HTTP and over gRPC."""
    return request.param


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Yield a function that starts a program whose runs go to a URL."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)

    def started(receiver: AnyReceiver | str, protocol: str, **variables: str) -> Program:
        for name, value in {"PROTOCOL": protocol, "TIMEOUT": "5", **variables}.items():
            monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
        url = receiver if isinstance(receiver, str) else receiver.url
        return Program(configure(journal=tmp_path / "j.jsonl", endpoint=url), url)

    yield started
    shutdown()


def pay(program: Program, protocol: str, *, parked: bool = False) -> int:
    """Replay and return how many runs are owed afterwards."""
    endpoint = Endpoint(program.url, protocol="grpc" if protocol == "grpc" else "http/protobuf")
    sink = OtlpSink(endpoint)
    try:
        return replay(program.emitter.global_log, sink, Selection(parked=parked)).owed
    finally:
        sink.close()


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid:4318"], ids=["closed port", "no such name"])
def test_x1_nothing_listens_costs_the_engine_nothing(start: Start, protocol: str, host: str) -> None:
    """Runs are journaled as fast as ever, the failure is counted, and everything is owed."""
    program = start(f"http://{host}", protocol)
    slowest = program.run(200)
    assert wait_for(lambda: program.emitter.counts["delivery"], timeout_seconds=10)
    assert slowest < 1.0
    assert not program.emitter.flush(1)
    began = time.monotonic()
    shutdown()
    assert time.monotonic() - began < 2.5
    assert len(program.spans("owed")) == 400


@pytest.mark.parametrize("fault", ["hanging", "cut", "half"])
def test_x2_slow_or_broken_answer_is_given_up_and_sent_again(start: Start, protocol: str, fault: str) -> None:
    """Each request has a deadline; what was not answered is sent again with the same bytes, then acknowledged."""
    faults = {"hanging": HANGING, "cut": CUT, "half": Fault(Reply(body=b"\x0a", cut=True), GrpcReply(drop=True))}
    with receiving(protocol, lambda number: faults[fault] if number == 1 else GOOD) as receiver:
        program = start(receiver, protocol, TIMEOUT="0.4")
        slowest = program.run()
        assert receiver.wait_for(2)
        assert wait_for(lambda: not program.spans("owed"), timeout_seconds=10)
        assert slowest < 1.0
        assert program.emitter.counts["delivery"] == 1
        assert receiver.requests[1].startswith(receiver.requests[0])


@pytest.mark.parametrize(
    ("fault", "least", "most"),
    [
        (lambda: unavailable("1", 1.0), 1.0, 4.0),
        (lambda: unavailable(formatdate(time.time() + 2, usegmt=True), 1.0), 0.9, 4.0),
        (lambda: unavailable(formatdate(time.time() - 3600, usegmt=True), -1.0), 0.3, 3.0),
        (lambda: unavailable("soon"), 0.3, 3.0),
    ],
    ids=["seconds", "date", "past", "garbage"],
)
def test_x3_receiver_says_when_to_come_back(
    start: Start, protocol: str, fault: Callable[[], Fault], least: float, most: float
) -> None:
    """It is asked again when it said so, not sooner; without a time that can be read after the usual pause."""
    times: list[float] = []

    def script(number: int) -> Fault:
        times.append(time.monotonic())
        return fault() if number == 1 else GOOD

    with receiving(protocol, script) as receiver:
        program = start(receiver, protocol)
        program.run()
        assert wait_for(lambda: program.spans("acknowledged"), timeout_seconds=10)
        assert least <= times[1] - times[0] <= most
        assert len(times) == 2


def test_x3_receiver_that_asks_for_an_hour_is_left_alone_and_owed(start: Start, protocol: str) -> None:
    """Nothing is dropped and nothing spins: the process ends in time, and a replay gives up at the first answer."""
    with receiving(protocol, lambda _number: unavailable("3600", 3600.0)) as receiver:
        program = start(receiver, protocol)
        program.run(5)
        assert wait_for(lambda: program.emitter.counts["delivery"], timeout_seconds=10)
        # Longer than two pauses without Retry-After would be.
        assert not receiver.wait_for(2, timeout_seconds=2.5)
        began = time.monotonic()
        shutdown()
        assert time.monotonic() - began < 2.5
        assert pay(program, protocol) == 5
        assert len(receiver.requests) == 2
        assert len(program.spans("owed")) == 10


WRONG: dict[str, Reply | GrpcReply] = {
    **{f"HTTP {status}": Reply(status=status) for status in (401, 403, 404, 405, 407)},
    "HTTP 307": Reply(status=307, headers={"location": f"{DEAD}/v1/traces"}),
    "HTTP 200 with HTML": Reply(content_type="text/html", body=b"<html>log in</html>"),
    "HTTP 200 with the wrong type": Reply(content_type="application/json", body=b"{}"),
    "HTTP 200 with a large body": Reply(body=b"x" * 200_000),
    "HTTP 200 with a bomb": Reply(body=gzip.compress(b"\0" * 50_000_000, 9), headers={"content-encoding": "gzip"}),
    "gRPC UNAUTHENTICATED": GrpcReply(code=grpc.StatusCode.UNAUTHENTICATED, details=f"{SECRET} is no token"),
    "gRPC PERMISSION_DENIED": GrpcReply(code=grpc.StatusCode.PERMISSION_DENIED),
    "gRPC UNIMPLEMENTED": GrpcReply(code=grpc.StatusCode.UNIMPLEMENTED),
    "gRPC RESOURCE_EXHAUSTED": GrpcReply(code=grpc.StatusCode.RESOURCE_EXHAUSTED, details="quota"),
    "gRPC OK with HTML": GrpcReply(body=b"<html>"),
    "gRPC OK with a large body": GrpcReply(body=b"x" * 200_000),
    "gRPC OK with a bomb": GrpcReply(body=gzip.compress(b"\0" * 50_000_000, 9)),
}


@pytest.mark.parametrize("name", WRONG)
def test_x4_wrong_receiver_is_said_once_and_everything_is_kept(
    start: Start, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Sending stops after one request however many runs follow; all stay owed, and no secret is shown."""
    reply = WRONG[name]
    protocol = "grpc" if isinstance(reply, GrpcReply) else "http/protobuf"
    fault = Fault(grpc=reply) if isinstance(reply, GrpcReply) else Fault(http=reply)
    with receiving(protocol, lambda _number: fault) as receiver:
        program = start(receiver, protocol, HEADERS=f"authorization=Bearer {SECRET}")
        program.run()
        assert wait_for(lambda: program.emitter.counts["misconfigured"], timeout_seconds=10)
        program.run(20)
        assert not program.emitter.flush(0.5)
        shutdown()
        assert len(receiver.requests) == 1
        assert receiver.headers[0]["authorization"] == f"Bearer {SECRET}"
    said = [record.getMessage() for record in caplog.records if "until this is repaired" in record.getMessage()]
    assert len(said) == 1
    assert SECRET not in caplog.text
    assert len(program.spans("owed")) == 42


def test_x4_repaired_receiver_gets_what_was_kept(start: Start, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the long pause it is tried again, and what waited is delivered."""
    monkeypatch.setattr("otel_patterns.tracing.backoff.MISCONFIGURED_SECONDS", 0.5)
    wrong = Fault(Reply(status=401), GrpcReply(code=grpc.StatusCode.UNAUTHENTICATED))
    with receiving(protocol, lambda number: wrong if number == 1 else GOOD) as receiver:
        program = start(receiver, protocol)
        program.run()
        assert wait_for(lambda: program.spans("acknowledged"), timeout_seconds=10)
        assert program.emitter.counts["misconfigured"] == 1


REFUSALS = {
    "refused": Fault(
        Reply(status=400, content_type="text/plain", body=b"bad span"),
        GrpcReply(code=grpc.StatusCode.INVALID_ARGUMENT, details="bad span"),
    ),
    "too_large": Fault(
        Reply(status=413), GrpcReply(code=grpc.StatusCode.RESOURCE_EXHAUSTED, details="message larger than max")
    ),
    "failed": Fault(Reply(status=500), GrpcReply(code=grpc.StatusCode.INTERNAL)),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_x4_poison_span_is_singled_out(start: Start, protocol: str, kind: str) -> None:
    """Its neighbours are taken, also those of its run; it is parked, or owed where the receiver broke over it."""

    def script(number: int) -> Fault:
        names = {span.name for _, span in spans_of(receiver.requests[number - 1])}
        return REFUSALS[kind] if "poison PAT-A" in names else GOOD

    with receiving(protocol, script) as receiver:
        program = start(receiver, protocol)
        program.run(10)
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="poison", emitter=program.emitter):
            pass
        program.run(10)
        assert not program.emitter.flush(10)
        assert program.emitter.counts[kind] == 1
        poison = {span.span_id.hex() for _, span in receiver.spans if span.name == "poison PAT-A"}
        assert program.spans("owed" if kind == "failed" else "parked") == poison
        assert len(program.spans("acknowledged")) == 41
        before = len(receiver.requests)
        assert pay(program, protocol) == (1 if kind == "failed" else 0)
        assert (len(receiver.requests) > before) == (kind == "failed")
        receiver.requests.clear()
        pay(program, protocol, parked=True)
        assert {span.span_id.hex() for _, span in receiver.spans} == poison


def test_x4_span_that_is_too_large_for_the_receiver_itself_is_parked(start: Start) -> None:
    """GRPC's own limit, not a script: the requests are halved until all but the large span fit."""
    with GrpcReceiver(max_request_bytes=3_500) as receiver:
        program = start(receiver, "grpc")
        program.run(20)
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="large", emitter=program.emitter) as run:
            run.result_summary.update({f"key{number}": "x" * 1000 for number in range(5)})
        assert not program.emitter.flush(10)
        assert program.emitter.counts["too_large"] == 1
        assert len(program.spans("parked")) == 1
        assert program.spans("owed") == set()
        (reason,) = {words for spans in program.settled.parked.values() for words in spans.values()}
        assert "larger than max" in reason


def test_x5_rejected_spans_are_counted_and_never_sent_again(start: Start, protocol: str) -> None:
    """A partial success is not retried: all of its request is parked with the receiver's words, and shown."""
    body = partial_success(2, "too old")
    with receiving(protocol, lambda _number: Fault(Reply(body=body), GrpcReply(body=body))) as receiver:
        program = start(receiver, protocol)
        program.run()
        assert not program.emitter.flush(5)
        shutdown()
        assert program.emitter.counts["rejected"] == 1
        assert program.emitter.counts["rejected_spans"] == 2
        assert len(program.spans("parked")) == program.emitter.counts["parked"] == 2
        assert pay(program, protocol) == 0
        assert len(receiver.requests) == 1
        lines = Path(DeliveryRecord(program.emitter.global_log, program.url).path).read_text().splitlines()
        assert [json.loads(line)["reason"] for line in lines] == ["too old"]


def test_x5_warning_of_the_receiver_is_said(start: Start, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was rejected, so all is acknowledged; what the receiver has to say is logged and counted."""
    body = partial_success(0, "use the other port")
    with receiving(protocol, lambda _number: Fault(Reply(body=body), GrpcReply(body=body))) as receiver:
        program = start(receiver, protocol)
        program.run()
        assert program.emitter.flush(5)
        assert program.emitter.counts["warning"] == len(receiver.requests) == 1
        assert "use the other port" in caplog.text
        assert program.spans("owed") == set()


def test_x6_answer_that_got_lost_is_asked_for_again_with_the_same_bytes(start: Start, protocol: str) -> None:
    """The receiver has taken the spans, and its answer never arrived: it gets them twice, alike."""
    with receiving(protocol, lambda number: CUT if number == 1 else GOOD) as receiver:
        program = start(receiver, protocol)
        program.run()
        assert receiver.wait_for(2)
        assert wait_for(lambda: not program.spans("owed"), timeout_seconds=10)
        first = {span.span_id: span.SerializeToString() for _, span in spans_of(receiver.requests[0])}
        second = {span.span_id: span.SerializeToString() for _, span in spans_of(receiver.requests[1])}
        assert first
        assert second.items() >= first.items()


def test_x10_values_that_cannot_be_encoded_cost_no_run(start: Start, protocol: str) -> None:
    """NaN, integers beyond 64 bits and lone surrogates become text, and the run arrives."""
    odd = {"nan": float("nan"), "huge": 10**400, "text": "a\ud800b", "deep": {"x": [float("inf"), -(2**63) - 1]}}
    with receiving(protocol, lambda _number: GOOD) as receiver:
        program = start(receiver, protocol)
        program.run(details=odd)
        emit_pattern_event(
            "pattern.execution.failed", "JOB-1", "PRUN-X10", "PAT-B", "failed", odd, emitter=program.emitter
        )
        assert program.emitter.flush(5)
        assert program.spans("owed") == set()
        assert {"demo PAT-A", "unknown PAT-B"} <= {span.name for _, span in receiver.spans}
    values = [event.details for event in program.emitter.get_events()]
    assert any("text" in details for details in values)

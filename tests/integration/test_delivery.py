"""Delivery of live runs to a receiver that behaves as it is told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns import PatternEvent, PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.clock import encode_ulid
from otel_patterns.tracing import otlp
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.replay import Selection, traces_of
from tests.backends.polling import wait_for
from tests.receiver import GrpcReceiver, GrpcReply, Receiver, Reply

JOB_ID = "JOB-TEST-001"
Configure = Callable[[Receiver | str], PatternEventEmitter]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Yield a function that configures a journal in `tmp_path` and delivery to a receiver."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)

    def configure_for(receiver: Receiver | str) -> PatternEventEmitter:
        url = receiver if isinstance(receiver, str) else receiver.url
        return configure(journal=tmp_path / "pattern_events.jsonl", endpoint=url)

    yield configure_for
    shutdown()


def run_once(emitter: PatternEventEmitter, *, operation_kind: str = "demo") -> str:
    """Run a pattern with a validation and an execution, and return the run's id."""
    with pattern_run("PAT-DEMO-001", job_id=JOB_ID, operation_kind=operation_kind, emitter=emitter) as run:
        with run.validation("preflight", ["a"]):
            pass
        with run.execution(["true"]):
            pass
    return run.pattern_run_id


def owed(emitter: PatternEventEmitter, destination: str) -> set[str]:
    """Return the names of spans that the destination has not acknowledged."""
    settled = DeliveryRecord(emitter.global_log, destination).load()
    return {
        span.name
        for trace in traces_of(emitter.global_log, Selection())
        for span in trace.spans
        if not settled.has(trace.run_id, [span.span_id])
    }


def test_run_that_ended_is_delivered_once_and_acknowledged(configured: Configure) -> None:
    """Each span of a run goes out once, in its final form, and is on record when the answer was read."""
    with Receiver() as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert emitter.flush(5)
        sent = [span.name for _, span in receiver.spans]
        assert sorted(sent) == ["demo PAT-DEMO-001", "execution PAT-DEMO-001", "validation PAT-DEMO-001"]
        assert receiver.headers[0]["content-type"] == "application/x-protobuf"
        assert owed(emitter, receiver.url) == set()


def test_stage_and_marker_appear_while_the_run_is_going_on(configured: Configure) -> None:
    """A watcher sees a closed stage at once and the marker after a second, before the run has ended."""
    with Receiver() as receiver:
        emitter = configured(receiver)
        with pattern_run("PAT-DEMO-001", job_id=JOB_ID, operation_kind="demo", emitter=emitter) as run:
            with run.validation("preflight", ["a"]):
                pass
            with run.execution(["sleep"]):
                assert receiver.wait_for_span("validation")
                assert receiver.wait_for_span("run started")
                assert not receiver.wait_for_span("demo", timeout_seconds=0.01)
        assert emitter.flush(5)
        sent = [span.name for _, span in receiver.spans]
        assert sorted(set(sent)) == sorted(sent)
        assert "demo PAT-DEMO-001" in sent


def test_run_shorter_than_a_second_has_no_marker(configured: Configure) -> None:
    """The marker is noise on a short run, so it is not sent."""
    with Receiver() as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        emitter.flush(5)
        # Longer than the marker's delay: the thread must have dropped the run.
        with pattern_run("PAT-DEMO-001", job_id=JOB_ID, operation_kind="long", emitter=emitter):
            assert receiver.wait_for_span("run started")
        emitter.flush(5)
        assert [span.name for _, span in receiver.spans].count("run started") == 1


def test_receiver_that_asks_to_come_back_gets_the_same_bytes_again(configured: Configure) -> None:
    """503 is retried with a pause, by the same bytes, and then it is delivered."""
    with Receiver(lambda number: Reply(status=503) if number == 1 else Reply()) as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert receiver.wait_for(2)
        shutdown()
        first, second = receiver.requests[:2]
        assert second.startswith(first)
        assert owed(emitter, receiver.url) == set()


def test_receiver_that_does_not_answer_is_not_projected_for(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nobody answers, no time of the engine is spent on projecting; the runs are owed."""
    emitter = configured("http://127.0.0.1:1/v1/traces")
    run_once(emitter)
    assert wait_for(lambda: emitter.counts["delivery"], timeout_seconds=10)
    projected: list[str] = []

    def encode_run(*_arguments: object, **_named: object) -> None:
        projected.append("a run")

    monkeypatch.setattr(otlp, "encode_run", encode_run)
    for _ in range(50):
        run_once(emitter)
    assert not emitter.flush(1)
    shutdown()
    assert projected == []
    assert emitter.counts["owed"] >= 1
    assert len(list(traces_of(emitter.global_log, Selection()))) == 51


def test_answer_lost_after_the_receiver_took_it_is_sent_again(configured: Configure) -> None:
    """A connection closed without an answer is no acknowledgement."""
    with Receiver(lambda number: Reply(drop=True) if number == 1 else Reply()) as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert receiver.wait_for(2)
        shutdown()
        assert owed(emitter, receiver.url) == set()


def test_unsampled_run_is_in_the_journal_and_not_owed(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler decides once, at the start; the decision is on record and an unsampled run is never sent."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with Receiver() as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert emitter.flush(5)
        assert receiver.requests == []
        (trace,) = traces_of(emitter.global_log, Selection())
        assert not trace.sampled
        assert len(emitter.get_events()) == 5


def test_resource_is_that_of_the_environment(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are honoured and recorded with the run."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "engine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,team=a%20b")
    with Receiver() as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert emitter.flush(5)
        resource = {item.key: item.value.string_value for item in receiver.spans[0][0].resource.attributes}
        assert (resource["service.name"], resource["team"]) == ("engine", "a b")


def test_sdk_disabled_sends_nothing(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED turns sending off; the journal is written all the same."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with Receiver() as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert emitter.destination is None
        assert len(emitter.get_events()) == 5


def test_second_terminal_event_sends_nothing(configured: Configure) -> None:
    """Who appends a second terminal event projects nothing: the run was sent in its final form."""
    from otel_patterns import emit_pattern_event  # noqa: PLC0415  # only here

    with Receiver() as receiver:
        emitter = configured(receiver)
        run_id = run_once(emitter)
        emitter.flush(5)
        before = len(receiver.spans)
        emit_pattern_event(
            "pattern.execution.failed", JOB_ID, run_id, "PAT-DEMO-001", "failed", {"exit_code": 1}, emitter=emitter
        )
        run_once(emitter, operation_kind="later")
        emitter.flush(5)
        assert [span.name for _, span in receiver.spans[before:]].count("demo PAT-DEMO-001") == 0


def test_answer_that_never_ends_is_given_up(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out holds for the whole answer: a receiver that trickles must not hold the thread for ever."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with Receiver(lambda _number: Reply(trickle=True)) as receiver:
        emitter = configured(receiver)
        run_once(emitter)
        assert not emitter.flush(5)
        assert emitter.counts["delivery"] >= 1


def test_who_waited_for_a_flush_in_vain_finds_the_failure_counted(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiter is told of the failure after it was counted, however slowly the threads take turns."""
    with Receiver(lambda _number: Reply(status=503)) as receiver:
        emitter = configured(receiver)
        report = emitter.channel.guard.report

        def report_slowly(kind: str, message: str, **more: Any) -> None:
            time.sleep(0.2)
            report(kind, message, **more)

        monkeypatch.setattr(emitter.channel.guard, "report", report_slowly)
        run_once(emitter)
        assert not emitter.flush(5)
        assert emitter.counts["delivery"] == 1


def test_emitter_of_a_former_configuration_still_delivers_at_exit(tmp_path: Path) -> None:
    """Whoever kept an emitter has its runs delivered, also after another configuration, a shutdown, or in a child."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, sys
            from otel_patterns import configure, pattern_run, shutdown
            def run(emitter, kind):
                with pattern_run("PAT-A", job_id="JOB-1", operation_kind=kind, emitter=emitter):
                    pass
            def child(emitter):
                run(emitter, "forked")
            kept = configure(journal={str(tmp_path / "a.jsonl")!r}, endpoint=sys.argv[1])
            run(kept, "first")
            configure(journal={str(tmp_path / "b.jsonl")!r}, endpoint=sys.argv[1])
            run(kept, "former")
            process = multiprocessing.get_context("fork").Process(target=child, args=(kept,))
            process.start(); process.join()
            shutdown()
            run(kept, "kept")
            """
        )
    )
    with Receiver() as receiver:
        subprocess.run([sys.executable, str(program), receiver.url], check=True, timeout=60)
        roots = sorted(span.name for _, span in receiver.spans if not span.parent_span_id)
    assert roots == ["first PAT-A", "forked PAT-A", "former PAT-A", "kept PAT-A"]


def test_emit_from_a_signal_handler_does_not_hang(tmp_path: Path) -> None:
    """A handler may emit while the thread it interrupts does: nothing hangs, nothing is lost or doubled."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import os, signal, sys
            os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
            os.environ["OTEL_PATTERNS_JOURNAL"] = {str(tmp_path / "j.jsonl")!r}
            from otel_patterns import emit_pattern_event
            count = 0
            def emit(*_):
                global count
                count += 1
                run = f"PRUN-{{count}}"
                emit_pattern_event("pattern.execution.started", "JOB-1", run, "PAT-A", "in_progress", {{}})
            inside = False
            def interrupt(*_):
                global inside
                if not inside:
                    inside = True
                    emit()
                    inside = False
            signal.signal(signal.SIGALRM, interrupt)
            # After the first event: Python's own import lock is not safe against handlers that import.
            emit()
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.003)
            for _ in range(2000):
                emit()
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(count)
            """
        )
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True, timeout=60)
    events = [line.split(b'"', 4)[3] for line in (tmp_path / "j.jsonl").read_bytes().splitlines()]
    assert int(done.stdout) > 2000
    assert len(events) == len(set(events)) == int(done.stdout)


def test_run_begun_by_a_clock_that_was_ahead_is_sent_whole(configured: Configure, tmp_path: Path) -> None:
    """A run id from the future says nothing about where its lines are: they are sought in the whole journal."""
    from otel_patterns import emit_pattern_event  # noqa: PLC0415  # only here

    run_id = "PRUN-" + encode_ulid((time.time_ns() // 1_000_000 + 300_000) << 80 | 7)
    with Receiver() as receiver:
        emitter = configured(receiver)
        begun = PatternEvent.create("pattern.execution.started", JOB_ID, run_id, "PAT-A", "in_progress", {})
        emitter.global_log.write_bytes(begun.to_line())
        run_once(emitter)
        emit_pattern_event("pattern.execution.completed", JOB_ID, run_id, "PAT-A", "success", {}, emitter=emitter)
        assert emitter.flush(5)
        (root,) = [span for _, span in receiver.spans if span.name == "unknown PAT-A"]
        assert len(root.events) == 2


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("fault", ["refused", "accepting", "hanging"])
def test_dead_endpoint_costs_emit_nothing_and_exit_two_seconds(tmp_path: Path, fault: str, protocol: str) -> None:
    """Whether a collector refuses, only accepts, or takes requests and never answers: exit is bounded."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import atexit, logging, sys, time
            logging.disable()
            # Registered before the package's own, so called after it.
            atexit.register(lambda: print("exit", time.monotonic() - ended))
            from otel_patterns import configure, emit_pattern_event, PatternRun
            configure(journal={str(tmp_path / "j.jsonl")!r}, endpoint=sys.argv[1])
            slowest = 0.0
            for number in range(2048):
                run = PatternRun.create("PAT-A", "JOB-1", "k")
                for event_type in ("pattern.execution.started", "pattern.execution.completed"):
                    began = time.monotonic()
                    emit_pattern_event(event_type, "JOB-1", run.pattern_run_id, "PAT-A", "success", {{}})
                    slowest = max(slowest, time.monotonic() - began)
            print("slowest", slowest)
            ended = time.monotonic()
            """
        )
    )
    hanging = (
        GrpcReceiver(lambda _: GrpcReply(hang=True)) if protocol == "grpc" else Receiver(lambda _: Reply(hang=True))
    )
    with hanging as receiver, socket.create_server(("127.0.0.1", 0)) as silent:
        urls = {"refused": "http://127.0.0.1:1", "accepting": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        done = subprocess.run(
            [sys.executable, str(program), urls.get(fault, receiver.url)],
            env={**os.environ, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert bool(receiver.requests) == (fault == "hanging")
        silent.settimeout(0.1)
        if fault == "accepting":
            silent.accept()[0].close()
    figures = dict(line.split() for line in done.stdout.splitlines())
    assert done.stderr == ""
    assert float(figures["exit"]) < 2.5
    assert float(figures["slowest"]) < 2.0
    assert len(list(traces_of(tmp_path / "j.jsonl", Selection()))) == 2048

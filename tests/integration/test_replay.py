"""Replay: the same bytes, wherever and however often the journal is projected."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from otel_patterns import configure, emit_pattern_event, shutdown
from otel_patterns.clock import Clock
from otel_patterns.journal.read import read_events
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing import backoff
from otel_patterns.tracing import replay as replay_module
from otel_patterns.tracing.answers import read_http_answer
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.replay import Selection, replay, traces_of
from otel_patterns.tracing.sink import OtlpSink
from tests.receiver import Receiver, Reply
from tests.streams import PATTERN_ID, Stream, golden_runs, semgrep_run

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
RUNS = 400


def write(path: Path, events: list[PatternEvent]) -> None:
    """Write a journal as the package does."""
    path.write_bytes(b"".join(event.to_line() for event in events))


def sink_for(receiver: Receiver) -> OtlpSink:
    """Return a sink to a receiver."""
    return OtlpSink(Endpoint(receiver.url))


def journal_of_runs(path: Path) -> None:
    """Write the journal whose bytes are golden."""
    write(path, golden_runs())


def test_replay_sends_what_is_owed_and_then_nothing(tmp_path: Path) -> None:
    """The first replay delivers every run, the second finds nothing to do, `force` sends the same bytes again."""
    journal = tmp_path / "pattern_events.jsonl"
    journal_of_runs(journal)
    with Receiver() as receiver:
        first = replay(journal, sink_for(receiver), Selection())
        assert (first.sent, first.owed, first.unfinished) == (5, 0, 1)
        second = replay(journal, sink_for(receiver), Selection())
        assert (second.sent, second.delivered) == (0, 5)
        assert len(receiver.requests) == 1
        replay(journal, sink_for(receiver), Selection(), force=True)
        assert receiver.requests[0] == receiver.requests[1]


def test_replay_dry_run_sends_and_records_nothing(tmp_path: Path) -> None:
    """A dry run tells what would be sent."""
    journal = tmp_path / "pattern_events.jsonl"
    journal_of_runs(journal)
    with Receiver() as receiver:
        told: list[tuple[str, int]] = []
        report = replay(
            journal,
            sink_for(receiver),
            Selection(),
            dry_run=True,
            on_run=lambda trace, spans: told.append((trace.run_id, spans)),
        )
        assert (report.sent, report.spans, len(told)) == (5, 0, 5)
        assert receiver.requests == []
        assert replay(journal, sink_for(receiver), Selection()).sent == 5


def test_replay_selects_runs_and_never_parts_of_them(tmp_path: Path) -> None:
    """Filters choose whole runs: a run's spans do not depend on how it was selected."""
    journal = tmp_path / "pattern_events.jsonl"
    one, other = Stream("PRUN-" + "1" * 26), Stream("PRUN-" + "2" * 26, job_id="JOB-2")
    other.clock.advance(100)
    write(journal, [*semgrep_run(one), *semgrep_run(other)])
    boundary = other.clock.now_unix_nano() - 1
    all_runs = {trace.run_id: list(trace.spans) for trace in traces_of(journal, Selection())}
    for selection, run_id in (
        (Selection(run_id=one.run_id), one.run_id),
        (Selection(job_id="JOB-2"), other.run_id),
        (Selection(since=boundary), other.run_id),
    ):
        (trace,) = traces_of(journal, selection)
        assert (trace.run_id, list(trace.spans)) == (run_id, all_runs[run_id])


def test_replay_leaves_unsampled_and_native_runs_out(tmp_path: Path) -> None:
    """An unsampled run is sent only on request, a native one never: its program exported it."""
    journal = tmp_path / "pattern_events.jsonl"
    write(journal, [*semgrep_run(sampled=False), *semgrep_run(Stream("PRUN-N"), native=True)])
    with Receiver() as receiver:
        report = replay(journal, sink_for(receiver), Selection())
        assert (report.sent, report.unsampled, report.native) == (0, 1, 1)
        assert replay(journal, sink_for(receiver), Selection(unsampled=True)).sent == 1


def test_replay_that_is_refused_says_so_and_owes(tmp_path: Path) -> None:
    """What the destination did not take is owed, with its words, and the next replay tries again."""
    journal = tmp_path / "pattern_events.jsonl"
    journal_of_runs(journal)
    with Receiver(lambda number: Reply(status=401) if number == 1 else Reply()) as receiver:
        report = replay(journal, sink_for(receiver), Selection())
        assert (report.sent, report.owed) == (0, 5)
        assert "401" in report.messages[0]
        assert replay(journal, sink_for(receiver), Selection()).sent == 5


@pytest.mark.parametrize(("status", "requests"), [(401, 1), (503, 5)])
def test_replay_stops_asking_a_receiver_that_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, requests: int
) -> None:
    """A large backlog makes no storm: a receiver that lets nobody in is asked once, a busy one five times.

    No run is said to be on its way after that, and what is owed is counted as ever.
    """
    monkeypatch.setattr(replay_module, "MAX_BATCH_BYTES", 1)
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)
    journal = tmp_path / "pattern_events.jsonl"
    left_out = [*semgrep_run(Stream("PRUN-U"), sampled=False), *semgrep_run(Stream("PRUN-N"), native=True)]
    write(journal, [*golden_runs(), *left_out])
    shown: list[str] = []
    with Receiver(lambda _number: Reply(status=status)) as receiver:
        report = replay(
            journal, sink_for(receiver), Selection(), on_run=lambda trace, _spans: shown.append(trace.run_id)
        )
    assert (report.sent, report.owed, report.messages) == (0, 5, [receiver_words(status)])
    assert (len(receiver.requests), len(shown)) == (requests, 1)
    assert (report.unfinished, report.unsampled, report.native) == (1, 1, 1)


def receiver_words(status: int) -> str:
    """Return what is said of a status."""
    return read_http_answer(status, {}, b"").message


def test_replay_with_one_run_that_is_refused_delivers_the_others(tmp_path: Path) -> None:
    """A request that is refused is taken apart: one run does not withhold its neighbours, and is parked."""
    journal = tmp_path / "pattern_events.jsonl"
    streams = [Stream(f"PRUN-{number:026d}") for number in range(1, 21)]
    write(journal, [event for stream in streams for event in semgrep_run(stream)])
    poison = bytes.fromhex(f"{int(streams[7].run_id[-2:], 10):032x}")

    def reply(number: int) -> Reply:
        return Reply(status=400) if poison in receiver.requests[number - 1] else Reply()

    with Receiver(reply) as receiver:
        report = replay(journal, sink_for(receiver), Selection())
    assert (report.sent, report.owed, report.parked) == (19, 0, {"refused: HTTP 400": 5})


def test_replay_with_a_line_of_odd_text_delivers_every_run(tmp_path: Path) -> None:
    """Lone surrogates and wrong types in a foreign log cost neither their run nor any other its trace."""
    journal = tmp_path / "pattern_events.jsonl"
    odd = Stream("PRUN-ODD").event(names.EXECUTION_FAILED, {"operation_kind": "SURROGATE" * 1000}, status="failed")
    otel: dict[str, object] = {"v": 1, "tracestate": "SURROGATE", "traceparent": f"00-{'1' * 32}-{'1' * 16}-01"}
    otel["span"] = {"stage": {"events": [{"name": "SURROGATE", "time_unix_nano": True}]}}
    other = Stream("PRUN-ODD-2").event("pattern.execution.failed", {"otel": otel}, status="failed")
    write(journal, [odd, other, *semgrep_run()])
    journal.write_bytes(journal.read_bytes().replace(b"SURROGATE", b"\\ud800"))
    with Receiver() as receiver:
        report = replay(journal, sink_for(receiver), Selection())
    assert (report.sent, report.owed) == (3, 0)
    assert max(len(span.name) for _, span in receiver.spans) <= 2000


def test_replay_after_a_run_ended_sends_only_what_is_new(tmp_path: Path) -> None:
    """Stage spans that were acknowledged while the run went on are not sent again with its root."""
    journal = tmp_path / "pattern_events.jsonl"
    events = semgrep_run()
    with Receiver() as receiver:
        write(journal, events[:5])
        replay(journal, sink_for(receiver), Selection())
        write(journal, events)
        replay(journal, sink_for(receiver), Selection())
        sent = [span.name for _, span in receiver.spans]
    assert len(sent) == len(set(sent)) == 6


def test_replay_bytes_equal_the_golden_file(tmp_path: Path) -> None:
    """A run projects to the same bytes after every upgrade: changing them makes doubles of what backends hold."""
    journal_of_runs(tmp_path / "pattern_events.jsonl")
    traces = traces_of(tmp_path / "pattern_events.jsonl", Selection())
    digests = {trace.run_id: hashlib.sha256(encode(trace.resource, trace.spans)).hexdigest() for trace in traces}
    text = "".join(f"{digest}  {run_id}\n" for run_id, digest in digests.items())
    assert text == (GOLDEN / "replay.sha256").read_text()


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_replay_bytes_are_the_same_in_another_process_zone_and_batch_size(tmp_path: Path, zone: str) -> None:
    """Neither process nor time zone nor hash seed nor batch size nor another resource changes a byte."""
    journal = tmp_path / "pattern_events.jsonl"
    journal_of_runs(journal)
    program = (
        "import sys; from otel_patterns.tracing import replay, endpoint, sink;"
        "replay.MAX_BATCH_BYTES = int(sys.argv[3]);"
        "s = sink.OtlpSink(endpoint.Endpoint(sys.argv[2]));"
        "print(replay.replay(sys.argv[1], s, replay.Selection(), force=True).sent)"
    )
    with Receiver() as receiver:
        replay(journal, sink_for(receiver), Selection())
        expected = receiver.requests.pop()
        for size, seed in ((1, "1"), (10_000_000, "2")):
            environment = {**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "OTEL_SERVICE_NAME": "other"}
            arguments = [sys.executable, "-c", program, str(journal), receiver.url, str(size)]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
            assert done.stdout == "5\n"
            assert len(receiver.requests) == (5 if size == 1 else 1)
            assert b"".join(receiver.requests) == expected
            receiver.requests.clear()


def _contend(role: str, journal: str, endpoint: str, run_ids: list[str], barrier: Barrier) -> None:
    """Write one's share of every run, both processes at the same moment."""
    emitter = configure(journal=journal, endpoint=endpoint)
    terminal = names.EXECUTION_COMPLETED if role == "a" else names.EXECUTION_FAILED
    for run_id in run_ids:
        barrier.wait()
        for event_type in (names.VALIDATION_STARTED, names.VALIDATION_COMPLETED, names.EXECUTION_STARTED, terminal):
            details = {"exit_code": 0, "duration_seconds": 0.1, "by": role}
            emit_pattern_event(event_type, "JOB-1", run_id, PATTERN_ID, "success", details, emitter=emitter)
        for number in range(3):
            details = {"number": number, "by": role}
            emit_pattern_event(
                names.VALIDATION_STARTED, "JOB-1", run_id, PATTERN_ID, "in_progress", details, emitter=emitter
            )
    emitter.flush(30)
    shutdown(30)


def test_two_processes_that_write_one_run_send_what_a_replay_sends(tmp_path: Path) -> None:
    """Under contention the live bytes of every span are the replayed ones; cutting by time would give others."""
    journal = tmp_path / "pattern_events.jsonl"
    clock = Clock()
    run_ids = [f"PRUN-{clock.new_ulid()}" for _ in range(RUNS)]
    context = multiprocessing.get_context("spawn")
    with Receiver() as receiver:
        barrier = context.Barrier(2)
        writers = [
            context.Process(target=_contend, args=(role, str(journal), receiver.url, run_ids, barrier)) for role in "ab"
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(100)
            assert writer.exitcode == 0
        sent = {(span.trace_id, span.span_id): span.SerializeToString() for _, span in receiver.spans}
        # A span goes out once, unless an answer was lost: then it goes out again with the same bytes.
        assert all(span.SerializeToString() == sent[span.trace_id, span.span_id] for _, span in receiver.spans)
        receiver.requests.clear()
        replay(journal, sink_for(receiver), Selection(), force=True)
        replayed = {(span.trace_id, span.span_id): span.SerializeToString() for _, span in receiver.spans}
    assert len({trace_id for trace_id, _ in sent}) == RUNS
    assert sent == replayed

    # The contention was real: had the prefix been cut by time, some runs would have got another trace.
    by_run: dict[str, list[PatternEvent]] = {}
    for event in read_events(journal):
        by_run.setdefault(event.pattern_run_id, []).append(event)
    by_time = {run_id: sorted(events, key=lambda event: event.time_unix_nano) for run_id, events in by_run.items()}
    differing = sum(project(by_run[run_id]) != project(by_time[run_id]) for run_id in by_run)
    assert differing > 0

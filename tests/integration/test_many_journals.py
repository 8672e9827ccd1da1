"""A process that writes a journal for each job: what it holds open, its threads and its memory stay few."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from time import sleep

import pytest

from otel_patterns import PatternEventEmitter, configure, emit_pattern_event, pattern_run, shutdown
from otel_patterns import channel as channel_module
from otel_patterns.journal import opened
from otel_patterns.journal import sync as sync_module
from otel_patterns.journal.append import JOURNAL_NAME, Journal
from otel_patterns.journal.receipt import Receipt
from otel_patterns.tracing import worker as worker_module
from tests.backends.polling import wait_for
from tests.descriptors import opened_below
from tests.receiver import GrpcReceiver, Receiver
from tests.unit.journal.lines import event_line

JOURNALS = 150


def journals_below(directory: Path) -> list[Path]:
    """Return the journals of the jobs."""
    return [directory / str(number) / JOURNAL_NAME for number in range(JOURNALS)]


class Threads:
    """The threads that were started since this object was made; other tests may have left some."""

    def __init__(self) -> None:
        self._former = set(threading.enumerate())

    def __len__(self) -> int:
        return len(set(threading.enumerate()) - self._former)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Leave no delivery behind."""
    yield
    shutdown()


def test_program_with_more_journals_than_descriptors_loses_nothing(tmp_path: Path) -> None:
    """Each of 150 journals is written twice, in turn, by a process that may open 160 files."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import json, os, sys
            from otel_patterns import PatternEventEmitter, emit_pattern_event
            spooled = 0
            for event_type, status in (("started", "in_progress"), ("completed", "success")):
                for number in range({JOURNALS}):
                    emitter = PatternEventEmitter(os.path.join(sys.argv[1], str(number)))
                    run_id = f"PRUN-{{number}}"
                    emit_pattern_event(
                        f"pattern.execution.{{event_type}}", "JOB-1", run_id, "PAT-A", status, emitter=emitter
                    )
                    spooled += emitter.counts["spooled"] + emitter.counts["lost"]
            print(json.dumps([spooled, len(os.listdir("/proc/self/fd"))]))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160)),
    )
    spooled, descriptors = json.loads(done.stdout)
    assert spooled == 0
    assert descriptors < 2 * JOURNALS
    for path in journals_below(tmp_path):
        assert path.read_bytes().count(b"\n") == 2


def test_journal_that_is_written_while_others_close_it_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that write six journals, of which two are open, lose and glue nothing, and their receipts are true."""
    monkeypatch.setattr(opened, "MOST", 2)
    journals = [Journal(tmp_path / str(number) / JOURNAL_NAME) for number in range(6)]
    for journal in journals[:3]:
        journal.durability = "group"

    def write(writer: int) -> None:
        random = Random(writer)
        for number in range(200):
            journal = random.choice(journals)
            line = event_line(1000 * writer + number)
            receipt = journal.append(line, is_terminal=number % 20 == 0)
            assert receipt.state == "journaled"
            with open(journal.path, "rb") as file:
                assert os.pread(file.fileno(), receipt.size, receipt.offset) == line

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    lines = [line for journal in journals for line in Path(journal.path).read_bytes().splitlines()]
    assert len(set(lines)) == len(lines) == 8 * 200
    for journal in journals:
        assert journal.sync(5)
        journal.close()


class InterruptedLock:
    """A lock; something happens just before it is released for the first time."""

    def __init__(self, lock: threading.Lock, happen: Callable[[], object]) -> None:
        self._lock = lock
        self._happen: Callable[[], object] | None = happen

    def acquire(self, blocking: bool = True) -> bool:  # as a lock has it
        """Take it."""
        return self._lock.acquire(blocking)

    def release(self) -> None:
        """Let it go."""
        happen, self._happen = self._happen, None
        if happen is not None:
            happen()
        self._lock.release()


def test_thread_that_syncs_ends_when_idle_and_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that comes while the thread is about to end is on disk in its time as well."""
    monkeypatch.setattr(sync_module, "_IDLE_SECONDS", 0.01)
    journal = Journal(tmp_path / JOURNAL_NAME)
    journal.durability = "group"
    syncer = journal._syncer  # pyright: ignore[reportPrivateUsage]  # the moment has no other way in
    late: list[Receipt] = []
    threads = Threads()
    lock = InterruptedLock(syncer._background._lock, lambda: late.append(journal.append(event_line(2))))  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(syncer._background, "_lock", lock)  # pyright: ignore[reportPrivateUsage]
    first = journal.append(event_line(1))
    assert wait_for(lambda: late and late[0].durable)
    assert first.durable
    assert wait_for(lambda: not threads)
    assert journal.append(event_line(3)).wait(5)
    journal.close()


@pytest.mark.parametrize("make", [Receiver, GrpcReceiver])
def test_delivery_of_a_journal_ends_when_idle_and_starts_again(
    make: type[Receiver | GrpcReceiver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that comes while the thread is about to end is delivered as well; an idle one holds nothing open."""
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.01)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc" if make is GrpcReceiver else "http/protobuf")
    with make() as receiver:
        emitter = configure(journal=tmp_path / JOURNAL_NAME, endpoint=receiver.url)

        def run(kind: str) -> None:
            with pattern_run("PAT-A", job_id="JOB-1", operation_kind=kind, emitter=emitter):
                pass

        def roots() -> list[str]:
            return [span.name for _, span in receiver.spans if not span.parent_span_id]

        delivery = emitter.channel.delivery
        assert delivery is not None
        worker = delivery._worker  # pyright: ignore[reportPrivateUsage]  # the moment has no other way in
        lock = InterruptedLock(worker._background._lock, lambda: run("late"))  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(worker._background, "_lock", lock)  # pyright: ignore[reportPrivateUsage]
        threads = Threads()
        run("first")
        assert wait_for(lambda: roots() == ["first PAT-A", "late PAT-A"])
        assert wait_for(lambda: delivery.is_idle)
        # The receiver's for the connection has ended, too; those of gRPC are its own business.
        assert make is GrpcReceiver or wait_for(lambda: not threads)
        # The journal, once more to sync it, and its lock: no record of deliveries, nothing to read.
        assert wait_for(lambda: len(opened_below(tmp_path)) == 3)
        assert emitter.flush(5)
        run("again")
        assert emitter.flush(5)
        assert roots()[2:] == ["again PAT-A"]


def test_run_that_goes_on_keeps_its_delivery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose process is silent for longer than a thread may be idle is followed all the same."""
    monkeypatch.setattr(worker_module, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "MARKER_SECONDS", 0.05)
    with Receiver() as receiver:
        emitter = configure(journal=tmp_path / JOURNAL_NAME, endpoint=receiver.url)
        with pattern_run("PAT-A", job_id="JOB-1", operation_kind="slow", emitter=emitter):
            assert wait_for(lambda: [span.name for _, span in receiver.spans] == ["run started"])
            sleep(0.3)
            assert emitter.channel.delivery is not None
            assert not emitter.channel.delivery.is_idle
        assert emitter.flush(5)
        assert "slow PAT-A" in {span.name for _, span in receiver.spans}


def test_channels_of_many_journals_are_forgotten_unless_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The idle ones asked for longest ago go; one whose lines wait stays, and so does the configured one."""
    monkeypatch.setattr(channel_module, "_REMEMBERED_CHANNELS", 10)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_PATTERNS_JOURNAL"):
        monkeypatch.delenv(name, raising=False)

    def emit(number: int) -> PatternEventEmitter:
        emitter = PatternEventEmitter(tmp_path / str(number))
        emit_pattern_event("pattern.selection.started", "JOB-1", "PRUN-1", "PAT-A", "in_progress", emitter=emitter)
        return emitter

    configured = configure(journal=tmp_path / "own" / JOURNAL_NAME, export="off").channel
    (tmp_path / "0").write_text("no directory")
    waiting = emit(0).channel
    kept = emit(1)
    for number in range(2, 40):
        emit(number)
        emit(2)
    gc.collect()
    alive = {os.path.basename(os.path.dirname(path)) for path in channel_module._channels}  # pyright: ignore[reportPrivateUsage]
    assert alive == {"own", "0", "2", *map(str, range(31, 40))}
    assert PatternEventEmitter(tmp_path / "0").channel is waiting
    assert PatternEventEmitter().channel is configured
    # Who has an emitter goes on with it.
    emit_pattern_event("pattern.selection.started", "JOB-1", "PRUN-2", "PAT-A", "in_progress", emitter=kept)
    assert (tmp_path / "1" / JOURNAL_NAME).read_bytes().count(b"\n") == 2
    (tmp_path / "0").unlink()
    assert waiting.journal.flush() == 0

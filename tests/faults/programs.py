"""Programs that the fault tests run as processes of their own: `python -m tests.faults.programs <name> <path> …`.

Each prints what happened as one JSON object.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_patterns.journal.append import Journal, open_journal
from otel_patterns.journal.receipt import Receipt
from tests.faults.killing import storm
from tests.faults.monsters import read_monsters_by_every_reader, read_monstrous_lines
from tests.faults.writers import Found, line_of

ROOT = Path(__file__).parents[2]


def command(name: str, path: Path, *arguments: object) -> list[str]:
    """Return the command line of a program."""
    return [sys.executable, "-m", "tests.faults.programs", name, str(path), *map(str, arguments)]


def run(name: str, path: Path, *arguments: object, prefix: Sequence[str] = ()) -> dict[str, Any]:
    """Run a program to its end and return what it printed."""
    ended = subprocess.run(
        [*prefix, *command(name, path, *arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@contextmanager
def started(name: str, path: Path, *arguments: object) -> Generator[subprocess.Popen[str], None, None]:
    """Start a program, go on when it has printed its first line, and kill it in the end if it is still there."""
    with subprocess.Popen(command(name, path, *arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def _tell(**what: Any) -> None:
    print(json.dumps(what))  # what a program has to say


def _ready() -> None:
    print("ready", flush=True)


def hold_lock_and_stop(path: str) -> None:
    """Stop within an append, so that the lock is held; end when continued."""
    write = os.write

    def stop_first(descriptor: int, data: Any) -> int:
        _ready()
        os.kill(os.getpid(), signal.SIGSTOP)
        return write(descriptor, data)

    os.write = stop_first
    Journal(path).append(line_of("stopped", 0))


def exit_at_once(path: str) -> None:
    """Append and end without any cleaning up."""
    journal = Journal(path)
    for number in range(100):
        journal.append(line_of("exiting", number))
    os._exit(0)


def fork_within_append(path: str) -> None:
    """Fork while a thread of ours is inside its write and holds the lock; then both processes append."""
    journal = Journal(path)
    inside, go_on = threading.Event(), threading.Event()
    write = os.write

    def wait_in_thread(descriptor: int, data: Any) -> int:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go_on.wait(30)
        return write(descriptor, data)

    os.write = wait_in_thread
    journal.append(line_of("parent", 0))
    thread = threading.Thread(target=lambda: journal.append(line_of("thread", 0)))
    thread.start()
    inside.wait(30)
    child = os.fork()
    if child == 0:
        states = [journal.append(line_of("child", number)).state for number in range(3)]
        os._exit(0 if states == ["journaled"] * 3 else 1)
    time.sleep(0.2)
    has_child_waited = os.waitpid(child, os.WNOHANG) == (0, 0)
    go_on.set()
    thread.join()
    _, status = os.waitpid(child, 0)
    state = journal.append(line_of("parent", 1)).state
    _tell(has_child_waited=has_child_waited, child=os.waitstatus_to_exitcode(status), parent=state)


def leave_child_behind(path: str) -> None:
    """Fork while a thread of ours holds the lock; the child never appends and outlives us."""
    journal = Journal(path)
    inside = threading.Event()

    def hang(_descriptor: int, _data: Any) -> int:
        inside.set()
        time.sleep(60)
        return 0

    os.write = hang
    threading.Thread(target=lambda: journal.append(line_of("hanging", 0)), daemon=True).start()
    inside.wait(30)
    if os.fork() == 0:
        # There whole or not at all: our parent looks for it.
        Path(f"{path}.new").write_text(str(os.getpid()))
        os.rename(f"{path}.new", f"{path}.child")
        time.sleep(60)
        os._exit(0)
    while not os.path.exists(f"{path}.child"):
        time.sleep(0.001)
    _ready()
    time.sleep(60)


def fork_with_kept_lines(path: str) -> None:
    """Fork while lines wait in memory; the child appends and ends in the orderly way."""
    os.mkdir(path)
    journal = open_journal(path)
    kept = journal.append(line_of("parent", 0)).state
    child = os.fork()
    if child == 0:
        os.rmdir(path)
        waiting = journal.spooled
        state = journal.append(line_of("child", 0)).state
        sys.exit(0 if (waiting, state) == (0, "journaled") else 1)
    _, status = os.waitpid(child, 0)
    _tell(kept=kept, child=os.waitstatus_to_exitcode(status), left=journal.flush())


def exit_with_kept_lines(path: str) -> None:
    """End while lines wait in memory; writing works again by then, or not."""
    os.mkdir(path)
    journal = open_journal(path)
    states = [journal.append(line_of("exiting", number)).state for number in range(3)]
    if sys.argv[3] == "recover":
        os.rmdir(path)
    _tell(states=states)


def append_in_signal_handler(path: str) -> None:
    """Append for a second while a signal handler appends every half millisecond."""
    journal = Journal(path)
    states: list[str] = []
    numbers = itertools.count()

    def handle(_number: int, _frame: object) -> None:
        states.append(journal.append(line_of("handler", next(numbers))).state)

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    end = time.monotonic() + 1
    appended = 0
    refused = 0
    while time.monotonic() < end:
        refused += journal.append(line_of("main", appended)).state != "journaled"
        appended += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    _tell(
        main=appended,
        refused=refused,
        handler=len(states),
        nested=states.count("spooled"),
        left=journal.spooled,
        counts=journal.guard.counts,
    )


def _count_short_writes(shorts: list[int]) -> None:
    write = os.write

    def counting(descriptor: int, data: Any) -> int:
        written = write(descriptor, data)
        if written < len(data):
            shorts.append(written)
        return written

    os.write = counting


def _append_until_kept(journal: Journal, *, largest: int) -> int:
    for number in range(10_000):
        if journal.append(line_of("writer", number, largest=largest)).state != "journaled":
            return number
    raise AssertionError("the fault did not happen")


def exceed_size_limit(path: str) -> None:
    """Append against a limit of file size, which is lifted later."""
    journal = Journal(path)
    shorts: list[int] = []
    _count_short_writes(shorts)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    first_kept = _append_until_kept(journal, largest=500)
    size = os.path.getsize(path)
    for number in range(first_kept + 1, first_kept + 4):
        journal.append(line_of("writer", number))
    left_while_limited = journal.flush()
    size_while_limited = os.path.getsize(path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    left = journal.flush()
    _tell(
        shorts=shorts,
        kept=first_kept,
        sizes=[size, size_while_limited],
        left=[left_while_limited, left],
        counts=journal.guard.counts,
    )


def fill_disk(path: str) -> None:
    """Append to a full file system, on which room is made later."""
    ballast = Path(path).with_name("ballast")
    ballast.write_bytes(b"x" * 20_000)
    journal = Journal(path)
    shorts: list[int] = []
    _count_short_writes(shorts)
    first_kept = _append_until_kept(journal, largest=5000)
    content = Path(path).read_bytes()
    journal.append(line_of("writer", first_kept + 1, largest=5000))
    left_while_full = journal.flush()
    ballast.unlink()
    left = journal.flush()
    found = Found(Path(path))
    _tell(
        shorts=shorts,
        kept=first_kept,
        ends_with_line=content.endswith(b"\n"),
        left=[left_while_full, left],
        numbers=found.numbers["writer"],
        damaged=len(found.damaged),
    )


def write_into_read_only_directory(path: str) -> None:
    """Append as a user who may not write into the directory."""
    os.chmod(os.path.dirname(path), 0o555)
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("otel_patterns").addHandler(handler)
    journal = Journal(path)
    states = [journal.append(line_of("writer", number)).state for number in range(3)]
    _tell(states=states, messages=messages, counts=journal.guard.counts, files=os.listdir(os.path.dirname(path)))


def write_huge_line(path: str) -> None:
    """Append a line of 30 MB."""
    line = b"z" * 30_000_000 + b"\n"
    journal = Journal(path)
    _ready()
    journal.append(line)
    _tell(state="survived")


def many_writers(path: str) -> None:
    """Let 8 processes of 4 threads each append lines of 200 B to 200 kB at the same time."""
    children: list[int] = []
    for process in range(8):
        child = os.fork()
        if child:
            children.append(child)
            continue
        journal = Journal(path)

        def append_all(writer: str, journal: Journal = journal) -> None:
            for number in range(25):
                journal.append(line_of(writer, number, largest=200_000 if number % 5 == 0 else 500))
                # Others come in between: a quick writer would be done before the next one begins.
                os.sched_yield()

        threads = [threading.Thread(target=append_all, args=(f"p{process}.t{thread}",)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0 if journal.flush() == 0 and journal.guard.counts["lost"] == 0 else 1)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    _tell(statuses=statuses)


def fail_one_sync(path: str) -> None:
    """Append from threads at level `each` while one sync fails, and tell what is durable."""
    fdatasync, failures = os.fdatasync, itertools.count()
    failed: list[int] = []

    def fail_third(descriptor: int) -> None:
        if next(failures) == 3:
            failed.append(os.fstat(descriptor).st_ino)
            raise OSError(5, "Input/output error")
        assert os.fstat(descriptor).st_ino not in failed, "a file whose sync has failed is synced again"
        fdatasync(descriptor)

    os.fdatasync = fail_third
    journal = Journal(path)
    receipts: list[Receipt] = []

    def append_all(writer: str) -> None:
        receipts.extend(journal.append(line_of(writer, number), durability="each") for number in range(20))

    threads = [threading.Thread(target=append_all, args=(f"t{thread}",)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    is_synced = journal.sync(10)
    _tell(
        is_synced=is_synced,
        durable=sum(receipt.durable for receipt in receipts),
        failed=len(failed),
        syncs=next(failures),
        counts=journal.guard.counts,
    )


def fork_while_syncing(path: str) -> None:
    """Fork while the thread is inside a sync; then both processes append and wait for the disk."""
    fdatasync = os.fdatasync
    inside, go_on = threading.Event(), threading.Event()

    def wait_once(descriptor: int) -> None:
        if not inside.is_set():
            inside.set()
            go_on.wait(30)
        fdatasync(descriptor)

    os.fdatasync = wait_once
    journal = Journal(path)
    journal.durability = "group"
    journal.append(line_of("parent", 0))
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        receipt = journal.append(line_of("child", 0), durability="each")
        os._exit(0 if receipt.durable and threading.active_count() == 2 else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    receipt = journal.append(line_of("parent", 1), durability="each")
    _tell(child=os.waitstatus_to_exitcode(status), durable=receipt.durable)


def wait_with_spooled_lines(path: str) -> None:
    """Keep lines that cannot be written, because a directory stands at the path, and wait to be killed."""
    os.mkdir(path)
    journal = Journal(path)
    journal.spools_to_file = True
    for number in range(3):
        assert journal.append(line_of("killed", number)).state == "spooled"
    _ready()
    time.sleep(60)


def use_up_descriptors(path: str) -> None:
    """Append while no descriptor is left, and again when there are some."""
    journal = Journal(path)
    journal.spools_to_file = True
    journal.durability = "group"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    states = [journal.append(line_of("writer", number)).state for number in range(3)]
    counts = dict(journal.guard.counts)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    left = journal.flush()
    _tell(
        states=states, counts=counts, left=left, durable=journal.append(line_of("writer", 3), durability="each").durable
    )


PROGRAMS: dict[str, Callable[[str], None]] = {
    program.__name__: program
    for program in (
        append_in_signal_handler,
        fail_one_sync,
        use_up_descriptors,
        wait_with_spooled_lines,
        fork_while_syncing,
        read_monsters_by_every_reader,
        read_monstrous_lines,
        exceed_size_limit,
        exit_at_once,
        exit_with_kept_lines,
        fill_disk,
        fork_with_kept_lines,
        fork_within_append,
        hold_lock_and_stop,
        leave_child_behind,
        many_writers,
        storm,
        write_huge_line,
        write_into_read_only_directory,
    )
}

if __name__ == "__main__":
    warnings.simplefilter("error")
    # Forking with threads is what is tested.
    warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
    PROGRAMS[sys.argv[1]](sys.argv[2])

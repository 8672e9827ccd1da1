"""Clients that read a journal as it grows, and are slow or gone: nobody else notices."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from struct import unpack

from otel_patterns.journal.append import Journal
from tests.faults.writers import line_of

CLIENTS = 6
LINES = 20_000


def follower(path: Path) -> subprocess.Popen[bytes]:
    """Start a client that prints what is in the journal, and then what comes."""
    command = [sys.executable, "-m", "otel_patterns", "events", "--follow", "--json", "--journal", str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def waiting_bytes(client: subprocess.Popen[bytes]) -> int:
    """Return how much a client has printed that nobody has read."""
    assert client.stdout is not None
    [size] = unpack("i", fcntl.ioctl(client.stdout, termios.FIONREAD, b"\0" * 4))
    return int(size)


def peak_kilobytes(client: subprocess.Popen[bytes]) -> int:
    """Return the most memory that a client has had."""
    status = Path(f"/proc/{client.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a1_clients_that_are_slow_or_gone_cost_nobody_anything(tmp_path: Path) -> None:
    """The writer does not wait for them, their memory stays flat, and who reads again gets every line once."""
    path = tmp_path / "pattern_events.jsonl"
    lines = [line_of("w", number, largest=400) for number in range(LINES)]
    journal = Journal(path)
    with ExitStack() as stack:
        stack.callback(journal.close)
        journal.append(lines[0])
        clients = [stack.enter_context(follower(path)) for _ in range(CLIENTS)]
        for client in clients:
            stack.callback(client.kill)
        slow, closed, killed = clients[0], clients[1], clients[2]
        wait_until(lambda: all(waiting_bytes(client) for client in clients))
        before = peak_kilobytes(slow)
        assert closed.stdout is not None
        closed.stdout.close()
        killed.kill()
        for line in lines[1:]:
            assert journal.append(line).state == "journaled"
        # A pipe holds 64 KiB: the rest waits in the journal.
        wait_until(lambda: all(waiting_bytes(client) > 60_000 for client in (slow, *clients[3:])))
        assert sum(map(len, lines)) > 50 * 65_536
        assert peak_kilobytes(slow) - before < 4096
        assert closed.wait(10) != 0
        assert slow.stdout is not None
        assert [slow.stdout.readline() for _ in lines] == lines
    assert path.read_bytes() == b"".join(lines)

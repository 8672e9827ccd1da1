"""The program of `programs` that kills writers at random."""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path

from otel_patterns.journal.append import Journal
from otel_patterns.journal.compress import compress, is_plain
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.settings import Durability
from tests.faults.writers import Found, line_of

# Fits a process that writes lines of any size for a second.
_STORM_LINES = 300_000
_STORM_WRITERS = 4
_LEVELS: tuple[Durability, ...] = ("os", "group", "each")


def storm(path: str) -> None:
    """Kill writers at random instants and start others, of all levels of durability.

    The third argument is the seed, the fourth the least number of kills: there are more until a writer was killed
    inside its write. The fifth is the size above which they seal the journal's file; then there need not be more, and
    one more process, which is killed as well, compresses what is sealed.
    """
    chance = random.Random(sys.argv[3])
    least, max_bytes = int(sys.argv[4]), int(sys.argv[5])
    most = least + 2000
    acknowledged = mmap.mmap(-1, 8 * (most + _STORM_WRITERS))
    # By process id, and whether it is a writer.
    processes: dict[int, bool] = {}
    used = kills = 0

    def begin(*, is_writer: bool) -> None:
        nonlocal used
        slot = used
        used += is_writer
        if pid := os.fork():
            processes[pid] = is_writer
        elif is_writer:
            _storm_writer(path, slot, max_bytes, acknowledged)
        else:
            _storm_compressor(path)

    for _ in range(_STORM_WRITERS):
        begin(is_writer=True)
    if max_bytes:
        begin(is_writer=False)
    while kills < most:
        time.sleep(chance.uniform(0, 0.006))
        pid = chance.choice(list(processes))
        kills += _killed(pid)
        begin(is_writer=processes.pop(pid))
        if kills >= least and max_bytes:
            break
        if kills >= least and kills % 40 == 0:
            for pid in processes:
                os.kill(pid, signal.SIGSTOP)
            fragments = len(Found(Path(path)).damaged)
            for pid in processes:
                os.kill(pid, signal.SIGCONT)
            if fragments:
                break
    kills += sum(map(_killed, processes))
    fresh = Journal(path).append(line_of("fresh", 0)).state
    counts = [int.from_bytes(acknowledged[slot * 8 : slot * 8 + 8], "little") for slot in range(used)]
    print(json.dumps({"kills": kills, "acknowledged": counts, "fresh": fresh}))


def _killed(pid: int) -> bool:
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _storm_writer(path: str, slot: int, max_bytes: int, acknowledged: mmap.mmap) -> None:
    journal = Journal(path)
    journal.rotate(max_bytes)
    journal.durability = _LEVELS[slot % len(_LEVELS)]
    for number in range(_STORM_LINES):
        largest = 40_000 if number % 4 == 0 else 2000
        if journal.append(line_of(f"w{slot}", number, largest=largest)).state != "journaled":
            os._exit(3)
        acknowledged[slot * 8 : slot * 8 + 8] = (number + 1).to_bytes(8, "little")
    os._exit(4)


def _storm_compressor(path: str) -> None:
    while True:
        for segment in sealed_segments(path):
            if is_plain(segment):
                compress(path, segment, "gzip")
        time.sleep(0.001)

"""Programs of `programs` that read what no reader may be brought down by."""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

from otel_patterns.clock import Clock
from otel_patterns.journal.check import check
from otel_patterns.journal.cursor import Cursor, segment_of_file
from otel_patterns.journal.lines import ReadReport, read_lines
from otel_patterns.journal.read import Filter, read_documents, read_last, read_raw
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.tail import RunTail
from tests.documents import RUN_ID
from tests.faults.writers import line_of


def read_monstrous_lines(path: str) -> None:
    """Read a line of 100 MB, one that is nested 100,000 deep, and one with a number of 5,000 digits, among events."""
    with open(path, "wb") as file:
        file.write(line_of("writer", 0))
        file.writelines(b"x" * 1_000_000 for _ in range(100))
        file.write(b"\n" + line_of("writer", 1) + b"[" * 100_000 + b"\n" + line_of("writer", 2))
        file.write(b'{"event_id":' + b"1" * 5000 + b"}\n" + line_of("writer", 3))
    report = ReadReport()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    events = [document["event_id"] for _, document in read_documents(path, report=report)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"events": events, "skipped": report.skipped, "grown_mib": grown}))


def read_monsters_by_every_reader(path: str) -> None:
    """Read a line of 100 MB, lines of 1 MiB of brackets and of keys, and a packed bomb, by each reader in a process."""
    sealed = Path(path).with_name("pattern_events-00000001.jsonl.gz")
    with gzip.open(sealed, "wb", compresslevel=1) as file:
        file.write(line_of("writer", 0))
        for _ in range(100):
            file.write(bytes(1_000_000))
        file.write(b"\n" + line_of("writer", 1))
    fill = b",".join(b'"%d":[]' % number for number in range(80_000))
    with open(path, "wb") as file:
        file.writelines(
            monster + b"\n"
            for monster in (b"[]," * 300_000, b"[" * 1_000_000, line_of("writer", 0)[:-2] + b"," + fill + b"]\n")
        )
        file.writelines(b"x" * 1_000_000 for _ in range(100))
        file.write(b"\n" + line_of("writer", 2) + b"y" * 50_000_000)

    def tail() -> int:
        with open(path, "rb") as file:
            line = list(read_lines(file))[-1]
            segment = segment_of_file(file)
        reader = RunTail(path, clock=Clock())
        found = reader.events(RUN_ID, Cursor(segment, line.offset), Cursor(segment, line.end), made_here=False)
        reader.close()
        return len(found)

    readers: dict[str, Callable[[], int]] = {
        "read_documents": lambda: sum(1 for _ in read_documents(path)),
        "read_last": lambda: len(read_last(path, Filter(), 1000)),
        "read_raw": lambda: sum(data.count(b"\n") for data in read_raw(path, Filter())),
        "read_runs": lambda: sum(len(found.events) for found in read_runs(path).values()),
        "RunTail": tail,
        "check": lambda: 3 if len(list(check(path))) == 6 else 0,
    }
    events: dict[str, int] = {}
    grown: dict[str, float] = {}
    for name, read in readers.items():
        receiving, sending = os.pipe()
        if os.fork() == 0:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found = read()
            after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(sending, json.dumps([found, (after - before) / 1024]).encode())
            os._exit(0)
        os.wait()
        events[name], grown[name] = json.loads(os.read(receiving, 100))
    print(json.dumps({"events": events, "grown_mib": grown}))

"""`otel-patterns run PRUN-…` in a journal of many segments, above the same command in a journal of that run alone.

Looked up are runs that stand in the middle of the journal, two segments from the end, and in its active file: with
a ULID of their time, with a ULID of another year (a clock that was wrong), and with an id that is no ULID. Each is a
whole process. The first lookup makes the indexes that are missing, and is timed apart.

`python -m benchmarks.lookup [events]` prints milliseconds. Ten million events take 5 GB of disk.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Final

from otel_patterns.journal.segments import path_of_number
from otel_patterns.model.ids import ulid_unix_nano

from .journals import write_journal
from .rounds import python, seconds_of

_PART: Final = 500_000
_ROUNDS: Final = 15
_DIGITS: Final = b"123456789ABCDEFGHJKMNPQRSTVWXYZ"


class _Journal:
    """A journal of many segments, each with as many events, and runs to look for."""

    def __init__(self, folder: Path, events: int) -> None:
        self.path = folder / "large" / "pattern_events.jsonl"
        self.path.parent.mkdir()
        part = folder / "part.jsonl"
        write_journal(part, min(events, _PART))
        lines = part.read_bytes()
        parts = max(1, events // _PART)
        self.runs: dict[str, tuple[str, list[bytes]]] = {}
        for number in range(1, parts + 1):
            # Other ids, of other times, in each part: their first digit that differs says which part it is.
            digit = _DIGITS[number - 1 : number]
            data = lines.replace(b"-01", b"-0" + digit)
            where = {parts // 2: "middle", parts - 2: "near", parts: "active"}.get(number)
            if where:
                data = self._with_runs(data, where)
            path = self.path if number == parts else Path(path_of_number(str(self.path), number))
            path.write_bytes(data)
        part.unlink()

    def _with_runs(self, data: bytes, where: str) -> bytes:
        """Remember a run from the middle, and put in two copies of it under other ids, one behind the other."""
        middle = data.index(b"pattern.execution.completed", len(data) // 2)
        start = data.index(b'"pattern_run_id":"', middle) + len(b'"pattern_run_id":"')
        run_id = data[start : data.index(b'"', start)]
        lines = [line + b"\n" for line in data.split(b"\n") if run_id in line]
        assert ulid_unix_nano(run_id.decode()) is not None
        self.runs[f"ULID, {where}"] = run_id.decode(), lines
        end = data.index(b"\n", start) + 1
        for kind, other in (("skewed", b"PRUN-7ZZ" + run_id[8:]), ("foreign", f"PRUN-TEST-{where}".encode())):
            copies = [line.replace(run_id, other).replace(b'"EVT-0', b'"EVT-' + kind[:1].encode()) for line in lines]
            self.runs[f"{kind}, {where}"] = other.decode(), copies
            data = data[:end] + b"".join(copies) + data[end:]
        return data


def measure(events: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of the first lookup, and the median milliseconds above the bare command of the others."""
    with tempfile.TemporaryDirectory() as folder:
        journal = _Journal(Path(folder), events)
        show = ("-m", "otel_patterns", "run", "--journal")
        small: dict[str, Path] = {}
        for name, (_, lines) in journal.runs.items():
            small[name] = Path(folder) / f"{name}.jsonl"
            small[name].write_bytes(b"".join(lines))
        first_run = next(iter(journal.runs.values()))[0]
        first = seconds_of(python(*show, str(journal.path), first_run))
        above: dict[str, list[float]] = {name: [] for name in journal.runs}
        for _ in range(_ROUNDS):
            for name, (run_id, _) in journal.runs.items():
                bare = seconds_of(python(*show, str(small[name]), run_id))
                above[name].append(1000 * (seconds_of(python(*show, str(journal.path), run_id)) - bare))
        return first, {name: statistics.median(each) for name, each in above.items()}


def main() -> None:
    """Print the medians."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    first, above = measure(events)
    print(f"first lookup in {events} events, which makes the indexes: {first:.2f} s")
    for name, milliseconds in above.items():
        print(f"{name:<16} {milliseconds:6.1f} ms above the bare command")


if __name__ == "__main__":
    main()

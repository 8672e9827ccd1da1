"""`otel-patterns replay` when everything is delivered, against a line loop with `json.loads` over the same journal.

*Full rescan*: the delivery record says of each run that it is settled, but its checkpoint is not there, so the whole
journal is read. *One job*: with the checkpoint and a filter, which has the whole journal read too. *Cursor*: with the
checkpoint, which leaves nothing to read. Each is a whole process, with its start.

`python -m benchmarks.rescan [events]` prints seconds and ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.parcels import Parcel
from otel_patterns.tracing.replay import Selection, traces_of

from .journals import write_journal
from .rounds import python, seconds_of

_ROUNDS: Final = 5
# Nobody listens there, and nobody is asked.
_URL: Final = "http://127.0.0.1:9"


def _deliver_all(journal: Path) -> Path:
    record = DeliveryRecord(journal, f"{_URL}/v1/traces")
    for trace in traces_of(journal, Selection()):
        spans = tuple(span.span_id for span in trace.spans)
        record.settle([Parcel(trace.run_id, spans, completes=trace.is_whole)], Answer("acknowledged"))
    record.close()
    return Path(record.path)


def _loop(journal: Path) -> None:
    with journal.open("rb") as file:
        for line in file:
            json.loads(line)


def measure(events: int) -> dict[str, tuple[float, float]]:
    """Return the median seconds of each, and their median ratio to the line loop."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "pattern_events.jsonl"
        jobs = write_journal(journal, events)
        record = _deliver_all(journal)
        kept = record.read_bytes()
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": _URL}
        replay = ("-m", "otel_patterns", "replay", "--journal", str(journal))
        whole, job = (python(*replay, *more, environment=environment) for more in ((), ("--job", jobs[0])))

        ways: dict[str, Callable[[], object]] = {"full rescan": whole, "cursor": whole, "one job": job}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(_ROUNDS):
            loop = seconds_of(lambda: _loop(journal))
            # As a journal is that was delivered as it grew, and has never been replayed: that drops what it has passed.
            record.with_suffix(".json").unlink(missing_ok=True)
            record.write_bytes(kept)
            for name, way in ways.items():
                seconds = seconds_of(way)
                found[name].append((seconds, seconds / loop))
        return {
            name: (statistics.median(seconds for seconds, _ in each), statistics.median(ratio for _, ratio in each))
            for name, each in found.items()
        }


def main() -> None:
    """Print the medians."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for name, (seconds, ratio) in measure(events).items():
        print(f"{name:<12} {seconds:6.2f} s  {ratio:5.2f} x a line loop with json.loads, {events} events")


if __name__ == "__main__":
    main()

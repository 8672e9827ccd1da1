"""`otel-patterns events` on journals of 25,000 and 200,000 lines, each as a whole process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .journals import write_journal
from .rounds import interleave, python

_LOOP = """\
import json, sys
job = sys.argv[2] if len(sys.argv) > 2 else None
with open(sys.argv[1]) as file:
    for line in file:
        event = json.loads(line)
        if job is None or event["job_id"] == job:
            print(json.dumps(event))
"""


def last_twenty(n: int) -> list[float]:
    """Return the ratio of `events --limit 20` on 25,000 events to `import pydantic`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write_journal(path, 25_000)
        subject = python("-m", "otel_patterns", "events", "--limit", "20", "--journal", str(path))
        return interleave(subject, python("-c", "import pydantic"), n)


def whole(n: int, *, events: int = 200_000) -> list[float]:
    """Return the ratio of `events --json` to a loop over the lines, of all events."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        write_journal(path, events)
        subject = python("-m", "otel_patterns", "events", "--json", "--journal", str(path))
        return interleave(subject, python("-c", _LOOP, str(path)), n)


def one_job(n: int, *, events: int = 200_000) -> list[float]:
    """Return the ratio of `events --json --job` to a loop over the lines, of the events of one job."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        job = write_journal(path, events)[3]
        subject = python("-m", "otel_patterns", "events", "--json", "--job", job, "--journal", str(path))
        return interleave(subject, python("-c", _LOOP, str(path), job), n)

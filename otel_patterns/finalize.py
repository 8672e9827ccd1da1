"""Ending runs that nobody ended: their writer was killed, so no event says how they came out (design section 4).

Such a run gets one more event, an `execution.failed` whose `error_type` is `abandoned`. It follows from the run alone:
two processes that end one run write one event twice, and readers drop the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .clock import encode_ulid
from .errors import OtelPatternsError
from .journal.append import open_journal
from .journal.job_log import append_to_job
from .journal.runs import read_runs
from .model import names
from .model.encoding import encode_line
from .model.outline import ABANDONED, order_key
from .model.times import format_timestamp
from .model.values import as_object
from .process import is_gone

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from .journal.read import ReadReport
    from .model.record import Event

# A run whose writers cannot be looked at has to be silent for this long.
SILENT_SECONDS: Final = 24 * 3600.0
_MESSAGE: Final = "no end was recorded, and what wrote the run is gone"
_MICROSECOND: Final = 1000


class Abandoned(NamedTuple):
    """A run that nobody will end.

    Attributes:
        document: The event that ends it; nothing is written yet.
        reason: Why it counts as abandoned, for people.
        silent_seconds: How long it has been silent when its writers cannot be looked at; None when they were, and have
            ended.
    """

    document: dict[str, Any]
    reason: str
    silent_seconds: float | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        run_id: str = self.document["pattern_run_id"]
        return run_id


def find_abandoned(
    journal_path: str | os.PathLike[str],
    *,
    now_unix_nano: int,
    silent_seconds: float = SILENT_SECONDS,
    report: ReadReport | None = None,
) -> Iterator[Abandoned]:
    """Yield the runs of a journal that have no end and whose writers are gone, in the order of their beginnings.

    Args:
        journal_path: The journal.
        now_unix_nano: The present time.
        silent_seconds: How long a run must have been silent whose writers cannot be looked at: on another host, before
            a reboot, or not recorded.
        report: What the journal's reader met.

    Raises:
        JournalError: The journal cannot be read.
    """
    for run in read_runs(journal_path, report=report).values():
        if run.finished_at is None:
            found = abandoned(run.read_events(), now_unix_nano=now_unix_nano, silent_seconds=silent_seconds)
            if found is not None:
                yield found


def abandoned(events: Sequence[Event], *, now_unix_nano: int, silent_seconds: float) -> Abandoned | None:
    """Return the end of a run from its events, of which none is terminal; None when it may still go on."""
    last = max(events, key=order_key)
    writers = [writer for event in events if (writer := as_object(event.otel.get("writer"))) is not None]
    verdicts = [is_gone(writer) for writer in writers]
    silent: float | None = None
    if False in verdicts:
        return None
    if verdicts and None not in verdicts:
        pids = ", ".join(str(pid) for pid in dict.fromkeys(writer["pid"] for writer in writers))
        reason = f"process {pids} has ended"
    elif (silent := (now_unix_nano - last.time_unix_nano) / 1e9) >= silent_seconds:
        reason = f"no event for {silent:.0f} s"
    else:
        return None
    return Abandoned(_end_of(last), reason, silent)


def _end_of(last: Event) -> dict[str, Any]:
    digest = hashlib.sha256(f"otel_patterns/abandoned/1:{last.pattern_run_id}".encode()).digest()
    return {
        "event_id": f"EVT-{encode_ulid(int.from_bytes(digest[:16], 'big'))}",
        "event_type": names.EXECUTION_FAILED,
        "timestamp": format_timestamp(last.time_unix_nano + _MICROSECOND),
        "job_id": last.job_id,
        "pattern_run_id": last.pattern_run_id,
        "pattern_id": last.pattern_id,
        "status": names.FAILED,
        "details": {"exit_code": None, "error_type": ABANDONED, "error_message": _MESSAGE},
        "step_id": last.step_id,
    }


def append_end(journal_path: str | os.PathLike[str], run: Abandoned, *, job_scoped: bool = False) -> None:
    """Append the event that ends an abandoned run; the run is owed to trace backends from then on.

    Args:
        journal_path: The journal.
        run: What `find_abandoned` found.
        job_scoped: Append it to the job's own log as well.

    Raises:
        OtelPatternsError: The journal cannot be written.
    """
    journal = open_journal(journal_path)
    line = encode_line(run.document)
    if journal.append(line, durability="group", is_terminal=True).state != "journaled":
        raise OtelPatternsError(f"{journal.path}: the end of run {run.run_id} cannot be written")
    if job_scoped:
        append_to_job(journal, run.document["job_id"], line)

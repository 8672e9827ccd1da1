"""Whether a journal is as it should be; and a copy of it that is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, NamedTuple

from ..errors import JournalError
from ..model.names import MAX_LINE_BYTES
from .descriptor import sync_directory
from .lines import BadLine, ReadReport
from .lock import locked
from .quarantine import Quarantine
from .read import read_documents
from .rotation import FAILED_SYNCS, LOST
from .segments import Segment, identity_of, open_seekable, sealed_segments
from .spool import spool_directory
from .state import ACKNOWLEDGED, JournalState

BAD_LINE: Final = "bad_line"
TORN_TAIL: Final = "torn_tail"
TWO_FILES: Final = "plain_and_compressed"
GAP: Final = "gap"
FAILED_SYNC: Final = "failed_sync"
SPOOLED: Final = "spooled"
_FILE_MODE: Final = 0o600
_LOCK_TIMEOUT_SECONDS: Final = 10.0
_LOSSES: Final = (
    (GAP, LOST, "lines were lost while nothing could be written"),
    (FAILED_SYNC, FAILED_SYNCS, "syncs failed: the disk may be failing"),
)


class Finding(NamedTuple):
    """Something that is wrong with a journal.

    Attributes:
        kind: What.
        path: In which file.
        reason: Why it matters.
        offset: The byte at which it begins.
        length: How many bytes it has.
        known: Somebody has taken note of it: it is in quarantine, or was acknowledged.
    """

    kind: str
    path: str
    reason: str
    offset: int = 0
    length: int = 0
    known: bool = False


class _AllBadLines(ReadReport):
    """Lists all bad lines, not the first hundred."""

    def skip(self, bad: BadLine) -> None:
        self.skipped += 1
        self.bad_lines.append(bad._replace(path=self.path))


def check(path: str) -> Iterator[Finding]:
    """Yield what is wrong with a journal: all lines are read.

    Raises:
        JournalError: It cannot be read.
    """
    report = _AllBadLines()
    for _ in read_documents(path, report=report):
        pass
    kept, name_of = Quarantine(path), cache(_name_of)
    for bad in report.bad_lines:
        kind = TORN_TAIL if bad.reason.startswith("no newline") else BAD_LINE
        known = kept.has(name_of(bad.path), bad.offset)
        yield Finding(kind, bad.path, bad.reason, bad.offset, bad.length, known)
    if report.unfinished_bytes:
        reason = "an unfinished last line: a writer is at it, or was killed"
        known = kept.has(name_of(report.path), report.end)
        yield Finding(TORN_TAIL, report.path, reason, report.end, report.unfinished_bytes, known)
    for segment in sealed_segments(path):
        if len(segment.files) > 1:
            reason = "compressing was interrupted: `journal compress` finishes it"
            yield Finding(TWO_FILES, segment.path, reason)
    state = JournalState(path)
    for kind, key, words in _LOSSES:
        known = state.acknowledged(key)
        if known:
            yield Finding(kind, state.path, f"{known} {words}", known=True)
        if (new := state.number(key) - known) > 0:
            yield Finding(kind, state.path, f"{new} {words}")
    yield from _spooled(path)


def _spooled(path: str) -> Iterator[Finding]:
    directory = spool_directory(path)
    prefix = f"{os.path.splitext(os.path.basename(path))[0]}."
    if os.path.isdir(directory):
        for name in sorted(os.listdir(directory)):
            if name.startswith(prefix):
                yield Finding(SPOOLED, os.path.join(directory, name), "lines wait here that could not be written yet")


def quarantine(path: str, findings: Iterable[Finding]) -> int:
    """Copy bad lines to `quarantine/<segment>.jsonl` beside the journal, each once, and return how many are new.

    Raises:
        JournalError: They cannot be read or written.
    """
    copied = 0
    kept = Quarantine(path)
    for finding in findings:
        if finding.kind not in (BAD_LINE, TORN_TAIL) or finding.known:
            continue
        segment = _name_of(finding.path)
        file = open_seekable(Segment(0, finding.path, (finding.path,)))
        if file is None:
            continue
        with file:
            data = os.pread(file.fileno(), min(finding.length, MAX_LINE_BYTES), finding.offset)
        copied += kept.keep(segment, finding.offset, data, finding.reason, length=finding.length)
    return copied


def acknowledge(path: str) -> None:
    """Take note of the lines that were lost and the syncs that failed until now: `check` calls them known from now on.

    Raises:
        JournalError: That cannot be put on record.
    """
    try:
        with locked(f"{path}.lock", _LOCK_TIMEOUT_SECONDS):
            state = JournalState(path)
            known = {key: state.number(key) for _, key, _ in _LOSSES}
            if any(known.values()):
                state.save({**state.load(), ACKNOWLEDGED: {**known, "at_unix_seconds": int(time.time())}})
    except OSError as error:
        raise JournalError(path, f"losses cannot be acknowledged: {error}") from error


def _name_of(path: str) -> str:
    """Return what a file of the journal is called in quarantine; one without a whole line has only its name."""
    return identity_of(Segment(0, path, (path,))) or os.path.basename(path)


def repair(path: str, target: str) -> int:
    """Write the distinct events of a journal into a new one, in journal order, and return how many they are.

    Raises:
        JournalError: There is something at the target already, or it cannot be written.
    """
    if os.path.lexists(target) or sealed_segments(target):
        raise JournalError(target, "is there already: move it away, or name another one")
    temporary = f"{target}.{os.getpid()}.tmp"
    seen: set[str] = set()
    try:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        try:
            with open(number, "wb") as file:
                for line, document in read_documents(path):
                    if document["event_id"] not in seen:
                        seen.add(document["event_id"])
                        file.write(line.json + b"\n")
                file.flush()
                os.fsync(number)
            os.rename(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise JournalError(target, error.strerror or str(error)) from error
    sync_directory(os.path.dirname(target))
    return len(seen)

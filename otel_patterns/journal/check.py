"""Whether a journal is as it should be; and a copy of it that is."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ..errors import JournalError
from ..model.names import MAX_LINE_BYTES
from ..model.values import as_object
from .append import Journal
from .cursor import segment_of_file
from .descriptor import sync_directory
from .lines import BadLine, ReadReport, open_to_read, read_lines
from .read import read_documents
from .rotation import FAILED_SYNCS, LOST
from .segments import Segment, open_seekable, sealed_segments
from .spool import spool_directory
from .state import JournalState

BAD_LINE: Final = "bad_line"
TORN_TAIL: Final = "torn_tail"
TWO_FILES: Final = "plain_and_compressed"
GAP: Final = "gap"
FAILED_SYNC: Final = "failed_sync"
SPOOLED: Final = "spooled"
_FILE_MODE: Final = 0o600


class Finding(NamedTuple):
    """Something that is wrong with a journal: what, where, and why it matters."""

    kind: str
    path: str
    reason: str
    offset: int = 0
    length: int = 0


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
    for bad in report.bad_lines:
        kind = TORN_TAIL if bad.reason.startswith("no newline") else BAD_LINE
        yield Finding(kind, bad.path, bad.reason, bad.offset, bad.length)
    if report.unfinished_bytes:
        reason = "an unfinished last line: a writer is at it, or was killed"
        yield Finding(TORN_TAIL, report.path, reason, report.end, report.unfinished_bytes)
    for segment in sealed_segments(path):
        if len(segment.files) > 1:
            reason = "compressing was interrupted: `journal compress` finishes it"
            yield Finding(TWO_FILES, segment.path, reason)
    state = JournalState(path)
    if lost := state.number(LOST):
        yield Finding(GAP, state.path, f"{lost} lines were lost while nothing could be written")
    if failed := state.number(FAILED_SYNCS):
        yield Finding(FAILED_SYNC, state.path, f"{failed} syncs failed: the disk may be failing")
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
    files: dict[str, tuple[Journal, set[Any]]] = {}
    for finding in findings:
        if finding.kind not in (BAD_LINE, TORN_TAIL):
            continue
        file = open_seekable(Segment(0, finding.path, (finding.path,)))
        if file is None:
            continue
        with file:
            # A file without a whole line has no identity yet, but a name.
            segment = segment_of_file(file) or os.path.basename(finding.path)
            data = os.pread(file.fileno(), min(finding.length, MAX_LINE_BYTES), finding.offset)
        if segment not in files:
            target = os.path.join(os.path.dirname(path), "quarantine", f"{segment}.jsonl")
            files[segment] = Journal(target, spool_lines=0), _offsets(target)
        journal, offsets = files[segment]
        if finding.offset in offsets:
            continue
        entry = {
            "segment": segment,
            "offset": finding.offset,
            "length": finding.length,
            "reason": finding.reason,
            "data_base64": base64.b64encode(data).decode(),
        }
        if journal.append(json.dumps(entry).encode() + b"\n").state != "journaled":
            raise JournalError(journal.path, "cannot be written")
        offsets.add(finding.offset)
        copied += 1
    for journal, _ in files.values():
        journal.close()
    return copied


def _offsets(path: str) -> set[Any]:
    """Return where the lines stand that a file of the quarantine has."""
    file = open_to_read(path)
    if file is None:
        return set()
    with file:
        entries = (as_object(json.loads(line.data)) for line in read_lines(file))
        return {entry["offset"] for entry in entries if entry is not None and "offset" in entry}


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

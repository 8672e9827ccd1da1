"""Details that are too large for a line of the journal, in files of their own beside it."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from .lines import ReadReport, read_blocks
from .segments import GZIP, ZSTD, Segment, open_segment, tell_damage
from .state import replace_file

_LONGEST_NAME: Final = 60
_DIRECTORY: Final = "artifacts"
# A name and never a path, as it stands in a line; some writers escape the slash.
_NAMED: Final = re.compile(rb'"artifacts\\?/([A-Za-z0-9][A-Za-z0-9._-]*\.json)"')


def write_artifact(journal_path: str, event_id: str, number: int, name: str, data: bytes) -> dict[str, Any]:
    """Write a detail's JSON to `artifacts/<event id>-<number>-<name>.json`, and return what stands in its place.

    Raises:
        OSError: It cannot be written.
    """
    # The event id is checked, and a detail's name is text that somebody else has chosen: never a path.
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_LONGEST_NAME].strip("-")
    path = os.path.join(_DIRECTORY, f"{event_id}-{number}-{slug}.json")
    replace_file(os.path.join(os.path.dirname(journal_path), path), data)
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def named_in(segments: Iterable[Segment]) -> set[str] | None:
    """Return the names of the artifacts that lines of these files speak of; None when not all can be read.

    Raises:
        JournalError: A file cannot be opened.
    """
    found: set[str] = set()
    for segment in segments:
        file = open_segment(segment)
        if file is None:
            continue
        report = ReadReport()
        with file:
            for _, block in read_blocks(file, report=report):
                found.update(name.decode() for name in _NAMED.findall(block))
            tell_damage(file, report)
        if report.skipped:
            return None
    return found


def files_beside(directory: str) -> list[Segment]:
    """Return all files that may speak of the artifacts beside them: those of journals, of jobs, and spooled ones.

    A repaired copy of the journal has the same events, for one.
    """
    patterns = ("*.jsonl", f"*.jsonl{GZIP}", f"*.jsonl{ZSTD}", "jobs/*/*.jsonl", "spool/*.jsonl")
    found = [path for pattern in patterns for path in glob.glob(os.path.join(glob.escape(directory), pattern))]
    return [Segment(0, path, (path,)) for path in found]


def delete_artifacts(directory: str, names: Iterable[str]) -> int:
    """Delete artifacts of a journal in this directory, those that are there, and return how many they were.

    Raises:
        OSError: One cannot be deleted.
    """
    count = 0
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, _DIRECTORY, name))
            count += 1
    return count

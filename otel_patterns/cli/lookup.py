"""Finding a run in the journal by its id, or by the beginning or the end of it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import OtelPatternsError
from ..journal.lines import ReadReport
from ..journal.lookup import read_run
from ..journal.read import read_heads
from ..journal.segments import read_files

if TYPE_CHECKING:
    from ..model.events import PatternEvent

_SHOWN_MATCHES = 5
# Comparing is slow: only the latest runs are offered as what may have been meant.
_COMPARED_RUNS = 2000
_SIMILAR = 0.8


class UnknownRunError(OtelPatternsError):
    """No run, or more than one, goes by that id.

    Attributes:
        path: The journal.
        run_id: What was asked for.
        matches: Ids that may have been meant, the latest first.
    """

    def __init__(self, path: str, run_id: str, matches: Sequence[str], *, is_ambiguous: bool) -> None:
        self.path = path
        self.run_id = run_id
        self.matches = tuple(matches)
        shown = ", ".join(self.matches[:_SHOWN_MATCHES])
        more = len(self.matches) - _SHOWN_MATCHES
        if is_ambiguous:
            message = f"{len(self.matches)} runs go by {run_id}: {shown}" + (f" and {more} more" if more > 0 else "")
        else:
            message = f"there is no run {run_id} in {path}" + (f"; did you mean {shown}?" if shown else "")
        super().__init__(message)


def find_run(path: str, text: str) -> list[PatternEvent]:
    """Return the events of the run with this id, or else of the only one whose id begins or ends so, in journal order.

    Raises:
        UnknownRunError: There is no such run, or there are several.
        JournalError: The journal cannot be read.
    """
    return read_run(path, text) or read_run(path, _find_similar(path, text))


def find_run_id(path: str, text: str) -> str:
    """Return the only run id of the journal that is `text`, or begins or ends with it, in upper or lower case.

    Raises:
        UnknownRunError: There is no such run, or there are several.
        JournalError: The journal cannot be read.
    """
    return text if read_run(path, text) else _find_similar(path, text)


def _find_similar(path: str, text: str) -> str:
    run_ids = _run_ids(path)
    latest = list(run_ids)[::-1]
    # Where a terminal is narrow, ids are shown as `…` and their end.
    wanted = text.lstrip("….").casefold()
    matches = [run_id for run_id in latest if wanted and _goes_by(run_id.casefold(), wanted)]
    if len(matches) == 1:
        return matches[0]
    is_ambiguous = len(matches) > 1
    close = matches or difflib.get_close_matches(text, latest[:_COMPARED_RUNS], _SHOWN_MATCHES, _SIMILAR)
    raise UnknownRunError(path, text, close, is_ambiguous=is_ambiguous)


def _run_ids(path: str) -> dict[str, None]:
    """Return all run ids in journal order."""
    files = read_files(path, ReadReport())
    return dict.fromkeys(run_id for file in files for block in read_heads(file) for run_id in block.by_run)


def _goes_by(run_id: str, wanted: str) -> bool:
    return run_id.startswith((wanted, f"prun-{wanted}")) or run_id.endswith(wanted)

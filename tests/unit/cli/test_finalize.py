"""`otel-patterns finalize`: what it ends, and what it only tells."""

import json
from pathlib import Path

import pytest

from otel_patterns.journal.read import read_events
from otel_patterns.model.names import EXECUTION_FAILED
from tests.unit.cli.support import call, event, whole_run, write_journal

DAY = 86_400.0
OPEN = "PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T70"


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return a journal with a run that has ended and one that has not, and whose writer is not known."""
    return write_journal(tmp_path / "journal.jsonl", [*whole_run(), event("execution.started", 5, run_id=OPEN)])


def test_finalize_ends_the_run_that_was_silent_for_a_day(journal: str) -> None:
    """It says which and why, and the journal has one event more."""
    result = call("finalize", "--journal", journal, seconds_later=DAY + 5)
    assert (result.code, result.lines) == (0, [f"{OPEN}  ended: no event for 86400 s"])
    assert result.err == "otel-patterns: 1 run ended; replay sends them\n"
    assert [found.event_type for found in read_events(journal, None)][-1] == EXECUTION_FAILED
    again = call("finalize", "--journal", journal, seconds_later=DAY * 9)
    assert (again.code, again.out, again.err) == (0, "", "otel-patterns: 0 runs ended\n")


def test_finalize_dry_run_writes_nothing(journal: str) -> None:
    """It tells what it would do."""
    before = Path(journal).read_bytes()
    result = call("finalize", "--dry-run", "--silent", "10s", "--journal", journal, seconds_later=60)
    assert result.lines == [f"{OPEN}  would end: no event for 55 s"]
    assert result.err == "otel-patterns: 1 run to end\n"
    assert Path(journal).read_bytes() == before


def test_finalize_json_is_the_event(journal: str) -> None:
    """One event a line, as it stands in the journal."""
    result = call("finalize", "--json", "--silent", "1s", "--journal", journal)
    assert Path(journal).read_text().endswith(result.out)
    assert json.loads(result.out)["details"]["error_type"] == "abandoned"


def test_finalize_leaves_a_run_that_may_go_on(journal: str) -> None:
    """A day is not over yet."""
    result = call("finalize", "--journal", journal, seconds_later=DAY)
    assert (result.code, result.out) == (0, "")

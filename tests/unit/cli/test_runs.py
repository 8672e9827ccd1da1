"""`otel-patterns runs`."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.support import JOB_ID, OPERATION, RUN_ID, call, event, whole_run, write_journal

FAILED_RUN = "PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7W"
OPEN_RUN = "PRUN-TEST-001"


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal with a successful, a failed and an open run."""
    return write_journal(
        tmp_path / "journal.jsonl",
        [
            *whole_run(),
            event("execution.started", 60, run_id=FAILED_RUN, job_id="JOB-2", pattern_id="PAT-X"),
            event("execution.failed", 70, run_id=FAILED_RUN, job_id="JOB-2", pattern_id="PAT-X", status="failed"),
            event("execution.started", 120, run_id=OPEN_RUN, job_id="JOB-2", pattern_id="PAT-X"),
        ],
    )


def ids(*argv: str) -> list[str]:
    """Return the ids that `runs --json` prints."""
    return [json.loads(line)["pattern_run_id"] for line in call("runs", "--json", *argv).lines]


def test_runs_are_listed_latest_first(journal: str) -> None:
    """The run that started last comes first."""
    assert ids("--journal", journal) == [OPEN_RUN, FAILED_RUN, RUN_ID]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (("--job", JOB_ID), [RUN_ID]),
        (("--pattern", "PAT-X"), [OPEN_RUN, FAILED_RUN]),
        (("--status", "in_progress"), [OPEN_RUN]),
        (("--operation-kind", OPERATION), [RUN_ID]),
        (("--since", "2026-11-22T09:31:00Z"), [OPEN_RUN, FAILED_RUN]),
        (("--until", "2026-11-22T09:31:00Z"), [RUN_ID]),
        (("--limit", "1"), [OPEN_RUN]),
        (("--limit", "0"), []),
    ],
)
def test_runs_filter_passes_what_it_names(journal: str, filters: tuple[str, ...], wanted: list[str]) -> None:
    """Each filter keeps the runs it names."""
    assert ids("--journal", journal, *filters) == wanted


def test_runs_table_tells_what_matters(journal: str) -> None:
    """The table has a header and a line for each run; a duration with `+` is still growing."""
    assert [" ".join(line.split()) for line in call("runs", "--journal", journal, seconds_later=180).lines] == [
        "STARTED (UTC) STATUS DURATION PATTERN OPERATION JOB RUN",
        "2026-11-22T09:32:00Z ● in_progress 1 m 00 s+ PAT-X unknown JOB-2 PRUN-TEST-001",
        f"2026-11-22T09:31:00Z ✗ failed 10.00 s PAT-X unknown JOB-2 {FAILED_RUN}",
        f"2026-11-22T09:30:02Z ✓ success 2.00 s PAT-SEMGREP-001 semgrep_scan {JOB_ID} {RUN_ID}",
    ]


@pytest.mark.parametrize("columns", [70, 80, 100, 120, 140, 200])
def test_runs_terminal_is_never_wider_than_it_is(journal: str, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """On a terminal a run takes one line of it, and its id keeps the end, by which `run` finds it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = call("--color", "never", "runs", "--journal", journal, is_terminal=True).lines
    assert max(map(len, lines)) <= columns
    assert lines[-1].endswith(RUN_ID[-8:])


def test_runs_lone_surrogate_is_printed_as_json(tmp_path: Path) -> None:
    """Text that UTF-8 cannot hold, from a foreign log, breaks neither the table nor the JSON."""
    path = write_journal(tmp_path / "j", [event("selection.started", details={"operation_kind": "\ud800x"})])
    assert json.loads(call("runs", "--json", "--journal", path).out)["operation_kind"] == "�x"
    assert "\\ud800x" in call("runs", "--journal", path).out


def test_runs_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    """A journal that is not there yet has no runs, and its path is told."""
    result = call("runs")
    assert (result.code, result.out) == (0, "")
    assert str(tmp_path) in result.err

"""`otel-patterns doctor`: what it says of the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.cli import sections
from otel_patterns.tracing.answers import Answer
from tests.unit.cli.doctor import NOW, examined, findings, settle
from tests.unit.cli.support import call

pytestmark = pytest.mark.usefixtures("sink")


def test_no_journal_is_a_warning(tmp_path: Path) -> None:
    """A journal that is not there yet can be written."""
    document = examined(tmp_path / "none" / "j")
    assert "there is no journal at" in findings(document, "journal", "warning")[0]
    assert findings(document, "journal", "ok") == ["can be written: "]


def test_journal_that_cannot_be_written_is_a_problem(path: Path) -> None:
    """The reason names the file."""
    lock = Path(f"{path}.lock")
    lock.symlink_to(path)
    document = examined(path)
    assert document["journal"]["obstacle"] == f"{lock}: is a symbolic link"
    assert findings(document, "journal", "problem") == [
        f"cannot be written: {lock}: is a symbolic link: events are spooled or lost until this is repaired"
    ]


def test_journal_that_cannot_be_read_is_a_problem_of_each_section(path: Path) -> None:
    """One line each says so, and the settings and the receiver are looked at all the same."""
    path.unlink()
    path.mkdir()
    result = call("doctor", "--json", "--journal", str(path))
    document = json.loads(result.out)
    assert result.code == 1
    for section in ("journal", "clock", "runs"):
        assert any("is no regular file" in found for found in findings(document, section, "problem")), section
    assert findings(document, "endpoint", "problem") == []


def test_damaged_lines_are_warnings_with_the_first_place(path: Path) -> None:
    """Bad lines and a torn tail are counted, and the first one is named."""
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"garbage\n[]\n{")
    document = examined(path)
    assert (document["journal"]["bad_lines"], document["journal"]["torn_tails"]) == (2, 1)
    bad, torn = findings(document, "journal", "warning")
    assert bad.startswith(f"2 bad lines, the first in {path.name} at byte {size}: ")
    assert torn.startswith(f"1 torn line, the first in {path.name} at byte {size + 11}: ")


@pytest.mark.parametrize(("age", "level"), [(60, "problem"), (sections.RECENT_SECONDS, "warning"), (None, "warning")])
def test_losses_are_problems_for_a_day(path: Path, age: int | None, level: str) -> None:
    """Counts of what was lost are kept for good; only what is recent asks for somebody."""
    state: dict[str, Any] = {"lost": 4, "failed_syncs": 1}
    if age is not None:
        state["gaps"] = [{"until_unix_seconds": NOW - 9 * 10**6, "lines": 1}, {"until_unix_seconds": NOW - age}, None]
        state["last_failed_sync"] = {"at_unix_seconds": NOW - age}
    Path(f"{path}.state").write_text(json.dumps(state))
    document = examined(path)
    assert (document["journal"]["lost_lines"], document["journal"]["failed_syncs"]) == (4, 1)
    lost, failed = findings(document, "journal", level)
    assert lost.startswith("4 lost lines on record")
    assert failed.startswith("1 failed sync on record")
    assert ("ago" in lost) == (age is not None)


def test_spooled_and_quarantined_lines_are_counted(path: Path) -> None:
    """Lines that wait are a warning, lines in quarantine are told; other journals' spool files do not count."""
    for name, lines in (
        ("spool/pattern_events.host-1-2.jsonl", 3),
        ("spool/pattern_events.host-2-2.jsonl", 2),
        ("spool/other.host-1-2.jsonl", 9),
        ("quarantine/a.jsonl", 4),
    ):
        file = path.parent / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x\n" * lines)
    document = examined(path)
    journal = document["journal"]
    assert (journal["spool_files"], journal["spooled_lines"], journal["quarantined_lines"]) == (2, 5, 4)
    assert "not in the journal yet: 5 lines in 2 spool files" in findings(document, "journal", "warning")[0]
    assert "4 bad lines in quarantine: " in findings(document, "journal", "ok")


def test_file_that_the_system_refuses_is_a_problem_of_its_section(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is looked at all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    settle(path, Answer("acknowledged"))
    monkeypatch.setattr(sections, "find_obstacle", refuse)
    monkeypatch.setattr(sections.DeliveryRecord, "all_of", refuse)
    document = examined(path)
    assert [len(findings(document, section, "problem")) for section in ("journal", "delivery", "runs")] == [1, 1, 0]
    assert document["owed"] is None

"""`otel-patterns import-trace`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.cli import replay as replay_command
from otel_patterns.journal.append import Journal, Receipt
from otel_patterns.journal.read import read_events
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.names import MAX_LINE_BYTES
from tests.otlp_json import request_of, with_hex_ids
from tests.streams import RUN_ID, Stream, failed_run, semgrep_run
from tests.unit.cli.support import call
from tests.unit.cli.test_replay import FakeSink

OTHER = "PRUN-OTHER"


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal that does not exist yet."""
    return str(tmp_path / "state" / "journal.jsonl")


def save(path: Path, *runs: list[PatternEvent]) -> str:
    """Write the trace of runs, as it is saved from a backend."""
    path.write_text(json.dumps({"result": with_hex_ids(request_of(*runs))}))
    return str(path)


def write(path: str, events: list[PatternEvent]) -> None:
    """Write a journal as the package does."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_bytes(b"".join(event.to_line() for event in events))


def test_import_appends_what_the_journal_does_not_have(journal: str, tmp_path: Path) -> None:
    """Each run is one line, and its events are in the journal; the second import appends nothing."""
    saved = save(tmp_path / "t", semgrep_run(), semgrep_run(Stream(OTHER)))
    result = call("import-trace", "--journal", journal, saved)
    assert (result.code, result.err) == (0, "")
    assert result.lines == [f"{RUN_ID}  7 events imported", f"{OTHER}  7 events imported"]
    before = Path(journal).read_bytes()
    again = call("import-trace", "--journal", journal, saved)
    assert again.lines[0] == f"{RUN_ID}  0 events imported, 7 in the journal before"
    assert (again.code, Path(journal).read_bytes()) == (0, before)


def test_import_completes_a_run_that_is_partly_there(journal: str, tmp_path: Path) -> None:
    """Only the events are appended whose ids are not in the journal; the run is what it was."""
    run = semgrep_run()
    write(journal, run[:3])
    result = call("import-trace", "--journal", journal, save(tmp_path / "t", run))
    assert result.lines == [f"{RUN_ID}  4 events imported, 3 in the journal before"]
    assert [event.event_id for event in read_events(journal)] == [event.event_id for event in run]


@pytest.mark.parametrize("there_before", [0, 3])
def test_imported_run_is_never_sent(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there_before: int
) -> None:
    """A backend has it: replay does not owe it, not even forced, also when a part of it was written here."""
    monkeypatch.setattr(replay_command, "OtlpSink", FakeSink)
    run = semgrep_run()
    write(journal, run[:there_before])
    call("import-trace", "--journal", journal, save(tmp_path / "t", run))
    result = call("replay", "--force", "--journal", journal)
    assert (result.code, result.out) == (0, "")
    assert "1 exported by their own program or imported" in result.err


def test_import_that_is_not_whole_fails_and_says_what(journal: str, tmp_path: Path) -> None:
    """What did not fit is named; the event is there with what is left, and says so every time."""
    run = failed_run(error_type="E", checks=["x" * 3000])
    saved = save(tmp_path / "t", run)
    for _ in range(2):
        result = call("import-trace", "--journal", journal, saved)
        assert result.code == 1
        assert f"not whole: {RUN_ID} {run[-1].event_id}: only scalars are left" in result.err
    *_, last = read_events(journal)
    assert (last.details["error_type"], last.otel["imported"]) == ("E", True)
    assert set(last.otel["truncated"]) == {"sha256", "bytes"}


def test_import_of_what_the_journal_has_whole_is_done(journal: str, tmp_path: Path) -> None:
    """What the trace has cut the journal has whole: nothing is missing, and nothing is replaced."""
    run = failed_run(error_type="E", checks=["x" * 3000])
    write(journal, run)
    result = call("import-trace", "--journal", journal, save(tmp_path / "t", run))
    assert (result.code, result.err) == (0, "")
    assert list(read_events(journal)) == run


def test_import_dry_run_writes_nothing(journal: str, tmp_path: Path) -> None:
    """`--dry-run` tells what would be imported, and leaves no file behind."""
    result = call("import-trace", "--dry-run", "--journal", journal, save(tmp_path / "t", semgrep_run()))
    assert (result.code, result.lines) == (0, [f"{RUN_ID}  7 events to import"])
    assert not os.path.exists(journal)


def test_import_json_is_one_object_a_run(journal: str, tmp_path: Path) -> None:
    """`--json` is the documented contract."""
    run = failed_run(error_type="E", checks=["x" * 3000])
    result = call("import-trace", "--json", "--journal", journal, save(tmp_path / "t", run))
    (document,) = [json.loads(line) for line in result.lines]
    (incomplete,) = document.pop("incomplete")
    assert document == {"pattern_run_id": RUN_ID, "events": 2, "new": 2}
    assert set(incomplete) == {"event_id", "event_type", "reason", "details_sha256"}
    assert incomplete["event_id"] == run[-1].event_id


def test_import_of_a_run_that_has_not_ended_imports_nothing(journal: str, tmp_path: Path) -> None:
    """Its events come with its root; what is there is said."""
    result = call("import-trace", "--journal", journal, save(tmp_path / "t", semgrep_run()[:5]))
    assert (result.code, result.lines) == (1, [f"{RUN_ID}  0 events imported"])
    assert "has not ended in this trace" in result.err
    assert not os.path.exists(journal)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"<html>", "it must be a trace"),
        (b'{"resourceSpans": 1}', "resourceSpans is 1: it must be an array"),
        (b'{"trace": {}}', "there is no pattern run in this trace"),
        (
            b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "1", "spanId": "1"}]}]}]}',
            "only 1 span of other programs",
        ),
    ],
)
def test_import_of_what_is_no_trace_fails_and_the_others_go_on(
    journal: str, tmp_path: Path, content: bytes | None, said: str
) -> None:
    """A file that is missing, broken or empty is named with what is wrong, and costs only itself."""
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_bytes(content)
    result = call("import-trace", "--journal", journal, str(bad), save(tmp_path / "t", semgrep_run()))
    assert (result.code, len(result.lines)) == (1, 1)
    assert f"{bad}: " in result.err
    assert said in result.err


def test_import_of_an_event_that_is_not_written_fails(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What only waits in memory, as on a full disk, is not imported: this process will not be there to write it."""

    def keep(journal: Journal, line: bytes) -> Receipt:
        return Receipt("spooled")

    monkeypatch.setattr(Journal, "append", keep)
    result = call("import-trace", "--journal", journal, save(tmp_path / "t", semgrep_run()))
    assert (result.code, result.out) == (1, "")
    assert "cannot be written" in result.err


def test_import_into_a_journal_that_cannot_be_read_fails(tmp_path: Path) -> None:
    """Without the ids that are there nobody knows what is new."""
    (tmp_path / "file").write_text("")
    result = call("import-trace", "--journal", str(tmp_path / "file" / "j"), save(tmp_path / "t", semgrep_run()))
    assert (result.code, result.out) == (1, "")
    assert str(tmp_path / "file" / "j") in result.err


def test_import_of_an_event_too_long_for_a_line_says_so(journal: str, tmp_path: Path) -> None:
    """A line that no reader takes would be appended at every import."""
    note: dict[str, Any] = {"name": "n", "time_unix_nano": 1, "attributes": {"text": "x" * (MAX_LINE_BYTES + 1)}}
    run = semgrep_run(span={"run": {"events": [note]}})
    result = call("import-trace", "--journal", journal, save(tmp_path / "t", run))
    assert (result.code, result.lines) == (1, [f"{RUN_ID}  6 events imported"])
    assert f"{run[0].event_id}: its line would be too long" in result.err


def test_import_with_job_logs_writes_them_too(journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where job-scoped logs are on, imported events are in them as any other."""
    monkeypatch.setenv("OTEL_PATTERNS_JOB_SCOPED", "true")
    run = semgrep_run()
    call("import-trace", "--journal", journal, save(tmp_path / "t", run))
    log = Path(journal).parent / "jobs" / run[0].job_id / "pattern_events.jsonl"
    assert log.read_bytes() == Path(journal).read_bytes()

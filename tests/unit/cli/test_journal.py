"""`otel-patterns journal` looks after the journal's files."""

import base64
import gzip
import json
from pathlib import Path

import pytest

from otel_patterns.cli.moments import parse_bytes
from otel_patterns.journal.append import Journal
from otel_patterns.journal.segments import identity_of, sealed_segments
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.parcels import Parcel
from otel_patterns.tracing.replay import Selection, traces_of
from tests.documents import JOB_ID
from tests.unit.cli.support import call
from tests.unit.journal.lines import event_line, segment_at


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a journal of three segments and an active file, an event in each."""
    path = tmp_path / "pattern_events.jsonl"
    journal = Journal(path)
    journal.rotate(1)
    for number in range(4):
        journal.append(event_line(number, size=2000))
    journal.close()
    return path


@pytest.mark.parametrize(("format_", "suffix"), [(None, ".gz"), ("gzip", ".gz"), ("zstd", ".zst")])
def test_compress_packs_sealed_segments_alone(path: Path, format_: str | None, suffix: str) -> None:
    """Each sealed segment is packed by the format asked for, the active file is not, and all events are still there."""
    before = call("events", "--json", "--journal", str(path)).out
    options = () if format_ is None else ("--format", format_)
    result = call("journal", "compress", *options, "--journal", str(path))
    assert (result.code, len(result.lines)) == (0, 3)
    assert result.lines[0].startswith("pattern_events-00000001.jsonl  2.3 KiB to ")
    assert "3 segments compressed" in result.err
    assert [segment.files for segment in sealed_segments(path)] == [
        (f"{path.parent}/pattern_events-0000000{number}.jsonl{suffix}",) for number in (1, 2, 3)
    ]
    assert path.exists()
    assert call("events", "--json", "--journal", str(path)).out == before
    assert call("journal", "compress", *options, "--journal", str(path)).err.startswith(
        "otel-patterns: 0 segments compressed"
    )


def test_compress_takes_the_format_of_the_setting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `--format` the setting says how; its default `none` is for writers, who never compress."""
    monkeypatch.setenv("OTEL_PATTERNS_COMPRESS", "zstd")
    assert call("journal", "compress", "--journal", str(path)).code == 0
    assert {Path(segment.path).suffix for segment in sealed_segments(path)} == {".zst"}


def test_events_of_rotated_journal_are_one_log(path: Path) -> None:
    """Commands read all segments as one journal, also right after a rotation, and a sealed one alone."""
    assert len(call("events", "--journal", str(path)).lines) == 4
    assert len(call("events", "--limit", "3", "--journal", str(path)).lines) == 3
    assert len(call("runs", "--journal", str(path)).lines) == 2
    assert len(call("events", "--journal", sealed_segments(path)[1].path).lines) == 1
    path.unlink()
    result = call("events", "--journal", str(path))
    assert (len(result.lines), result.err) == (3, "")


def test_check_of_whole_journal_finds_nothing(path: Path) -> None:
    """A journal that is as it should be is exit code 0."""
    result = call("journal", "check", "--journal", str(path))
    assert (result.code, result.out) == (0, "")
    assert "nothing is wrong" in result.err


def damage(path: Path) -> None:
    """Damage a journal in each way that a check knows."""
    [first, second, _] = (Path(segment.path) for segment in sealed_segments(path))
    first.write_bytes(first.read_bytes() + b"garbage\n" + b"\0" * 30 + b"\n")
    second.write_bytes(second.read_bytes()[:-200])
    Path(f"{first}.gz").write_bytes(gzip.compress(first.read_bytes()))
    with path.open("ab") as file:
        file.write(b'{"event')
    Path(f"{path}.state").write_text(json.dumps({"sealed": 3, "lost": 4, "failed_syncs": 2}))
    spool = path.parent / "spool"
    spool.mkdir()
    (spool / "pattern_events.host-1-2.jsonl").write_bytes(event_line(9))


def test_check_tells_everything_that_is_wrong(path: Path) -> None:
    """Each finding says what, where and why; exit code 1; `--json` is the same for programs."""
    damage(path)
    result = call("journal", "check", "--json", "--journal", str(path))
    findings = [json.loads(line) for line in result.lines]
    assert result.code == 1
    assert [finding["kind"] for finding in findings] == [
        "bad_line", "bad_line", "torn_tail", "torn_tail", "plain_and_compressed", "gap", "failed_sync", "spooled",
    ]  # fmt: skip
    assert findings[0]["offset"] == len(event_line(0, size=2000))
    assert findings[0]["path"] == str(sealed_segments(path)[0].path)
    assert "4 lines were lost" in findings[5]["reason"]
    shown = call("journal", "check", "--journal", str(path))
    assert (shown.code, len(shown.lines)) == (1, 8)
    assert shown.lines[0].startswith("bad line  pattern_events-00000001.jsonl at byte ")


def test_j5_check_quarantines_each_bad_line_once(path: Path) -> None:
    """Bad lines are copied with segment, offset and reason, and not again the next time; the journal is not touched."""
    damage(path)
    before = {file: file.read_bytes() for file in path.parent.glob("pattern_events*")}
    assert "4 lines copied to quarantine" in call("journal", "check", "--quarantine", "--journal", str(path)).err
    assert "0 lines copied to quarantine" in call("journal", "check", "--quarantine", "--journal", str(path)).err
    entries = [
        json.loads(line)
        for file in sorted((path.parent / "quarantine").glob("*.jsonl"))
        for line in file.read_bytes().splitlines()
    ]
    assert sorted(base64.b64decode(entry["data_base64"])[:7] for entry in entries) == sorted(
        [b"garbage", b"\0" * 7, event_line(1)[:7], b'{"event']
    )
    assert {entry["segment"] for entry in entries} == {
        identity_of(sealed_segments(path)[0]),
        "pattern_events-00000002.jsonl",
        segment_at(path),
    }
    assert {file: file.read_bytes() for file in path.parent.glob("pattern_events*")} == before


def test_repair_writes_what_can_be_read_beside_the_journal(path: Path) -> None:
    """The new journal has the distinct events in order; the old one is as it was, and nothing is overwritten."""
    damage(path)
    with path.open("ab") as file:
        file.write(b"\n" + event_line(0, size=2000))
    before = {file: file.read_bytes() for file in path.parent.glob("pattern_events*")}
    result = call("journal", "repair", "--journal", str(path))
    repaired = path.with_name("pattern_events.repaired.jsonl")
    assert (result.code, result.lines) == (0, [str(repaired)])
    assert repaired.read_bytes() == b"".join(event_line(number, size=2000) for number in (0, 2, 3))
    assert call("journal", "check", "--journal", str(repaired)).code == 0
    assert all(file.read_bytes() == data for file, data in before.items())
    again = call("journal", "repair", "--journal", str(path))
    assert again.code == 1
    assert "is there already" in again.err
    assert call("journal", "repair", "--output", str(path.parent / "other"), "--journal", str(path)).code == 0


def test_stats_count_events_runs_bytes_and_segments(path: Path) -> None:
    """The numbers of a journal, as a table and as JSON."""
    result = call("journal", "stats", "--json", "--journal", str(path))
    size = sum(file.stat().st_size for file in path.parent.glob("pattern_events*.jsonl"))
    assert json.loads(result.out) == {
        "events": 4, "runs": 1, "open_runs": 0, "bytes": size, "segments": 4, "compressed_segments": 0, "bad_lines": 0,
        "lost_lines": 0, "failed_syncs": 0,
    }  # fmt: skip
    shown = call("journal", "stats", "--journal", str(path))
    assert "segments             4" in shown.lines


def names_of(path: Path) -> list[int]:
    """Return the numbers of a journal's segments."""
    return [segment.number for segment in sealed_segments(path)]


def test_prune_by_age_deletes_old_segments_alone(path: Path) -> None:
    """A segment goes when its latest event is old enough, never the active file, and `--dry-run` deletes nothing."""
    for options in (("--older-than", "2h"), ("--keep-bytes", "1GB")):
        assert call("journal", "prune", *options, "--journal", str(path)).lines == []
    tried = call("journal", "prune", "--older-than", "30m", "--dry-run", "--journal", str(path))
    assert (len(tried.lines), names_of(path)) == (3, [1, 2, 3])
    pruned = call("journal", "prune", "--older-than", "30m", "--journal", str(path))
    assert (pruned.code, pruned.lines, names_of(path)) == (0, tried.lines, [])
    assert len(call("events", "--journal", str(path)).lines) == 1
    journal = Journal(path)
    journal.rotate(1)
    journal.append(event_line(9))
    assert names_of(path) == [4], "the number of a deleted segment is not given again"


def test_prune_by_size_deletes_the_oldest_until_the_rest_fits(path: Path) -> None:
    """What is kept is at most as large as asked for."""
    size = path.stat().st_size
    call("journal", "prune", "--keep-bytes", str(2 * size + 10), "--journal", str(path))
    assert names_of(path) == [3]


def test_prune_stops_at_the_first_segment_with_an_open_run(path: Path) -> None:
    """A run that has not ended holds its segment and all behind it."""
    second = Path(sealed_segments(path)[1].path)
    open_run = event_line(50, run_id="PRUN-OPEN", event_type="pattern.execution.started")
    second.write_bytes(second.read_bytes() + open_run)
    result = call("journal", "prune", "--older-than", "1s", "--journal", str(path))
    assert names_of(path) == [2, 3]
    assert "pattern_events-00000002.jsonl is kept: run PRUN-OPEN is open or owed" in result.err


def test_prune_keeps_what_a_destination_has_not_acknowledged(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is owed to the environment's receiver, or to one on record, is kept; a delivered one is not."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert "open or owed" in call("journal", "prune", "--older-than", "1s", "--journal", str(path)).err
    assert names_of(path) == [1, 2, 3]
    [trace] = traces_of(path, Selection())
    record = DeliveryRecord(path, Endpoint.from_environment().destination)
    record.settle([Parcel(trace.run_id, ())], Answer("acknowledged"))
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    call("journal", "prune", "--older-than", "1s", "--journal", str(path))
    assert names_of(path) == [1, 2, 3]
    record.settle([Parcel(trace.run_id, tuple(span.span_id for span in trace.spans))], Answer("acknowledged"))
    call("journal", "prune", "--older-than", "1s", "--journal", str(path))
    assert names_of(path) == []


def test_prune_without_a_limit_is_wrong_usage(path: Path) -> None:
    """Nothing is deleted unless it is said what."""
    assert call("journal", "prune", "--journal", str(path)).code == 2
    assert names_of(path) == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1500", 1500), ("500MB", 500_000_000), ("10 GB", 10**10), ("4GiB", 4 * 2**30)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    """Decimal and binary units."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "-1", "10gb", "1.5GB", "GB", "10 apples"])
def test_sizes_that_are_none_say_what_would_be(text: str) -> None:
    """What cannot be read is wrong usage."""
    with pytest.raises(ValueError, match="is no size"):
        parse_bytes(text)


def test_findings_that_were_taken_note_of_are_known_and_no_failure(path: Path) -> None:
    """Bad lines by their copies, losses by being acknowledged; what is new is a failure again."""
    first = Path(sealed_segments(path)[0].path)
    first.write_bytes(first.read_bytes() + b"garbage\n")
    state = Path(f"{path}.state")
    state.write_text(json.dumps({"sealed": 3, "lost": 4, "failed_syncs": 2}))
    assert call("journal", "check", "--quarantine", "--acknowledge", "--journal", str(path)).code == 1
    again = call("journal", "check", "--json", "--journal", str(path))
    assert again.code == 0
    assert [json.loads(line)["known"] for line in again.lines] == [True] * 3
    assert "3 findings, all known" in again.err
    shown = call("journal", "check", "--journal", str(path))
    assert all(line.endswith("(known)") for line in shown.lines)
    assert "4 lines were lost" in shown.out
    assert not [line for line in call("doctor", "--no-probe", "--journal", str(path)).lines if "lost line" in line]
    state.write_text(json.dumps({**json.loads(state.read_text()), "lost": 5}))
    worse = call("journal", "check", "--journal", str(path))
    assert worse.code == 1
    assert "1 lines were lost" in worse.out
    assert json.loads(call("journal", "stats", "--json", "--journal", str(path)).out)["lost_lines"] == 5


def test_repair_of_job_logs_adds_what_they_miss(path: Path) -> None:
    """Only to logs that are there; `--dry-run` tells what would be done."""
    log = path.parent / "jobs" / JOB_ID / "pattern_events.jsonl"
    log.parent.mkdir(parents=True)
    log.write_bytes(event_line(0, size=2000) + event_line(77))
    repair = ("journal", "repair", "--jobs", "--journal", str(path))
    dry = call(*repair, "--dry-run")
    assert dry.lines == [f"{JOB_ID}  3 lines to add; 1 event not in the journal, left as they are"]
    assert "3 lines to add in 1 job log" in dry.err
    assert "3 lines added in 1 job log" in call(*repair).err
    assert "0 lines added in 0 job logs" in call(*repair).err
    assert [path.name for path in log.parent.parent.iterdir()] == [JOB_ID]


def test_prune_deletes_the_artifacts_of_which_nothing_speaks_any_more(path: Path) -> None:
    """One that an event names which is left stays, and so does one whose event is still to be written."""
    names_of = {
        "old": "EVT-1-1-stdout.json",
        "both": "EVT-2-1-stdout.json",
        "copied": "EVT-2-2-stdout.json",
        "job": "EVT-2-3-stdout.json",
        "kept": "EVT-3-1-stdout.json",
    }
    artifacts = path.parent / "artifacts"
    artifacts.mkdir()
    for name in (*names_of.values(), "EVT-4-1-stdout.json"):
        (artifacts / name).write_text("{}")

    def naming(number: int, *which: str) -> bytes:
        parts = [{"path": f"artifacts/{names_of[each]}", "size": 2} for each in which]
        return event_line(number, details={"parts": parts}, event_type="pattern.execution.completed")

    first = Path(sealed_segments(path)[0].path)
    first.write_bytes(naming(1, "old", "both", "copied", "job"))
    path.with_name("pattern_events.repaired.jsonl").write_bytes(naming(1, "copied"))
    job_log = path.parent / "jobs" / JOB_ID / "pattern_events.jsonl"
    job_log.parent.mkdir(parents=True)
    job_log.write_bytes(naming(1, "job"))
    path.write_bytes(naming(5, "both", "kept"))
    for segment in sealed_segments(path)[1:]:
        Path(segment.path).write_bytes(naming(10 + segment.number))
    prune = ("journal", "prune", "--keep-bytes", "0", "--journal", str(path))
    call(*prune, "--dry-run")
    assert len(list(artifacts.iterdir())) == 6
    assert "3 segments deleted" in (err := call(*prune).err)
    assert ", and 1 artifact" in err
    assert sorted(file.name for file in artifacts.iterdir()) == [*sorted(names_of.values())[1:], "EVT-4-1-stdout.json"]

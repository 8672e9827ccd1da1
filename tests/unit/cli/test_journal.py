"""`otel-patterns journal` looks after the journal's files."""

from pathlib import Path

import pytest

from otel_patterns.journal.append import Journal
from otel_patterns.journal.segments import sealed_segments
from tests.unit.cli.support import call
from tests.unit.journal.lines import event_line


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

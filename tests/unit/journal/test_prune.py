"""Which segments may be deleted."""

import gzip
from pathlib import Path

import pytest

from otel_patterns.journal.append import Journal
from otel_patterns.journal.artifacts import files_beside, named_in
from otel_patterns.journal.prune import delete_segments, find_prunable
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.segments import sealed_segments
from otel_patterns.model import names
from otel_patterns.model.encoding import encode_line
from tests.documents import event_document


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return the path of a journal that does not exist yet."""
    return str(tmp_path / "pattern_events.jsonl")


def write(path: str, *runs: tuple[str, str]) -> None:
    """Write a file for each event, of which the run and the type are given; the last one is not sealed."""
    journal = Journal(path)
    journal.rotate(1)
    for number, (run_id, event_type) in enumerate(runs):
        journal.append(encode_line(event_document(event_type, event_id=f"EVT-{number}", pattern_run_id=run_id)))
    journal.close()


def prunable(path: str, *needed: str) -> tuple[int, str]:
    """Return how many segments may be deleted of those that are due, all, and the run that holds the next one."""
    found = find_prunable(path, set(needed), before=None, keep_bytes=0)
    return len(found.segments), found.run_id


def test_segments_of_runs_that_have_ended_may_be_deleted(path: str) -> None:
    """Up to the first one with an event of a needed run; the beginning of a run may go before its end."""
    write(path, ("PRUN-1", names.EXECUTION_STARTED), ("PRUN-1", names.EXECUTION_COMPLETED), *[("PRUN-2", "x.y.z")] * 2)
    assert prunable(path) == (3, "")
    assert prunable(path, "PRUN-2") == (2, "PRUN-2")
    assert prunable(path, "PRUN-1") == (0, "PRUN-1")


def test_segment_with_the_end_of_a_run_that_has_later_events_is_kept(path: str) -> None:
    """Without its end such a run would seem to go on: it would be sent as unfinished, and ended once more."""
    ends = [(run_id, names.EXECUTION_COMPLETED) for run_id in ("PRUN-0", "PRUN-1", "PRUN-2")]
    write(path, *ends, ("PRUN-1", names.VALIDATION_STARTED))
    assert prunable(path) == (1, "PRUN-1")
    Path(sealed_segments(path)[0].path).unlink()
    assert read_runs(path)["PRUN-1"].status == "success"


def test_segments_are_held_back_one_by_the_other(path: str) -> None:
    """What is held back is left, so a run that ends before it and goes on in it holds its own end back as well."""
    write(
        path,
        ("PRUN-1", names.EXECUTION_COMPLETED),
        ("PRUN-2", names.EXECUTION_COMPLETED),
        ("PRUN-1", names.VALIDATION_STARTED),
        ("PRUN-2", names.VALIDATION_STARTED),
    )
    assert prunable(path)[0] == 0


def test_artifacts_stay_where_a_file_cannot_be_read_whole(path: str, tmp_path: Path) -> None:
    """What was lost of it may have spoken of them."""
    artifact = tmp_path / "artifacts" / "EVT-1-1-out.json"
    artifact.parent.mkdir()
    artifact.write_text("{}")
    write(path, ("PRUN-1", names.EXECUTION_COMPLETED), ("PRUN-2", "x.y.z"))
    [segment] = sealed_segments(path)
    line = event_document(event_id="EVT-1", details={"out": {"path": "artifacts/EVT-1-1-out.json"}})
    Path(segment.path).write_bytes(encode_line(line))
    packed = tmp_path / "other.jsonl.gz"
    packed.write_bytes(gzip.compress(encode_line(event_document()))[:-10])
    assert named_in(files_beside(str(tmp_path))) is None
    assert delete_segments(path, [segment]) == 0
    assert artifact.exists()

"""The delivery record, read and rewritten many lines at a time."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.journal import lines
from otel_patterns.tracing import delivered
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import Checkpoint, DeliveryRecord, Settled
from otel_patterns.tracing.parcels import Parcel

RUNS = ("PRUN-A", "PRUN-B", "PRUN-C")
PARCELS = st.builds(
    Parcel,
    st.sampled_from(RUNS),
    st.lists(st.sampled_from(("01", "02", "03")), min_size=1, max_size=3, unique=True).map(tuple),
    completes=st.booleans(),
)
ANSWERS = st.sampled_from((Answer("acknowledged"), Answer("refused", "no"), Answer("rejected", "not this")))
# What a torn write, a damaged disk or a hand may leave there.
DAMAGE = st.sampled_from((b"", b"   ", b"{", b"\xff\x00", b'{"pattern_run_id":"PRUN-A","whole":true', b"[1]", b"null"))
Step = bytes | tuple[Parcel, Answer]
STEPS: st.SearchStrategy[list[Step]] = st.lists(st.one_of(st.tuples(PARCELS, ANSWERS), DAMAGE))


def written(record: DeliveryRecord, steps: list[Step]) -> Settled:
    """Write a record step by step, and return what was noted meanwhile."""
    noted = Settled()
    Path(record.path).parent.mkdir()
    for step in steps:
        if isinstance(step, bytes):
            with Path(record.path).open("ab") as file:
                file.write(step + b"\n")
        else:
            parcel, answer = step
            record.settle([parcel], answer)
            noted.add([parcel], answer)
    return noted


@settings(max_examples=500)
@given(steps=STEPS, block_bytes=st.sampled_from((64, 200, 128 * 1024)))
def test_record_says_what_was_noted_however_it_is_cut_into_blocks(steps: list[Step], block_bytes: int) -> None:
    """Lines that all say the same kind of thing are taken at once, which must make no difference."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lines, "_CHUNK_BYTES", block_bytes)
        record = DeliveryRecord(Path(folder) / "j.jsonl", "http://c:4318/v1/traces")
        noted = written(record, steps)
        assert record.load() == noted
        record.close()


@settings(max_examples=500)
@given(steps=STEPS, passed=st.sets(st.sampled_from(RUNS)), block_bytes=st.sampled_from((64, 200, 128 * 1024)))
def test_what_is_dropped_is_what_was_passed_and_not_parked(
    steps: list[Step], passed: set[str], block_bytes: int
) -> None:
    """Whatever else stands in the record stays there byte for byte, in its order, damaged lines too."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lines, "_CHUNK_BYTES", block_bytes)
        monkeypatch.setattr(delivered, "_RUNS_WORTH_DROPPING", 1)
        record = DeliveryRecord(Path(folder) / "j.jsonl", "http://c:4318/v1/traces")
        written(record, steps)
        path = Path(record.path)
        before = path.read_bytes().split(b"\n") if path.exists() else []
        record.save_checkpoint(Checkpoint(), passed)
        after = path.read_bytes().split(b"\n") if path.exists() else []
        assert list(filter(None, after)) == [
            line for line in before if line and not (passed and is_dropped(line, passed))
        ]
        record.close()


def is_dropped(line: bytes, passed: set[str]) -> bool:
    """Tell slowly whether a line says nothing but that spans of a run that was passed are acknowledged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry["pattern_run_id"] in passed and "parked" not in entry

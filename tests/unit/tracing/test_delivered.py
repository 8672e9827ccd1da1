"""The delivery record."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.delivered import DeliveryRecord, Settled
from otel_patterns.tracing.parcels import Parcel

ONE = Parcel("PRUN-1", ("0b", "0a"))


@pytest.fixture
def record(tmp_path: Path) -> DeliveryRecord:
    """Return an empty record."""
    return DeliveryRecord(tmp_path / "j.jsonl", "http://c:4318/v1/traces")


def lines(record: DeliveryRecord) -> list[object]:
    """Return what stands in the file."""
    return [json.loads(line) for line in Path(record.path).read_text(encoding="utf-8").splitlines()]


def test_acknowledged_spans_are_one_line_per_run(record: DeliveryRecord) -> None:
    """Parcels of one run share a line, and an acknowledgement has no words."""
    record.settle([ONE, Parcel("PRUN-2", ("0c",)), Parcel("PRUN-1", ("0d",))], Answer("acknowledged", "by the way"))
    assert lines(record) == [
        {"pattern_run_id": "PRUN-1", "span_ids": ["0a", "0b", "0d"]},
        {"pattern_run_id": "PRUN-2", "span_ids": ["0c"]},
    ]
    assert record.load().acknowledged == {"PRUN-1": {"0a", "0b", "0d"}, "PRUN-2": {"0c"}}


@pytest.mark.parametrize("kind", ["refused", "too_large", "rejected"])
def test_parked_spans_have_the_reason_and_the_words_and_no_time(record: DeliveryRecord, kind: str) -> None:
    """Whoever reads the file sees why; parking twice is the same line."""
    for _ in range(2):
        record.settle([ONE], Answer(kind, "HTTP 400: bad “span”"))  # pyright: ignore[reportArgumentType]
    line = {"pattern_run_id": "PRUN-1", "span_ids": ["0a", "0b"], "parked": kind, "reason": "HTTP 400: bad “span”"}
    assert lines(record) == [line, line]
    settled = record.load()
    assert settled.acknowledged == {}
    assert settled.parked == {"PRUN-1": dict.fromkeys(("0a", "0b"), f"{kind}: HTTP 400: bad “span”")}


@pytest.mark.parametrize("order", [1, -1])
def test_acknowledged_span_is_not_parked_whatever_came_first(record: DeliveryRecord, order: int) -> None:
    """A parked span that was sent again and taken is delivered, and stays so."""
    answers = [([ONE], Answer("refused", "no")), ([Parcel("PRUN-1", ("0a",))], Answer("acknowledged"))][::order]
    for parcels, answer in answers:
        record.settle(parcels, answer)
    settled = record.load()
    assert settled.acknowledged == {"PRUN-1": {"0a"}}
    assert settled.parked == {"PRUN-1": {"0b": "refused: no"}}


def test_record_of_an_older_version_and_damaged_lines_are_read(record: DeliveryRecord) -> None:
    """Old lines have two keys; a damaged line costs only itself."""
    path = Path(record.path)
    path.parent.mkdir()
    path.write_text(
        '{"pattern_run_id":"PRUN-1","span_ids":["0a"]}\n{"pattern_run_id":"PRUN-1","sp\n[]\n'
        '{"pattern_run_id":"PRUN-2","span_ids":["0b"],"parked":"refused"}\n'
    )
    settled = record.load()
    assert settled.acknowledged == {"PRUN-1": {"0a"}}
    assert settled.parked == {"PRUN-2": {"0b": "refused: no reason was given"}}


def test_record_that_is_not_there_is_empty(record: DeliveryRecord) -> None:
    """Everything is owed."""
    assert (record.load().acknowledged, record.load().parked) == ({}, {})


WHOLE = Parcel("PRUN-1", ("0c",), completes=True)


def test_run_that_is_settled_whole_says_so_in_its_line(record: DeliveryRecord) -> None:
    """From then on all of its spans are settled, and the record need not be asked for each."""
    for parcel in (ONE, WHOLE):
        record.settle([parcel], Answer("acknowledged"))
    assert lines(record)[1] == {"pattern_run_id": "PRUN-1", "span_ids": ["0c"], "whole": True}
    settled = record.load()
    assert (settled.whole, settled.acknowledged) == ({"PRUN-1"}, {})
    assert settled.has("PRUN-1", ["0a", "0f"])


def test_run_whose_last_spans_are_parked_is_not_whole(record: DeliveryRecord) -> None:
    """They may still be wanted by another receiver's next version."""
    record.settle([WHOLE], Answer("refused", "no"))
    assert record.load().whole == set()


STEPS = {
    "one": ([ONE], Answer("acknowledged")),
    "one parked": ([ONE], Answer("refused", "no")),
    "last": ([WHOLE], Answer("acknowledged")),
    "last parked": ([WHOLE], Answer("too_large", "no")),
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
def test_what_is_settled_is_the_same_as_noted_and_as_read(record: DeliveryRecord, order: tuple[str, ...]) -> None:
    """In any order; a span that was taken is never parked."""
    noted = Settled()
    for name in order:
        record.settle(*STEPS[name])
        noted.add(*STEPS[name])
    assert record.load() == noted == Settled(whole={"PRUN-1"})


def test_spans_parked_before_their_run_is_whole_stay_parked(record: DeliveryRecord) -> None:
    """They are settled, and listed."""
    for name in ("one parked", "last"):
        record.settle(*STEPS[name])
    settled = record.load()
    assert settled.whole == {"PRUN-1"}
    assert settled.parked == {"PRUN-1": dict.fromkeys(("0a", "0b"), "refused: no")}

"""Every reader on damaged journals: those of `tests/data/damaged`, and mutations of them without number.

`OTEL_PATTERNS_SEED=… OTEL_PATTERNS_ROUND=…` repeats a round that failed.
"""

from __future__ import annotations

import gzip
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from otel_patterns.errors import JournalError
from otel_patterns.journal import read as read_module
from otel_patterns.journal.check import BAD_LINE, TORN_TAIL, check
from otel_patterns.journal.cursor import BEGINNING, Cursor, segment_of_file
from otel_patterns.journal.follow import follow_lines
from otel_patterns.journal.heads import decode_block, decode_records, parse_document, parse_record
from otel_patterns.journal.lines import Line, ReadReport, lines_of, open_to_read, read_blocks
from otel_patterns.journal.parse import parse_slowly
from otel_patterns.journal.read import Filter, read_documents, read_heads, read_last, read_raw
from otel_patterns.journal.runs import read_runs
from otel_patterns.journal.segments import look, open_segment
from otel_patterns.journal.tail import RunTail
from otel_patterns.model import names
from otel_patterns.testing import FakeClock
from tests.faults.programs import run
from tests.faults.storm import ROUND, SEED, STORM

DAMAGED = Path(__file__).parents[1] / "data" / "damaged"
LINES = 20_000 if STORM == 1 else 100_000 * STORM
# Of every file of the corpus: events, bad lines, bytes of an unfinished last line.
EXPECTED = {
    "blank_lines.jsonl": (3, 0, 0),
    "byte_order_mark.jsonl": (3, 1, 0),
    "carriage_returns.jsonl": (5, 0, 0),
    "copies.jsonl": (13, 0, 0),
    "deep_nesting.jsonl": (3, 4, 0),
    "duplicate_keys.jsonl": (4, 1, 0),
    "escapes.jsonl": (6, 2, 0),
    "glued_lines.jsonl": (2, 2, 0),
    "invalid_utf8.jsonl": (3, 3, 0),
    "nul_run.jsonl": (3, 2, 64),
    "odd_numbers.jsonl": (9, 5, 0),
    "other_objects.jsonl": (4, 13, 0),
    "packed_flipped.jsonl.gz": (12, 1, 0),
    "packed_nothing.jsonl.gz": (0, 1, 0),
    "packed_oversize_line.jsonl.gz": (3, 2, 0),
    "packed_truncated.jsonl.gz": (7, 2, 0),
    "packed_truncated.jsonl.zst": (0, 1, 0),
    "packed_without_end.jsonl.gz": (12, 1, 0),
    "packed_without_end.jsonl.zst": (12, 1, 0),
    "sound.jsonl": (13, 0, 0),
    "torn_inside.jsonl": (2, 1, 0),
    "torn_tail.jsonl": (3, 0, 401),
}
MANY = 1_000_000
Found = list[tuple[int, dict[str, Any]]]


class Expected(NamedTuple):
    """What the slow parser says of each line: the events with their offsets, and how many lines are none."""

    events: Found
    lines: list[Line]
    bad: int


def expected_of(path: Path) -> Expected:
    """Return what a journal of one file holds, by the slow parser alone."""
    report = ReadReport()
    events: Found = []
    lines: list[Line] = []
    bad = 0
    sealed, active = look(path)
    file = active or open_segment(sealed[0])
    assert file is not None
    with file:
        for offset, block in read_blocks(file, report=report):
            for line in lines_of(offset, block):
                if line.data.isspace():
                    continue
                try:
                    events.append((line.offset, parse_slowly(line)))
                    lines.append(line)
                except ValueError:
                    bad += 1
    return Expected(events, lines, bad + report.skipped)


def check_readers(path: Path) -> Expected:
    """Check that every reader finds in a journal what the slow parser does, and that none raises; return that."""
    expected = expected_of(path)
    texts = [(offset, repr(document)) for offset, document in expected.events]
    report = ReadReport()
    found = [(line.offset, repr(document)) for line, document in read_documents(path, report=report)]
    assert found == texts, "read_documents"
    is_packed = path.suffix != ".jsonl"
    # A damaged compression is one more bad thing, and so is the unfinished last line of a sealed segment.
    assert report.skipped == expected.bad or (is_packed and report.skipped <= expected.bad + 2)
    assert [(line.offset, repr(document)) for line, document in read_last(path, Filter(), MANY)] == texts, "read_last"
    raw = b"".join(line.json + b"\n" for line in expected.lines)
    assert b"".join(read_raw(path, Filter())) == raw, "read_raw"
    wanted = Counter((document["pattern_run_id"], document["event_id"]) for _, document in expected.events)
    runs = read_runs(path)
    assert {(key, event_id) for key, run in runs.items() for event_id in run.events} == set(wanted), "read_runs"
    for journal_run in runs.values():
        assert journal_run.run.status in names.RUN_STATUSES
    if not is_packed:
        _check_quick_ways(path, expected)
        _check_tail(path, expected)
        _check_check(path, report)
        _check_follow(path, expected)
    return expected


def _check_quick_ways(path: Path, expected: Expected) -> None:
    by_offset = dict(expected.events)
    file = open_to_read(path)
    assert file is not None
    with file:
        heads = [head.event_id for block in read_heads(file) for head in block.heads]
        assert heads == [document["event_id"] for _, document in expected.events], "read_heads"
        for offset, data in read_blocks(file):
            for line in lines_of(offset, data):
                event = by_offset.get(line.offset)
                for parse in (parse_document, parse_record):
                    try:
                        parsed = parse(line)
                    except ValueError:  # noqa: PERF203  # the verdict on each line is what is tested
                        assert event is None, parse.__name__
                    else:
                        assert event is not None, parse.__name__
                        values = (
                            parsed
                            if isinstance(parsed, dict)
                            else {key: getattr(parsed, key) for key in names.EVENT_KEYS}
                        )
                        assert all(repr(values[key]) == repr(event[key]) for key in names.EVENT_KEYS), parse.__name__
            events = [document for at, document in expected.events if offset <= at < offset + len(data)]
            if (block := decode_block(offset, data)) is not None:
                assert [head.event_id for head in block.heads] == [event["event_id"] for event in events], (
                    "decode_block"
                )
            if (records := decode_records(data)) is not None:
                assert [repr(record.details) for record in records] == [repr(event["details"]) for event in events]


def _check_tail(path: Path, expected: Expected) -> None:
    distinct: dict[str, dict[str, str]] = {}
    ends: dict[str, Line] = {}
    for (_, document), line in zip(expected.events, expected.lines, strict=True):
        distinct.setdefault(document["pattern_run_id"], {}).setdefault(document["event_id"], repr(document["details"]))
        ends[document["pattern_run_id"]] = line
    with path.open("rb") as file:
        segment = segment_of_file(file)
    tail = RunTail(str(path), clock=FakeClock())
    try:
        for run_id, events in distinct.items():
            line = ends[run_id]
            records = tail.events(run_id, Cursor(segment, line.offset), Cursor(segment, line.end), made_here=False)
            assert {record.event_id: repr(record.details) for record in records} == events, "RunTail"
            assert [record.event_id for record in records] == list(events)
    finally:
        tail.close()


def _check_check(path: Path, report: ReadReport) -> None:
    kinds = Counter(finding.kind for finding in check(str(path)))
    assert kinds[BAD_LINE] == report.skipped
    assert kinds[TORN_TAIL] == bool(report.unfinished_bytes)


def _check_follow(path: Path, expected: Expected) -> None:
    lines = follow_lines(path, start=BEGINNING)
    offsets = [next(lines).offset for _ in expected.lines[:1]]
    lines.close()
    assert not offsets or offsets[0] <= expected.lines[0].offset


def files() -> list[Path]:
    """Return the files of the corpus."""
    return sorted(DAMAGED.iterdir())


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_j5_damaged_file_costs_its_damaged_lines_alone(path: Path, tmp_path: Path) -> None:
    """Of every file of the corpus each reader finds the same events, and the report counts what was skipped."""
    copy = tmp_path / f"pattern_events{''.join(path.suffixes)}"
    copy.write_bytes(path.read_bytes())
    check_readers(copy)
    report = ReadReport()
    events = sum(1 for _ in read_documents(copy, report=report))
    assert (events, report.skipped, report.unfinished_bytes) == EXPECTED[path.name]


class Mutator:
    """Makes a journal of lines of the corpus, most of them damaged somehow."""

    def __init__(self, chance: random.Random, corpus: list[bytes]) -> None:
        self._chance = chance
        self._corpus = corpus

    def journal(self) -> bytes:
        """Return the bytes of a journal."""
        chance = self._chance
        lines = [self._line() for _ in range(chance.randrange(1, 60))]
        data = b"".join(line + chance.choices([b"\n", b"", b"\r\n", b"\n\n"], [60, 1, 1, 1])[0] for line in lines)
        for _ in range(chance.choice([0, 0, 1, 2])):
            start = chance.randrange(len(data) + 1)
            size = chance.choice([1, 40, 512, 4096])
            data = chance.choice(
                [
                    data[:start],
                    data[:start] + b"\0" * size + data[start + size :],
                    data[:start] + data[start + size :],
                    data[:start] + chance.randbytes(size) + data[start + size :],
                    b"\xef\xbb\xbf" + data,
                ]
            )
        return data

    def _line(self) -> bytes:
        chance = self._chance
        line = bytearray(chance.choice(self._corpus))
        for _ in range(chance.choice([0, 0, 1, 1, 2, 4])):
            start = chance.randrange(len(line) + 1)
            end = start + chance.choice([0, 0, 1, 1, 2, 8, 60])
            kind = chance.randrange(5)
            if kind == 0 and start < len(line):
                line[start] ^= 1 << chance.randrange(8)
            elif kind == 1:
                other = chance.choice(self._corpus)
                at = chance.randrange(len(other) + 1)
                line[start:end] = other[at : at + chance.choice([1, 4, 16, 64])]
            elif kind == 2:
                line[start:end] = b""
            elif kind == 3:
                line[start:end] = chance.choice(PIECES)
            else:
                line[start:end] = line[start : end + 5] * 2
        return bytes(line)


PIECES = (
    *(b"\\", b"\\u0041", b"\\ud800", b'"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\r", b"\0", b"-", b"1", b"e"),
    *(b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b'"details":{},', b'"job_id":5,', b'"job_id":"JOB-2",', b"null", b"NaN"),
    *(
        b'"pattern_run_id":"PRUN-1",',
        b'"event_id":"EVT-1",',
        b'"step_id":"STEP-1",',
        b"1e999",
        b"9" * 4400,
        b"[" * 1100,
    ),
    *(b'"time_unix_nano":1,', b"\xe2\x80\xa8", b"\x0b", b"\x1f", b"\x7f"),
)


def rounds() -> Iterator[int]:
    """Yield the numbers of rounds."""
    number = 0 if ROUND is None else ROUND
    while True:
        yield number
        number += 1


def test_j22_mutated_journals_are_read_alike_by_every_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is in a file no reader raises, quick and slow ones find the same events, and nothing is left out."""
    corpus = [line for path in files() if path.suffix == ".jsonl" for line in path.read_bytes().split(b"\n")]
    small = [line for line in corpus if len(line) < 1500]
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for number in rounds():
        if counts["lines"] >= LINES or (ROUND is not None and number > ROUND):
            break
        chance = random.Random(f"{SEED}/{number}")
        data = Mutator(chance, corpus if number % 20 == 0 else small).journal()
        # Read as a large one is, too.
        monkeypatch.setattr(read_module, "_MANY_BYTES", chance.choice([1, MANY]))
        path = tmp_path / "pattern_events.jsonl"
        path.write_bytes(data)
        try:
            expected = check_readers(path)
            if number % 10 == 0:
                _check_packed(path, data, chance)
                counts["packed"] += 1
        except Exception as error:
            raise AssertionError(f"OTEL_PATTERNS_SEED={SEED} OTEL_PATTERNS_ROUND={number}") from error
        counts["journals"] += 1
        counts["lines"] += data.count(b"\n")
        counts["events"] += len(expected.events)
        counts["bad"] += expected.bad
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{counts['lines']} mutated lines in {seconds:.0f} s, seed {SEED}: {dict(counts)}")
    # The fault happened, and not to everything.
    assert ROUND is not None or min(counts["events"], counts["bad"]) > counts["lines"] // 5


def _check_packed(path: Path, data: bytes, chance: random.Random) -> None:
    """Damage a compressed segment."""
    packed = bytearray(gzip.compress(data, 1))
    for _ in range(chance.choice([0, 1, 1, 3])):
        packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
    sealed = path.with_name("pattern_events-00000001.jsonl.gz")
    sealed.write_bytes(packed[: chance.choice([None, None, chance.randrange(len(packed))])])
    try:
        check_readers(sealed)
        list(read_documents(path))
        list(check(str(path)))
    except JournalError as error:
        raise AssertionError("a damaged segment must not keep the others from being read") from error
    finally:
        sealed.unlink()


def test_j22_readers_of_monstrous_files_stay_small(tmp_path: Path) -> None:
    """A file of 100 MB without a newline, lines of 1 MiB of brackets, a bomb of zeros: each reader in flat memory."""
    told = run("read_monsters_by_every_reader", tmp_path / "pattern_events.jsonl")
    assert told["events"] == dict.fromkeys(told["events"], 3)
    assert len(told["events"]) == 6
    assert max(told["grown_mib"].values()) < 80, told

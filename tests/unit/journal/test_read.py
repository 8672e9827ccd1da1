"""Reading: whatever bytes a file holds, its good lines are read, in flat memory, and the rest is reported."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.errors import JournalError
from otel_patterns.journal import lines as lines_module
from otel_patterns.journal.heads import parse_document
from otel_patterns.journal.lines import Line, ReadReport, open_to_read, read_lines, read_lines_backward
from otel_patterns.journal.read import Filter, read_documents, read_events, read_last
from otel_patterns.model import names
from otel_patterns.model.names import MAX_LINE_BYTES
from otel_patterns.model.times import parse_timestamp
from tests.documents import event_document
from tests.unit.journal.lines import event_ids, event_line


@pytest.fixture
def peak_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the largest number of bytes Python held since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def read_all(path: Path) -> tuple[list[int], list[tuple[int, int, str]], ReadReport]:
    """Return the numbers of the events read, what was skipped, and the report."""
    report = ReadReport()
    numbers = [document["details"]["number"] for _, document in read_documents(path, report=report)]
    return numbers, [(bad.offset, bad.length, bad.reason) for bad in report.bad_lines], report


# What stands between two good lines, and why it is skipped; None: it is no line at all, or a good one.
DAMAGE: dict[str, tuple[bytes, str | None]] = {
    "NUL bytes": (b"\0" * 5000 + b"\n", "not JSON"),
    "NUL bytes before an event": (b"\0" * 10 + event_line(5), "not JSON"),
    "UTF-16": (event_line(5)[:-1].decode().encode("utf-16-le").replace(b"\n", b"") + b"\n", "not JSON"),
    "invalid UTF-8": (event_line(5).replace(b'"text":"', b'"text":"\xff'), "not UTF-8: invalid start byte at byte"),
    "half an event": (event_line(5)[:100] + b"\n", "not JSON"),
    "two events glued": (event_line(5)[:-1] + event_line(6), "not JSON"),
    "BOM in the middle": (b"\xef\xbb\xbf" + event_line(5), "not JSON"),
    "array": (b"[1]\n", "no event: document is [1]"),
    "number": (b"5\n", "no event"),
    "null": (b"null\n", "no event"),
    "other object": (b"{}\n", "no event: event_id is missing"),
    "a number of 5,000 digits": (event_line(5).replace(b'"text":""', b'"text":' + b"9" * 5000), "not JSON"),
    "10,000 levels": (event_line(5).replace(b'""', b"[" * 10_000 + b"]" * 10_000), "nested too deeply"),
    "10,000 levels, unclosed": (b"[" * 10_000 + b"\n", "nested too deeply"),
    "missing key": (event_line(5).replace(b"job_id", b"jobid"), "no event: job_id is missing"),
    "wrong id": (event_line(5).replace(b"JOB-", b"XYZ-"), "no event: job_id is"),
    "no time": (event_line(5, timestamp="yesterday"), "no event: timestamp is"),
    "lone surrogate in an id": (event_line(5).replace(b"JOB-", b"JOB-\\ud800"), "no event: job_id is"),
    "details that are none": (event_line(5, details=[]), "no event: details is"),
    "blank line": (b"\n\n", None),
    "spaces": (b"  \t \n", None),
    "lone carriage return": (b"\r\n", None),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_read_damaged_line_is_skipped_and_reported(path: Path, kind: str) -> None:
    """A line that is no event is skipped with its offset, length and reason; all others are read."""
    damage, reason = DAMAGE[kind]
    path.write_bytes(event_line(1) + damage + event_line(2))
    numbers, skipped, report = read_all(path)
    assert numbers == [1, 2]
    if reason is None:
        assert skipped == []
    else:
        assert [(offset, length) for offset, length, _ in skipped] == [(len(event_line(1)), len(damage) - 1)]
        assert skipped[0][2].startswith(reason)
    assert (report.events, report.skipped) == (2, len(skipped))
    assert report.end == path.stat().st_size


# What may stand in a line that is an event all the same.
TOLERATED: dict[str, bytes] = {
    "CRLF": event_line(5).replace(b"\n", b"\r\n"),
    "spaces around": b"  " + event_line(5)[:-1] + b"  \n",
    "lone carriage return between": event_line(5).replace(b'"details":', b'\r"details":'),
    "NaN": event_line(5).replace(b'"text":""', b'"text":NaN'),
    "infinity by exponent": event_line(5).replace(b'"text":""', b'"text":1e999'),
    "lone surrogate": event_line(5).replace(b'"text":""', b'"text":"\\udc80"'),
    "U+2028 and U+0085": event_line(5).replace(b'"text":""', '"text":"a\u2028b\u2029c\x85d"'.encode()),
    "duplicate key": event_line(5).replace(b'"number":5', b'"number":4,"number":5'),
    "no step_id": event_line(5).replace(b',"step_id":null', b""),
    "900 levels": event_line(5).replace(b'""', b"[" * 500 + b"]" * 500),
}


@pytest.mark.parametrize("kind", TOLERATED)
def test_read_odd_line_is_read(path: Path, kind: str) -> None:
    """What other writers do, and JSON or Python permits, is read; the line is handed on as it stands."""
    path.write_bytes(event_line(1) + TOLERATED[kind] + event_line(2))
    found = list(read_documents(path))
    assert [document["details"]["number"] for _, document in found] == [1, 5, 2]
    assert [line.data + b"\n" for line, _ in found] == [event_line(1), TOLERATED[kind], event_line(2)]
    assert found[1][1]["step_id"] is None
    assert [event.event_id for event in read_events(path)] == event_ids(path)


def test_read_text_with_line_separators_is_not_split(path: Path) -> None:
    """Lines end at a newline byte alone; U+2028, U+2029 and U+0085 are text."""
    path.write_bytes(TOLERATED["U+2028 and U+0085"])
    assert [document["details"]["text"] for _, document in read_documents(path)] == ["a\u2028b\u2029c\x85d"]


def test_read_nan_becomes_text(path: Path) -> None:
    """NaN and infinities, which are no JSON, are read as the text our own writer would have written."""
    path.write_bytes(event_line(5).replace(b'"text":""', b'"text":[NaN,Infinity,-Infinity]'))
    assert [document["details"]["text"] for _, document in read_documents(path)] == [["NaN", "Infinity", "-Infinity"]]


def test_read_byte_order_mark_at_start_is_dropped(path: Path) -> None:
    """A byte order mark is tolerated where an editor puts it: at the start of the file."""
    path.write_bytes(b"\xef\xbb\xbf" + event_line(1) + event_line(2))
    assert read_all(path)[:2] == ([1, 2], [])


def test_read_unfinished_tail_is_no_error(path: Path) -> None:
    """A line without its newline is being written: it is neither read nor skipped, and its size is told."""
    path.write_bytes(event_line(1) + event_line(2)[:-1])
    numbers, skipped, report = read_all(path)
    assert (numbers, skipped) == ([1], [])
    assert report.unfinished_bytes == len(event_line(2)) - 1
    assert report.end == len(event_line(1))


def test_read_unknown_type_and_keys_are_kept(path: Path) -> None:
    """Events of newer or foreign writers are read with everything they hold."""
    line = event_line(1, event_type="pattern.review.requested", team="blue", trace={"x": [1]})
    path.write_bytes(line)
    [(_, document)] = read_documents(path)
    assert document == json.loads(line)
    [event] = read_events(path)
    assert event.event_type == "pattern.review.requested"
    assert event.model_extra == {"team": "blue", "trace": {"x": [1]}}


def test_read_missing_file_is_empty_journal(path: Path) -> None:
    """Before the first event there is no file, and no error."""
    assert list(read_documents(path)) == []
    assert read_last(path, Filter(), 5) == []
    assert list(read_events(path)) == []


@pytest.mark.timeout(10)
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_read_what_is_no_file_raises_journal_error(path: Path, make: Callable[[Path], None]) -> None:
    """A directory or FIFO at the path is an error that names it, never a wait, and leaves no descriptor."""
    make(path)
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(JournalError, match="is no regular file") as caught:
        list(read_documents(path))
    assert caught.value.path == str(path)
    with pytest.raises(JournalError):
        read_last(path, Filter(), 1)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_read_below_a_file_raises_journal_error(path: Path) -> None:
    """What the operating system says is told as the project's own error."""
    path.write_bytes(b"")
    with pytest.raises(JournalError, match="Not a directory"):
        list(read_documents(path / "pattern_events.jsonl"))


def test_read_lines_from_and_up_to_byte_yields_lines_between(path: Path) -> None:
    """`start` and `end` at the beginnings of lines enclose exactly the lines between them."""
    lines = [event_line(number, size=number) for number in range(6)]
    path.write_bytes(b"".join(lines))
    offsets = [sum(map(len, lines[:index])) for index in range(7)]
    with path.open("rb") as file:
        for first in range(7):
            for last in range(first, 7):
                found = [line.data + b"\n" for line in read_lines(file, offsets[first], offsets[last])]
                assert found == lines[first:last]


def test_read_oversized_line_is_skipped_at_the_limit(path: Path) -> None:
    """A line of exactly 1 MiB is read, one byte more is skipped; what follows is read either way."""
    room = MAX_LINE_BYTES + 1 - len(event_line(2))
    fits, too_long = event_line(2, size=room), event_line(3, size=room + 1)
    assert (len(fits), len(too_long)) == (MAX_LINE_BYTES + 1, MAX_LINE_BYTES + 2)
    path.write_bytes(event_line(1) + fits + too_long + event_line(4))
    numbers, skipped, _ = read_all(path)
    assert numbers == [1, 2, 4]
    assert skipped == [(len(event_line(1) + fits), MAX_LINE_BYTES + 1, f"longer than {MAX_LINE_BYTES} bytes")]
    assert [document["details"]["number"] for _, document in read_last(path, Filter(), 9)] == [1, 2, 4]


def test_read_line_of_64_megabytes_stays_flat(path: Path, peak_memory: Callable[[], int]) -> None:
    """A line of any length is skipped in a few megabytes of memory, forwards and backwards."""
    with path.open("wb") as file:
        file.write(event_line(1))
        for _ in range(64):
            file.write(b"x" * 1024 * 1024)
        file.write(b"\n" + event_line(2))
    numbers, skipped, _ = read_all(path)
    assert numbers == [1, 2]
    assert [(offset, length) for offset, length, _ in skipped] == [(len(event_line(1)), 64 * 1024 * 1024)]
    assert [document["details"]["number"] for _, document in read_last(path, Filter(), 2)] == [1, 2]
    assert peak_memory() < 8 * 1024 * 1024


def test_read_file_of_64_megabytes_stays_flat(path: Path, peak_memory: Callable[[], int]) -> None:
    """Lines are streamed: a journal of any size is read in a few megabytes of memory, forwards and backwards."""
    block = b"".join(event_line(number, size=10_000) for number in range(100))
    with path.open("wb") as file:
        for _ in range(64):
            file.write(block)
    with path.open("rb") as file:
        assert sum(1 for _ in read_lines(file)) == 6400
        assert sum(1 for _ in read_lines_backward(file, path.stat().st_size)) == 6400
    assert peak_memory() < 8 * 1024 * 1024


def test_read_report_lists_a_hundred_and_counts_all(path: Path) -> None:
    """A log that is nothing but damage fills no memory: the first hundred bad lines are listed, all are counted."""
    path.write_bytes(b"damage\n" * 1000)
    report = ReadReport()
    assert list(read_documents(path, report=report)) == []
    assert report.skipped == 1000
    assert [bad.offset for bad in report.bad_lines] == [number * 7 for number in range(100)]


def test_read_backward_of_file_cut_meanwhile_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file is cut while it is read backwards, two halves of different lines are not put together."""
    monkeypatch.setattr(lines_module, "_CHUNK_BYTES", 8)
    file = io.BytesIO(b"aaaaaaaaaaaa\nbbbb\nccc\n")
    lines = read_lines_backward(file, 22)
    assert next(lines).data == b"ccc"
    file.truncate(2)
    assert [line.data for line in lines] in ([], [b"bbbb"])


def test_read_last_returns_end_of_read_documents(path: Path) -> None:
    """The last N read backwards are the last N of reading forwards, with the same filter."""
    kinds = [names.EXECUTION_STARTED, names.EXECUTION_COMPLETED, names.VALIDATION_STARTED]
    damage = [data for data, _ in DAMAGE.values()]
    data = b""
    for number in range(60):
        data += event_line(number, event_type=kinds[number % 3], size=number * 700) + damage[number % len(damage)]
    path.write_bytes(data + b'{"unfinished')
    for wanted in (
        Filter(),
        Filter(event_type="execution"),
        Filter(event_type="execution.started"),
        Filter(status="x"),
    ):
        everything = list(read_documents(path, wanted))
        for count in (0, 1, 2, 7, 1000):
            assert read_last(path, wanted, count) == everything[len(everything) - min(count, len(everything)) :]


def document_of(**changes: Any) -> dict[str, Any]:
    """Return the document that a reader makes of such an event."""
    return parse_document(Line(0, event_line(1, **changes)[:-1]))


@pytest.mark.parametrize("key", ["job_id", "pattern_run_id", "pattern_id", "step_id", "status"])
def test_filter_by_key_wants_the_whole_value(key: str) -> None:
    """Ids and status are compared as a whole, never as a part."""
    document = document_of(step_id="STEP-7")
    whole = document[key]
    results = [Filter()._replace(**{key: value}).matches(document) for value in (whole, whole[:-1], f"{whole}1")]
    assert results == [True, False, False]


def test_filter_by_step_passes_no_event_without_step() -> None:
    """An event without a step is none of a step's events; a filter without a step wants all."""
    assert not Filter(step_id="STEP-7").matches(document_of())
    assert Filter().matches(document_of())


@pytest.mark.parametrize(
    ("wanted", "matched"),
    [
        ("pattern.execution.started", {"pattern.execution.started"}),
        ("execution.started", {"pattern.execution.started"}),
        ("execution", {"pattern.execution.started", "pattern.execution.failed"}),
        ("pattern.execution", {"pattern.execution.started", "pattern.execution.failed"}),
        ("execution.start", set[str]()),
        ("exec", set[str]()),
        ("started", set[str]()),
        ("deploy.finished", {"deploy.finished"}),
        ("deploy", {"deploy.finished"}),
        ("pattern.deploy", set[str]()),
        ("review", {"pattern.review.requested"}),
        ("custom", {"custom"}),
        ("", set[str]()),
    ],
)
def test_filter_by_event_type_takes_short_forms(wanted: str, matched: set[str]) -> None:
    """A type is named whole, without `pattern.`, or by its stage, and so are types that are not ours."""
    types = {
        "pattern.execution.started",
        "pattern.execution.failed",
        "pattern.validation.started",
        "deploy.finished",
        "pattern.review.requested",
        "custom",
    }
    assert {kind for kind in types if Filter(event_type=wanted).matches(document_of(event_type=kind))} == matched


def test_filter_by_time_takes_since_and_leaves_until() -> None:
    """`since` is included and `until` is not, to the nanosecond, however the zone is written."""
    document = document_of(timestamp="2026-11-22T09:30:00.000000001+00:00")
    time = parse_timestamp(document["timestamp"])
    assert Filter(since=time).matches(document)
    assert not Filter(since=time + 1).matches(document)
    assert Filter(until=time + 1).matches(document)
    assert not Filter(until=time).matches(document)
    assert Filter(since=time, until=time + 1).matches(document)


def test_filter_with_several_fields_wants_all() -> None:
    """Every field that is given must match."""
    document = document_of()
    assert Filter(job_id=document["job_id"], status=document["status"]).matches(document)
    assert not Filter(job_id=document["job_id"], status="failed").matches(document)


def test_open_to_read_of_missing_file_returns_none(path: Path) -> None:
    """A file that is not there yet is no error."""
    assert open_to_read(path) is None


def test_event_document_of_tests_is_an_event() -> None:
    """What these tests call an event is one: else every skip above would mean nothing."""
    assert document_of()["event_type"] == event_document()["event_type"]

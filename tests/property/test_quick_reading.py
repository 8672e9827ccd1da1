"""Reading quickly says what reading slowly says: of a line, of a block of lines, of a filtered journal, of its runs."""

import json
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.journal import lines as lines_module
from otel_patterns.journal import read as read_module
from otel_patterns.journal.heads import decode_block, decode_records, parse_document, parse_record
from otel_patterns.journal.lines import Line, ReadReport, read_lines
from otel_patterns.journal.parse import parse_slowly
from otel_patterns.journal.read import Filter, read_documents, read_last, read_raw
from otel_patterns.journal.runs import read_runs
from otel_patterns.model import names
from otel_patterns.model.columns import are_ids, are_in_our_form, are_timestamps
from otel_patterns.model.envelope import check_event
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import fold
from otel_patterns.model.record import EventRecord
from otel_patterns.model.times import is_timestamp, parse_timestamp
from tests.documents import event_document
from tests.property.strategies import event_documents, events

ENOUGH = 50
# What two parsers of JSON may take for different things, wherever it stands.
ODDITIES = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1E+400", b"1e-400", b"-0", b"-0.0", b"0.1", b"1.0"),
    *(b"01", b"1.", b".5", b"+1", b"1e", b"-", b"0x1", b"1_0", b"9" * 40, b"9" * 5000, b"1" * 4300, b"-" + b"1" * 4301),
    *(b"18446744073709551615", b"18446744073709551616", b"-9223372036854775808", b"-9223372036854775809"),
    *(b"123456789012345678.12345678901234567890", b"2.2250738585072011e-308", b"1.7976931348623158e308", b"5e-324"),
    *(b'"\\ud800"', b'"\\udc80\\ud800"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\\u0000"', b'"\\u00e9"', b'"\\x41"'),
    *(b'"\\u12"', b'"\\/"', b'"\\b\\f"', b'"\x01"', b'"\x7f"', b'"\x1f"', b'"\t"', b'"\xc3\xa9"', b'"\xff"', b'"\xc3"'),
    *(b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', "\u2028\u0085".encode().join([b'"', b'"']), b"'a'"),
    *(b"null", b"true", b"nul", b"[1,]", b"[1 2]", b'{"a":1,}', b'{"a":1,"a":2}', b"{1:2}", b'{"a" 1}', b"[[]", b"[]]"),
    *(b"//", b"/* */ 1", b"\xef\xbb\xbf1", b"\x0b1", b"\xc2\xa01", b"1 2", b"[" * 300 + b"]" * 300, b'{"\\ud800":1}'),
)
PLACES = (
    "details",
    "event_id",
    "timestamp",
    "job_id",
    "status",
    "step_id",
    "event_type",
    "team",
    "error_type",
    "member",
)


def odd_line(place: str, value: bytes) -> bytes:
    """Return an event's line with these bytes for a value, which stand at its place, in its details or further in."""
    document = event_document(step_id="STEP-1", team="blue")
    document["details"] |= {"error_type": "x", "result_summary": {"member": 1}}
    line = json.dumps(document, separators=(",", ":")).encode()
    changed, count = re.subn(rb'("%s":)("[^"]*"|1)' % place.encode(), lambda found: found[1] + value, line, count=1)
    return changed if count else line.replace(b'"details":{', b'"details":%s,"details":{' % value)


def outcome(parse: Any, line: Line) -> str:
    """Return the repr of the document of a line, or why there is none."""
    try:
        return repr(parse(line))
    except ValueError as error:
        return f"ValueError: {error}"


def values_of(record: EventRecord) -> list[object]:
    """Return what a record has: the values of the nine keys, and the time."""
    return [*(getattr(record, key) for key in names.EVENT_KEYS), record.time_unix_nano]


def record_values(line: Line) -> list[object]:
    """Return the values of a line's record."""
    return values_of(parse_record(line))


def slow_values(line: Line) -> list[object]:
    """Return what the record of a line has to have."""
    document = parse_slowly(line)
    return [*(document[key] for key in names.EVENT_KEYS), parse_timestamp(document["timestamp"])]


def assert_twins_agree(line: Line) -> bool:
    """Check that both parsers return one document, or one reason, and tell whether it was a document."""
    slow = outcome(parse_slowly, line)
    assert outcome(parse_document, line) == slow
    block = decode_block(line.offset, line.data + b"\n")
    if block is not None:
        # Only saying no is allowed: then it is parsed slowly.
        document = parse_slowly(line)
        [head] = block.heads
        assert [getattr(head, key) for key in names.EVENT_KEYS if key != "details"] == [
            document[key] for key in names.EVENT_KEYS if key != "details"
        ]
        for name in head.details.__struct_fields__:
            assert repr(getattr(head.details, name)) == repr(document["details"].get(name, msgspec.UNSET))
    assert outcome(record_values, line) == outcome(slow_values, line)
    if (records := decode_records(line.data + b"\n")) is not None:
        assert [repr(values_of(record)) for record in records] == [outcome(slow_values, line)]
    return not slow.startswith("ValueError")


@pytest.mark.parametrize("place", PLACES)
def test_odd_values_anywhere_are_read_alike(place: str) -> None:
    """Whatever stands for a value, quick and slow parser give one document, to the sign of a zero, or one reason."""
    verdicts = Counter(assert_twins_agree(Line(1, odd_line(place, value))) for value in ODDITIES)
    assert min(verdicts[True], verdicts[False]) > 0 or place in {"event_id", "timestamp", "job_id", "status"}


def test_mutated_lines_are_read_alike() -> None:
    """Bytes deleted, changed, doubled or put in at random: one verdict, and one document."""
    chance = random.Random(20261122)
    verdicts: Counter[bool] = Counter()
    pieces = [
        b"\\",
        b"\\u0041",
        b"\\u004",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"\r",
        b"\0",
        b"-",
        b"1",
        b"e",
        b"\xff",
    ]
    pieces += [b"\xc3\xa9", b'"details":{},', b'"job_id":5,', b'"job_id":"JOB-2",', *ODDITIES]
    for number in range(6000):
        line = bytearray(odd_line("member", chance.choice([b"1", b'"\\u00e9\xc3\xa9"', b"[1.5,{}]"])))
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            start = chance.randrange(len(line))
            end = start + chance.choice([0, 0, 0, 1, 1, 2, 8])
            line[start:end] = chance.choice(
                [b"", chance.choice(pieces), bytes([chance.randrange(256)]), line[start : end + 5]]
            )
        verdicts[assert_twins_agree(Line(number % 2, bytes(line).replace(b"\n", b"")))] += 1
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


@settings(max_examples=300)
@given(event_documents(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\r", "\t:")]), st.booleans())
def test_event_documents_are_read_alike(
    document: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    """However a writer spaces and escapes, quick and slow parser agree."""
    text = json.dumps(document, separators=separators, ensure_ascii=ascii_only)
    assert_twins_agree(Line(1, text.encode("utf-8", "surrogatepass").replace(b"\n", b"")))


GLUED: dict[str, Callable[[bytes], bytes]] = {
    "two values on a line": lambda line: line[:-1] + line,
    "a value on two lines": lambda line: line.replace(b'"details":', b'"details":\n'),
    "both": lambda line: (line[:-1] + line).replace(b'"details":{', b'"details":\n{', 1)[:-1] + b"\n",
    "two values with a comma": lambda line: line[:-1] + b"," + line,
    "two values and a number": lambda line: line[:-1] + b",1," + line,
    "null": lambda line: b"null\n" + line,
    "a number": lambda line: b"5\n" + line,
    "a number behind a value": lambda line: line[:-1] + b",5\n",
    "the end of an array": lambda line: line[:-1] + b"]\n",
    "a newline for a comma": lambda line: line.replace(b',"job_id"', b'\n"job_id"'),
    "a newline for a comma in an array": lambda line: line.replace(b'"details":{', b'"details":{"x":[1\n2],'),
    "a blank line": lambda line: line + b"\n",
    "spaces": lambda line: b"  \n" + line,
    "no event": lambda line: b"{}\n" + line,
    "no JSON": lambda line: b"\0\n" + line,
    "a bad id": lambda line: line.replace(b"JOB-", b"job-"),
    "a newline in an id": lambda line: line.replace(b"EVT-", b"EVT-1\\nEVT-"),
    "a newline in a time": lambda line: line.replace(b"Z", b"Z\\n2026-11-22T09:30:00.000000Z"),
    "a newline in a step": lambda line: line.replace(b'"STEP-1"', b'"STEP-1\\nSTEP-1"'),
    "invalid UTF-8": lambda line: line.replace(b"blue", b"\xff"),
    "a long number": lambda line: line.replace(b'"blue"', b"1" * 4400),
}  # fmt: skip


@pytest.mark.parametrize("kind", GLUED)
def test_block_with_anything_odd_is_left_to_the_slow_way(kind: str) -> None:
    """A block is taken as a whole only when each of its lines is one event and nothing else."""
    line = odd_line("member", b"1") + b"\n"
    assert decode_block(0, line * 5) is not None
    assert decode_block(0, line * 2 + GLUED[kind](line) + line * 2) is None
    nine_keys = line.replace(b',"team":"blue"', b"").replace(b'"member":1', b'"member":1,"team":"blue"')
    assert decode_records(nine_keys * 5) is not None
    assert decode_records(nine_keys * 2 + GLUED[kind](nine_keys) + nine_keys * 2) is None
    assert decode_records(line) is None


TIMES = ("2026-11-22T09:30:00.000000Z", "2026-11-22T23:59:59.999999Z", "2024-02-29T00:00:00.000000Z")
ODD_TIMES = (
    *("2026-11-22T09:30:00Z", "2026-11-22T09:30:00.5+00:00", "2026-11-22T24:00:00.000000Z", "2026-11-22T09:60:00.0Z"),
    *("2026-11-22T09:60:00.000000Z", "2026-11-22T09:30:60.000000Z", "2026-02-29T00:00:00.000000Z", "\n", ""),
    *("2026-13-01T00:00:00.000000Z", "1969-11-22T09:30:00.000000Z", "2200-11-22T09:30:00.000000Z"),
    *("2026-11-22t09:30:00.000000Z", "٢026-11-22T09:30:00.000000Z", "2026-11-22T09:30:00.000000"),
    *("Z2026-11-22T09:30:00.000000Z", "2026-11-22T29:30:00.000000Z", "2026-11-22T09:30:00.000000Z\n"),
)


@settings(max_examples=500)
@given(
    st.lists(st.sampled_from(TIMES) | st.sampled_from(ODD_TIMES), max_size=4)
    | st.lists(st.sampled_from(TIMES), max_size=4)
)
def test_timestamps_together_are_judged_as_one_by_one(texts: list[str]) -> None:
    """Many at once are good exactly when each is, and ours exactly when each is also of our form."""
    each = [is_timestamp(text) for text in texts]
    assert are_timestamps(texts) is all(each)
    ours = re.compile(r"....-..-..T..:..:..\.......Z")
    assert are_in_our_form(texts) is (bool(texts) and all(each) and all(ours.fullmatch(text) for text in texts))


ID_TEXTS = st.sampled_from(
    ["01KANBQ8M00000000000000001", "a", "A.b_c-9", "", "-a", "é", "a\n", "X" * 128, "X" * 129, "1-EVT-1"]
)
IDS = st.tuples(st.sampled_from(["EVT-", "PRUN-", "JOB-", "PAT-", "STEP-", "evt-", "XVT-"]), ID_TEXTS).map("".join)


@settings(max_examples=500)
@given(st.lists(IDS, min_size=1, max_size=4), st.integers(0, 4))
def test_ids_together_are_judged_as_one_by_one(texts: list[str], kind: int) -> None:
    """Many ids at once are good exactly when the check finds nothing wrong with any."""
    keys = ("event_id", "pattern_run_id", "job_id", "pattern_id", "step_id")
    columns: list[set[str | None]] = [set(), set(), set(), set(), {None}]
    columns[kind] = {*texts, *columns[kind]}
    each = [next(check_event(event_document(**{keys[kind]: text})), None) is None for text in texts]
    # Sets of texts, whatever the type of the last one says.
    given: Any = columns
    assert are_ids(*given) is all(each)


# Journals.


@contextmanager
def journal(data: bytes, chunk: int) -> Generator[Path, None, None]:
    """Yield a file with these bytes, which is read in chunks of that size, as if it were large."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "journal")
        path.write_bytes(data)
        with patch.object(lines_module, "_CHUNK_BYTES", chunk), patch.object(read_module, "_MANY_BYTES", 0):
            yield path


def escaped(line: bytes) -> bytes:
    """Return a line with the digits of its ids written as escapes."""
    return re.sub(rb'(?<=-)0(?=[0-9A-Za-z]*")', b"\\\\u0030", line)


RUN_IDS = ("PRUN-0A", "PRUN-0B")
BAD_LINES = (
    b"{",
    b"{}",
    b"\0\0",
    b'{"event_id":"EVT-1","event_type":"x"}',
    b'{"event_id":"EVT-1"',
    b"[]",
    b"\xff",
    b"",
    b"  ",
)


@st.composite
def journals(draw: st.DrawFn) -> bytes:
    """Draw the bytes of a journal: runs as they happen or in any order, copies, conflicts, other forms, bad lines."""
    is_plain = draw(st.booleans())
    shared_ids = not is_plain and draw(st.booleans())
    documents: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 9))):
        event = draw(events(st.just(f"EVT-{draw(st.integers(0, 6)) if shared_ids else number:026d}"), RUN_IDS))
        second, form = number, "Z"
        if not is_plain:
            second = draw(st.integers(0, 9))
            form = draw(st.sampled_from(["Z", "Z", "Z", "001Z", "+00:00"]))
        documents.append({**event.to_dict(), "timestamp": f"2026-11-22T09:30:0{second}.00000{number}{form}"})
    if documents and draw(st.booleans()):
        documents[0]["details"] = {**documents[0]["details"], "operation_kind": "scan"}
    if documents and not is_plain:
        documents += draw(st.lists(st.sampled_from(documents), max_size=2))
    lines: list[bytes] = []
    for document in documents:
        more = {"team": "blue"} if draw(st.integers(0, 5)) == 0 else {}
        separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
        line = json.dumps({**more, **document}, separators=separators).encode()
        lines.append(escaped(line) if draw(st.integers(0, 5)) == 0 else line)
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(BAD_LINES)))
    mark = b"\xef\xbb\xbf" if draw(st.integers(0, 5)) == 0 else b""
    return mark + b"".join(line + b"\n" for line in lines) + draw(st.sampled_from([b"", b'{"unfin']))


def read_slowly(path: Path) -> tuple[list[tuple[Line, dict[str, Any]]], list[tuple[int, str]]]:
    """Return the events of a journal and its bad lines, parsed one by one by the slow parser alone."""
    good: list[tuple[Line, dict[str, Any]]] = []
    bad: list[tuple[int, str]] = []
    with path.open("rb") as file:
        for line in read_lines(file):
            if not line.data.isspace():
                try:
                    good.append((line, parse_slowly(line)))
                except ValueError as error:
                    bad.append((line.offset, str(error)))
    return good, bad


CHUNKS = st.sampled_from([50, 700, 2500, 128 * 1024])


@settings(max_examples=300, deadline=None)
@given(journals(), CHUNKS)
def test_raw_lines_are_those_of_the_events(data: bytes, chunk: int) -> None:
    """Many lines at a time or one by one: the same lines go out, and the same are reported as bad."""
    with journal(data, chunk) as path:
        good, bad = read_slowly(path)
        report = ReadReport()
        raw = b"".join(read_raw(path, Filter(), report=report))
    assert raw == b"".join(line.json + b"\n" for line, _ in good)
    assert [(line.offset, line.reason) for line in report.bad_lines] == bad
    assert (report.events, report.skipped) == (len(good), len(bad))
    assert report.end + report.unfinished_bytes == len(data)


@settings(max_examples=300, deadline=None)
@given(journals(), CHUNKS, st.sampled_from(["pattern_run_id", "job_id", "pattern_id", "step_id"]), st.data())
def test_filter_by_id_loses_no_event(data: bytes, chunk: int, key: str, choice: st.DataObject) -> None:
    """What a search for the id's bytes passes over is no event of it, however ids and keys are written."""
    with journal(data, chunk) as path:
        good, bad = read_slowly(path)
        wanted: str = choice.draw(st.sampled_from([document[key] or "STEP-9" for _, document in good] or ["PRUN-0A"]))
        expected = [(line, document) for line, document in good if document[key] == wanted]
        wanted_filter = Filter()._replace(**{key: wanted})
        report = ReadReport()
        found = list(read_documents(path, wanted_filter, report=report))
        assert repr(found) == repr(expected)
        assert repr(read_last(path, wanted_filter, 2)) == repr(expected[-2:])
        assert b"".join(read_raw(path, wanted_filter)) == b"".join(line.json + b"\n" for line, _ in expected)
    reported = {(line.offset, line.reason) for line in report.bad_lines}
    assert reported <= set(bad)
    # Only what begins and ends as an event does may go unseen.
    assert {offset for offset, _ in set(bad) - reported} <= {
        found.start() for found in re.finditer(rb'(?m)^\{"event_id":.*\}$', data)
    }


ASKED = (
    "job_id",
    "pattern_id",
    "operation_kind",
    "status",
    "started_at",
    "finished_at",
    "duration_seconds",
    "events",
    "outputs",
)


def test_runs_read_in_one_pass_are_those_of_the_fold() -> None:
    """For any journal: the same runs, in the same order, with the same of everything, told at once or folded."""
    kinds: Counter[bool] = Counter()

    @settings(max_examples=600, deadline=None)
    @given(
        journals(),
        CHUNKS,
        st.sampled_from([None, Filter(job_id="JOB-01KANBQ8M00000000000000003"), Filter(status="failed")]),
    )
    def check(data: bytes, chunk: int, wanted: Filter | None) -> None:
        with journal(data, chunk) as path:
            documents = [document for _, document in read_slowly(path)[0] if wanted is None or wanted.matches(document)]
            expected = fold(PatternEvent.from_document(document) for document in documents)
            report = ReadReport()
            runs = read_runs(path, wanted, report=report)
            assert list(runs) == list(expected)
            for run_id, run in runs.items():
                assert {name: repr(getattr(run, name)) for name in ASKED} == {
                    name: repr(getattr(expected[run_id], name)) for name in ASKED
                }
                assert repr(run.run.to_dict()) == repr(expected[run_id].to_dict())
                kinds[run.is_plain] += 1
        assert report.events == len(documents)

    check()
    assert min(kinds[True], kinds[False]) >= ENOUGH

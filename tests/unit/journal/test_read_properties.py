"""What reading does with any bytes at all."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.journal import lines as lines_module
from otel_patterns.journal.heads import parse_document
from otel_patterns.journal.lines import Line, ReadReport, read_lines, read_lines_backward
from otel_patterns.journal.read import Filter, read_documents, read_last
from tests.unit.journal.lines import event_line

# Many newlines, so that there are lines; NUL, BOM bytes and halves of UTF-8 among the rest.
ANY_BYTES = st.lists(
    st.sampled_from([b"\n", b"\n\n", b"\r\n", b"a", b"bb", b"\0", b"\xef\xbb\xbf", b"\xff", b"x" * 30]) | st.binary()
).map(b"".join)


@given(data=ANY_BYTES, chunk=st.integers(1, 40), limit=st.integers(1, 60))
@settings(max_examples=400, deadline=None)
def test_read_lines_backward_any_bytes_is_reverse_of_forward(data: bytes, chunk: int, limit: int) -> None:
    """Backwards come exactly the lines that come forwards, for any bytes, chunk size and line limit."""
    with patch.object(lines_module, "_CHUNK_BYTES", chunk), patch.object(lines_module, "MAX_LINE_BYTES", limit):
        forward = list(read_lines(io.BytesIO(data)))
        backward = list(read_lines_backward(io.BytesIO(data), len(data)))
    assert backward == forward[::-1]


@given(data=ANY_BYTES, chunk=st.integers(1, 40), limit=st.integers(1, 60), cut=st.integers(0, 100))
@settings(max_examples=400, deadline=None)
def test_read_lines_any_bytes_accounts_for_every_byte(data: bytes, chunk: int, limit: int, cut: int) -> None:
    """Lines, skipped lines and the unfinished tail are the file, each byte once, also when reading ends early."""
    end = min(cut, len(data))
    report = ReadReport()
    with patch.object(lines_module, "_CHUNK_BYTES", chunk), patch.object(lines_module, "MAX_LINE_BYTES", limit):
        lines = list(read_lines(io.BytesIO(data), 0, end, report=report))
    complete = data[: data.rfind(b"\n", 0, end) + 1]
    expected = [piece for piece in complete.split(b"\n") if piece]
    assert [line.data for line in lines] == [piece for piece in expected if len(piece) <= limit]
    assert all(data[line.offset : line.end] == line.data + b"\n" for line in lines)
    skipped = [data[bad.offset : bad.offset + bad.length] for bad in report.bad_lines]
    assert skipped == [piece for piece in expected if len(piece) > limit]
    assert report.end == len(complete)
    assert report.unfinished_bytes == end - len(complete)


def good(data: bytes, offset: int) -> bool:
    """Tell whether bytes are an event."""
    try:
        parse_document(Line(offset, data))
    except ValueError:
        return False
    return True


LINES = [event_line(number, size=number * 3) for number in range(8)]
STARTS = [sum(map(len, LINES[:number])) for number in range(len(LINES))]
JOURNAL = b"".join(LINES)
# What may happen to bytes: one is changed, some are deleted, some are put in.
EDITS = st.lists(
    st.tuples(
        st.integers(0, len(JOURNAL) - 1),
        st.integers(0, 40),
        st.binary(max_size=6) | st.sampled_from([b"\n", b"\0" * 8, b"}", b'"']),
    ),
    min_size=1,
    max_size=4,
)


@given(edits=EDITS, chunk=st.sampled_from([7, 64, 256 * 1024]), count=st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_read_damaged_journal_loses_touched_lines_alone(
    edits: list[tuple[int, int, bytes]], chunk: int, count: int
) -> None:
    """Whatever bytes change, untouched lines are read, each skipped one is reported where it is, and nothing raises."""
    data = JOURNAL
    # For each byte where it came from; -1: it was put in.
    origins = list(range(len(JOURNAL)))
    for offset, deleted, inserted in edits:
        data = data[:offset] + inserted + data[offset + deleted :]
        origins[offset : offset + deleted] = [-1] * len(inserted)
    with tempfile.TemporaryDirectory() as directory, patch.object(lines_module, "_CHUNK_BYTES", chunk):
        path = Path(directory, "journal")
        path.write_bytes(data)
        report = ReadReport()
        found = [line for line, _ in read_documents(path, report=report)]
        last = [line for line, _ in read_last(path, Filter(), count)]
    # Untouched: all its bytes in a row, and a line's beginning before them.
    untouched = [
        origins.index(start)
        for start, line in zip(STARTS, LINES, strict=True)
        if start in origins
        and origins[(at := origins.index(start)) : at + len(line)] == list(range(start, start + len(line)))
        and (at == 0 or data[at - 1 : at] == b"\n")
    ]
    assert set(untouched) <= {line.offset for line in found}
    complete = data[: data.rfind(b"\n") + 1]
    pieces: list[tuple[int, bytes]] = []
    offset = 0
    for piece in complete.split(b"\n")[:-1]:
        if piece.strip(b" \t\r\f\v"):
            pieces.append((offset, piece))
        offset += len(piece) + 1
    assert [(line.offset, line.data) for line in found] == [piece for piece in pieces if good(piece[1], piece[0])]
    assert [(bad.offset, bad.length) for bad in report.bad_lines] == [
        (offset, len(piece)) for offset, piece in pieces if not good(piece, offset)
    ]
    assert last == found[-count:]
    assert report.unfinished_bytes == len(data) - len(complete)


@given(data=st.binary(max_size=300) | st.text().map(str.encode))
@settings(max_examples=300, deadline=None)
def test_parse_document_any_bytes_raises_value_error_alone(data: bytes) -> None:
    """A line is an event or a ValueError that says why; no other error leaves the parser."""
    assert good(data.replace(b"\n", b""), 0) in (True, False)


def test_journal_of_properties_is_whole() -> None:
    """Unchanged, the journal that the properties damage is read completely."""
    assert all(good(line[:-1], 0) for line in LINES)
    assert os.linesep == "\n"

"""What is kept of a stream that passes by."""

import pytest

from otel_patterns.runner.preview import PREVIEW_CHARACTERS, Preview


def preview_of(*chunks: bytes, crlf: bool = False) -> Preview:
    """Return the preview of a stream that came in chunks."""
    preview = Preview(crlf=crlf)
    for chunk in chunks:
        preview.add(chunk)
    return preview


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((), 0),
        ((b"one\n",), 1),
        ((b"one\n", b"two"), 2),
        ((b"one", b"\n"), 1),
        ((b"\n\n",), 2),
        ((b"on", b"e"), 1),
        ((b"\r50 %\r100 %\n",), 1),
    ],
)
def test_preview_counts_lines(chunks: tuple[bytes, ...], lines: int) -> None:
    """Lines are what `wc -l` counts, and a last one without a newline; chunks may end anywhere."""
    assert preview_of(*chunks).lines == lines


def test_preview_keeps_the_end() -> None:
    """Of a long stream the last 2000 characters are kept."""
    text = "".join(f"line {number}\n" for number in range(5000))
    chunks = [text[start : start + 777].encode() for start in range(0, len(text), 777)]
    assert preview_of(*chunks).text == text[-PREVIEW_CHARACTERS:]
    assert preview_of(text.encode()).text == text[-PREVIEW_CHARACTERS:]


@pytest.mark.parametrize("text", ["é", "€", "🦊"])
@pytest.mark.parametrize("odd", [0, 1, 2, 3])
def test_preview_cut_through_a_character_shows_no_broken_one(text: str, odd: int) -> None:
    """Characters of several bytes come whole, wherever the kept bytes begin."""
    shown = preview_of((text * 5000).encode() + b"x" * odd).text
    assert shown == (text * 5000 + "x" * odd)[-PREVIEW_CHARACTERS:]


def test_preview_of_bytes_that_are_no_text_is_text() -> None:
    """Binary output is shown as escapes, cut like any other."""
    assert preview_of(b"\xff\x00ok").text == "\\xff\x00ok"
    assert len(preview_of(b"\xff" * 100_000).text) == PREVIEW_CHARACTERS
    assert len(preview_of(b"\x80" * 100_000).text) == PREVIEW_CHARACTERS


def test_preview_without_a_newline_stays_small() -> None:
    """A stream without newlines costs no more memory than any other."""
    preview = Preview()
    for _ in range(1000):
        preview.add(b"x" * 65_536)
    assert (preview.lines, len(preview.text)) == (1, PREVIEW_CHARACTERS)
    assert len(preview.__dict__["_tail"]) <= 4 * PREVIEW_CHARACTERS


def test_preview_of_a_terminal_has_the_newlines_that_were_written() -> None:
    """The carriage returns that a terminal adds are not the command's; those of a pipe are."""
    assert preview_of(b"one\r\ntwo\r\n", crlf=True).text == "one\ntwo\n"
    assert preview_of(b"one\r\n").text == "one\r\n"

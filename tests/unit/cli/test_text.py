"""Text made fit for a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_patterns.cli.text import cut, first_line, pad, plain, safe, safe_json, width_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("over\rwrite", "over\\x0dwrite"),
        ("two\nlines\t", "two\\x0alines\\x09"),
        ("\x7f\x9b2J", "\\x7f\\x9b2J"),
        ("\u202egpj.exe\u2069", "\\u202egpj.exe\\u2069"),
        ("\u061c\u200e\u200f\u2028", "\\u061c\\u200e\\u200f\\u2028"),
        ("\ud800", "\\ud800"),
        ("Grüße 日本 ✓", "Grüße 日本 ✓"),
    ],
)
def test_safe_character_a_terminal_obeys_is_shown_as_its_number(text: str, shown: str) -> None:
    """Every control, escape, bidi and surrogate character is shown, never obeyed; other text stays."""
    assert safe(text) == shown


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_safe_any_text_is_stable(text: str) -> None:
    """What is safe stays as it is: the edge may be passed twice."""
    assert safe(safe(text)) == safe(text)


@given(st.text())
def test_safe_json_any_text_means_the_same(text: str) -> None:
    """Escaping inside JSON changes the bytes, not the value."""
    encoded = safe_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(encoded) == text
    assert encoded == safe(encoded)


@given(st.text(alphabet=st.characters(exclude_categories=("C",))), st.integers(0, 20))
def test_cut_any_text_fits_the_width(text: str, width: int) -> None:
    """A cut text never takes more columns than there are, whatever its characters are."""
    assert width_of(cut(text, width)) <= width


def test_cut_wide_characters_count_twice() -> None:
    """East Asian characters take two columns, so half as many fit."""
    assert cut("日本語のスキャン", 7) == "日本語…"


def test_cut_short_text_stays() -> None:
    """Nothing is cut off a text that fits."""
    assert cut("abc", 3) == "abc"


def test_pad_combining_character_takes_no_column() -> None:
    """Columns are counted, not code points: an accent of its own has none."""
    assert pad("e\u0301", 3) == "e\u0301  "


def test_pad_right_puts_the_text_at_the_end() -> None:
    """Numbers stand at the right end of their column."""
    assert pad("1", 3, right=True) == "  1"


def test_first_line_text_of_several_lines_tells_that_more_follows() -> None:
    """One line is shown, and that there is more."""
    assert first_line("\n\n  one \ntwo") == "one …"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (None, "null"),
        (True, "true"),
        (2.0, "2"),
        (81.23456789, "81.2346"),
        (["a", 1], "a, 1"),
        ({"a": ["ü"]}, '{"a": ["ü"]}'),
        ([{"a": 1}], '[{"a": 1}]'),
    ],
)
def test_plain_json_value_is_shown_as_people_write_it(value: object, shown: str) -> None:
    """Scalars and arrays of them go without quotes, anything deeper is JSON."""
    assert plain(value) == shown


def test_plain_value_nested_too_deeply_is_left_out() -> None:
    """A value as deep as the reader just allowed does not break the output."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert plain(value) == "[…]"

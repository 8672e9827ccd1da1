"""Whatever an event says, the terminal obeys none of it."""

import json
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.support import RUN_ID, call, event, write_journal

# Controls, surrogates, line and paragraph separators; what turns the direction of the text around it.
OBEYED = ("Cc", "Cs", "Zl", "Zp")
TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
MARKS = "\u200e\u200f\u061c"
# What terminals obey, among other text; hypothesis alone would seldom find it.
TRAPS = st.sampled_from(
    [
        "\x1b[2J",
        "\x1b]52;c;aGk=\x07",
        "\x9b31m",
        "\r",
        "\n",
        "\t",
        "\x7f",
        "\u202e",
        "\u2066",
        "\u200f",
        "\u061c",
        "\ud800",
        "[bold]x[/bold]",
        "\u2028",
        "日本",
    ]
)
TEXT = st.lists(TRAPS | st.text(st.characters(exclude_categories=()), max_size=5), max_size=4).map("".join)
VALUE = st.recursive(
    TEXT | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=5,
)
KNOWN = (
    "operation_kind",
    "template_version",
    "exit_code",
    "error_type",
    "error_message",
    "reason",
    "error",
    "failed_checks",
    "result_summary",
    "inputs_preview",
    "generated_artifacts",
    "artifacts",
    "stdout_preview",
    "stderr_preview",
    "command",
    "checks",
    "duration_seconds",
    "otel",
)
DETAILS = st.dictionaries(st.sampled_from(KNOWN) | TEXT, VALUE, max_size=6)
TYPES = st.sampled_from(
    ["selection.started", "template.expanded", "validation.failed", "execution.failed", "execution.completed"]
)


def _event(kind: str, foreign_type: str | None, details: dict[str, Any], status: str) -> dict[str, Any]:
    document = event(kind, status=status, details=details)
    return document if foreign_type is None else {**document, "event_type": foreign_type, "event_id": "EVT-F"}


STATUSES = st.sampled_from(["in_progress", "failed", "success"])
EVENTS = st.lists(st.builds(_event, TYPES, st.none() | TEXT, DETAILS, STATUSES), min_size=1, max_size=3)


def unsafe_in(text: str) -> list[str]:
    """Return what a terminal would obey, beside the newlines between lines."""
    return [
        character
        for character in text
        if character != "\n"
        and (
            unicodedata.category(character) in OBEYED
            or unicodedata.bidirectional(character) in TURNING
            or character in MARKS
        )
    ]


@settings(max_examples=100, deadline=None)
@given(EVENTS)
@pytest.mark.parametrize("color", ["never", "always"])
def test_any_event_text_injects_nothing(color: str, documents: list[dict[str, Any]]) -> None:
    """No field of an event yields a control, escape, bidi or surrogate character on stdout or stderr."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_journal(Path(directory) / "j", documents)
        for argv in (("events",), ("runs",), ("run", RUN_ID), ("replay", "--dry-run")):
            result = call("--color", color, "--journal", path, *argv)
            assert result.code == 0, result.err
            for code in ("0", "1", "2", "31", "32", "33", "36"):
                result = type(result)(result.code, result.out.replace(f"\x1b[{code}m", ""), result.err)
            if color == "never":
                assert "\x1b" not in result.out
            assert unsafe_in(result.out) == []
            assert unsafe_in(result.err) == []
        result = call("--color", "never", "validate-pattern-event", path)
        assert unsafe_in(result.out + result.err) == []


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_any_event_text_is_escaped_in_the_json_of_runs(documents: list[dict[str, Any]]) -> None:
    """The JSON of runs is one object a line, and holds what a terminal obeys as escapes only."""
    with tempfile.TemporaryDirectory() as directory:
        path = write_journal(Path(directory) / "j", documents)
        for argv in (("runs", "--json"), ("run", RUN_ID, "--json")):
            out = call("--journal", path, *argv).out
            assert unsafe_in(out) == []
            assert json.loads(out)["pattern_run_id"] == RUN_ID


@settings(max_examples=100, deadline=None)
@given(st.binary() | VALUE.map(lambda value: json.dumps(value).encode()))
def test_any_file_validated_injects_nothing(data: bytes) -> None:
    """The problems of a document show its values without passing them on."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "document"
        path.write_bytes(data)
        for command in ("validate-pattern-event", "validate-pattern-run"):
            result = call(command, str(path))
            assert result.code == 1
            assert unsafe_in(result.out + result.err) == []

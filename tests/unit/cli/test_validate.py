"""`otel-patterns validate-pattern-event` and `validate-pattern-run`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.support import RUN_ID, Result, call, event, whole_run, write_journal

BAD = {**event("validation.started"), "status": "done"}


def check(monkeypatch: pytest.MonkeyPatch, command: str, data: str | bytes, *argv: str) -> Result:
    """Run a validate command with this on stdin."""
    raw = data if isinstance(data, bytes) else data.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    return call(command, *argv)


@pytest.mark.parametrize("argv", [(), ("-",)])
@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ("one", ["stdin"]),
        ("indented", ["stdin"]),
        ("array", ["stdin: item 0", "stdin: item 1"]),
        ("lines", ["stdin: line 1", "stdin: line 3"]),
    ],
)
def test_validate_document_array_or_lines_are_each_checked(
    monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], shape: str, places: list[str]
) -> None:
    """One document, an array and JSONL are told apart, and each problem says where it is."""
    text = {
        "one": json.dumps(BAD),
        "indented": json.dumps(BAD, indent=2),
        "array": json.dumps([BAD, BAD]),
        "lines": f"{json.dumps(BAD)}\n\n{json.dumps(BAD)}\n",
    }[shape]
    result = check(monkeypatch, "validate-pattern-event", text, "--lenient", *argv)
    assert result.code == 1
    assert [line for line in result.lines if not line.startswith(" ")] == [f"{place}: /status" for place in places]


def test_validate_problem_tells_pointer_value_rule_and_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem says where, what is there, what should be, and what to do."""
    result = check(monkeypatch, "validate-pattern-event", json.dumps(BAD), "--lenient")
    assert result.lines == [
        "stdin: /status",
        "  value: 'done'",
        "  rule:  it must be one of in_progress, success, failed, warning, skipped",
        "  fix:   Choose the one that fits.",
    ]


def test_validate_event_is_strict_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Required details are asked for by default, and with `--lenient` not."""
    text = json.dumps(event("validation.started"))
    strict = check(monkeypatch, "validate-pattern-event", text)
    assert strict.code == 1
    assert "stdin: /details/validation_type" in strict.lines
    assert check(monkeypatch, "validate-pattern-event", text, "--lenient").code == 0


def test_validate_good_events_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Success prints no data, only how many documents there were."""
    result = check(monkeypatch, "validate-pattern-event", json.dumps(whole_run()))
    assert (result.code, result.out, result.err) == (0, "", "otel-patterns: 7 events are valid\n")


def test_validate_anomalies_are_warnings_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is odd about the runs that the events form is told without failing."""
    text = "\n".join(json.dumps(item) for item in (*whole_run()[:5], whole_run()[6]))
    result = check(monkeypatch, "validate-pattern-event", text)
    assert (result.code, result.out) == (0, "")
    assert f"warning: {RUN_ID}: no_start" in result.err


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"", "there must be a document"),
        (b" \n", "there must be a document"),
        (b"[]", "there must be a document"),
        (b"\xff", "it must be UTF-8"),
        (b'{"a": 1', "it must be JSON"),
        (b'{\n"a": 1,\n}', "it must be JSON"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "it must be JSON"),
        (b"1" * 10_000, "it must be JSON"),
        (b"3", "an event must be a JSON object"),
    ],
)
def test_validate_no_document_is_a_problem(monkeypatch: pytest.MonkeyPatch, data: bytes, rule: str) -> None:
    """What is no JSON document is reported like any other problem, once."""
    result = check(monkeypatch, "validate-pattern-event", data)
    assert result.code == 1
    assert [line for line in result.lines if rule in line]
    assert sum(not line.startswith(" ") for line in result.lines) == 1


def test_validate_bad_line_among_good_ones_is_the_only_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torn line does not hide the others; U+2028 inside a string ends no line."""
    good = json.dumps({**whole_run()[0], "note": "\u2028"}, ensure_ascii=False)
    result = check(monkeypatch, "validate-pattern-event", f"{good}\n{good[:50]}\n{good}")
    assert [line for line in result.lines if not line.startswith(" ")] == ["stdin: line 2: the document"]


def test_validate_files_are_read_in_turn(tmp_path: Path) -> None:
    """A file that cannot be read fails the command and does not keep it from the next one."""
    path = write_journal(tmp_path / "j", [BAD])
    result = call("validate-pattern-event", "--lenient", str(tmp_path / "none"), path)
    assert result.code == 1
    assert "No such file" in result.err
    assert result.lines[0] == f"{path}: /status"


def test_validate_byte_order_mark_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of other systems may start with a mark."""
    data = b"\xef\xbb\xbf" + json.dumps(whole_run()[0]).encode()
    assert check(monkeypatch, "validate-pattern-event", data).code == 0


def test_validate_run_accepts_what_runs_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `runs --json` and `run --json` print is what `validate-pattern-run` accepts."""
    path = write_journal(tmp_path / "j", [*whole_run(), event("execution.started", 9, run_id="PRUN-2")])
    for argv in (("runs",), ("run", RUN_ID)):
        result = check(monkeypatch, "validate-pattern-run", call(*argv, "--json", "--journal", path).out)
        assert (result.code, result.out) == (0, "")


def test_validate_run_tells_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run document is checked like an event."""
    document: dict[str, Any] = {"pattern_run_id": "X"}
    result = check(monkeypatch, "validate-pattern-run", json.dumps(document))
    assert result.code == 1
    assert "stdin: /pattern_run_id" in result.lines
    assert "stdin: /pattern_id" in result.lines

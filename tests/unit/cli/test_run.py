"""`otel-patterns run`: finding a run, showing it, and the links to its trace."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from dirty_equals import IsPartialDict

from otel_patterns.model.ids import trace_id
from otel_patterns.testing import START_UNIX_NANO
from tests.unit.cli.support import JOB_ID, RUN_ID, call, event, whole_run, write_journal

OTHER_RUN = "PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7W"
TRACE_ID = trace_id(JOB_ID, RUN_ID)
CALLER = "0123456789abcdef0123456789abcdef"


def run_of(tmp_path: Path, documents: list[dict[str, Any]], *argv: str, **more: Any) -> list[str]:
    """Return the lines that `run` prints of the first document's run."""
    path = write_journal(tmp_path / "j", documents)
    result = call("run", documents[0]["pattern_run_id"], "--journal", path, *argv, **more)
    assert result.code == 0, result.err
    return result.lines


def section(lines: list[str], title: str) -> list[str]:
    """Return the lines below a title, up to the next empty one."""
    rest = lines[lines.index(title) + 1 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_run_shows_every_section_of_a_whole_run(tmp_path: Path) -> None:
    """Header, waterfall, events with details, artifacts and outputs; nothing that is ours alone."""
    documents = whole_run()
    documents[0]["details"]["otel"] = {"v": 1, "sampled": True}
    lines = run_of(tmp_path, documents)
    assert lines[:9] == [
        f"✓ success  {RUN_ID}",
        "  pattern    PAT-SEMGREP-001 1.2.0",
        "  operation  semgrep_scan",
        "  job        JOB-NIGHTLY-12",
        "  started    2026-11-22T09:30:02.000Z",
        "  duration   2.00 s (4.00 s with what came before the execution)",
        f"  trace      {TRACE_ID}",
        f"  Jaeger     http://localhost:16686/trace/{TRACE_ID}",
        "",
    ]
    assert section(lines, "Stages") == [
        "  selection     +0 ms  500 ms  ██████▏",
        "  template    +500 ms  500 ms        ██████▎",
        "  validation  +1.00 s  1.00 s              ████████████▌",
        "  execution   +2.00 s  2.00 s                          ▐████████████████████████",
    ]
    assert section(lines, "Artifacts") == ["  out/findings.sarif"]
    assert section(lines, "Outputs") == ["  exit_code: 0", "  duration_seconds: 2", "  findings: 3"]
    assert sum("EVT-" in line for line in section(lines, "Events")) == len(documents)
    assert not any("otel" in line for line in lines)


def test_run_events_have_offset_and_details(tmp_path: Path) -> None:
    """Each event tells when it came after the first one, and its details as lines."""
    documents = [event("execution.started", details={"command": "x", "env": {"a": [1]}, "log": "one\n\ttwo"})]
    lines = run_of(tmp_path, [*documents, event("execution.completed", 1.5, status="success")])
    assert section(lines, "Events") == [
        f"    +0 ms  ● execution.started  {documents[0]['event_id']}",
        "      command: x",
        '      env: {"a": [1]}',
        "      log:",
        "        one",
        "            two",
        f"  +1.50 s  ✓ execution.completed  {event('execution.completed', 1.5)['event_id']}",
    ]


def test_run_failed_shows_the_error_once(tmp_path: Path) -> None:
    """The error has a section of its own, with what the tool said; its event does not repeat it."""
    details = {"exit_code": 1, "error_type": "tool_error", "error_message": "bad", "stderr_preview": "line 1\nline 2"}
    documents = [event("execution.started"), event("execution.failed", 1, status="failed", details=details)]
    lines = run_of(tmp_path, documents)
    assert section(lines, "Error") == [
        "  type: tool_error",
        "  message: bad",
        "  exit_code: 1",
        "  stderr:",
        "    line 1",
        "    line 2",
    ]
    assert sum("line 1" in line for line in lines) == 1


def test_run_going_on_shows_its_open_stage_until_now(tmp_path: Path) -> None:
    """An opener without a closer is running: its bar ends now, and the run's duration grows."""
    lines = run_of(tmp_path, [event("execution.started")], seconds_later=90)
    assert "  duration   1 m 30 s+" in lines
    assert section(lines, "Stages")[0].endswith("█ running")


def test_run_ended_shows_an_open_stage_as_not_closed(tmp_path: Path) -> None:
    """A stage nobody closed lasts until the run's end and says so."""
    documents = [
        event("validation.started"),
        event("execution.started", 1),
        event("execution.completed", 2, status="success"),
    ]
    first, second = section(run_of(tmp_path, documents), "Stages")
    assert first.startswith("  validation    +0 ms  2.00 s")
    assert first.endswith("not closed")
    assert second.startswith("  execution   +1.00 s  1.00 s")


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_run_waterfall_is_scaled_to_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Bars take what the terminal has, and no more."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = section(run_of(tmp_path, whole_run(), "--color", "never", is_terminal=True), "Stages")
    assert columns - 1 <= max(map(len, lines)) <= columns


def test_run_encoding_without_blocks_draws_ascii(tmp_path: Path) -> None:
    """Where stdout cannot print blocks, bars are drawn of `#`."""
    lines = section(run_of(tmp_path, whole_run(), encoding="ascii"), "Stages")
    assert "".join(lines).isascii()
    assert lines[-1].endswith("####")


def test_run_anomalies_are_listed(tmp_path: Path) -> None:
    """What is odd about a run is shown with it."""
    lines = run_of(tmp_path, [event("execution.completed", status="success"), event("execution.started", 1)])
    assert "end_before_start" in section(lines, "Anomalies")[0]


def test_run_json_is_the_run_with_trace_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --json` is the run of the schema plus the trace id and a link for each program."""
    monkeypatch.setenv("OTEL_PATTERNS_GRAFANA_URL", "https://grafana.example/")
    monkeypatch.setenv("OTEL_PATTERNS_JAEGER_URL", "https://jaeger.example/ui/")
    path = write_journal(tmp_path / "j", whole_run())
    run = json.loads(call("run", RUN_ID, "--json", "--journal", path).out)
    listed = json.loads(call("runs", "--json", "--journal", path).out)
    assert run == IsPartialDict(listed)
    assert set(run) - set(listed) == {"trace_id", "links"}
    assert run["trace_id"] == TRACE_ID
    assert run["links"]["jaeger"] == f"https://jaeger.example/ui/trace/{TRACE_ID}"
    url = urlsplit(str(run["links"]["grafana"]))
    panes = json.loads(parse_qs(url.query)["panes"][0])["trace"]
    assert (url.netloc, url.path) == ("grafana.example", "/explore")
    assert panes["queries"][0]["query"] == TRACE_ID
    start = START_UNIX_NANO // 1_000_000
    assert panes["range"] == {"from": str(start - 60_000), "to": str(start + 4_000 + 60_000)}


def test_run_going_on_is_linked_until_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link to a run that has no end looks up to the moment at which it is opened."""
    monkeypatch.setenv("OTEL_PATTERNS_GRAFANA_URL", "https://grafana.example")
    (line,) = run_of(tmp_path, [event("execution.started")], "--json")
    assert "%22to%22%3A%22now%22" in json.loads(line)["links"]["grafana"]


def test_run_joined_to_a_caller_has_the_callers_trace(tmp_path: Path) -> None:
    """A run that is a child of a caller's span is found in the caller's trace."""
    otel = {"v": 1, "traceparent": f"00-{CALLER}-0123456789abcdef-01", "join": "child", "sampled": True}
    (line,) = run_of(tmp_path, [event("execution.started", details={"otel": otel})], "--json")
    assert json.loads(line)["trace_id"] == CALLER


def test_run_not_sampled_says_so(tmp_path: Path) -> None:
    """Nobody should look for a trace that was never sent."""
    lines = run_of(tmp_path, [event("execution.started", details={"otel": {"v": 1, "sampled": False}})])
    assert any("not sampled" in line for line in lines)


@pytest.mark.parametrize(
    ("sampled", "wanted"), [(True, "exported by the program itself"), (False, "its program has not exported it")]
)
def test_run_native_says_who_exported_it(tmp_path: Path, wanted: str, *, sampled: bool) -> None:
    """The trace of a native run is its program's; of one that was not sampled there is none, and no replay sends it."""
    otel = {"v": 1, "native": True, "sampled": sampled}
    shown = "\n".join(run_of(tmp_path, [event("execution.started", details={"otel": otel})]))
    assert wanted in shown
    assert "replay --unsampled" not in shown


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal with two runs whose ids differ in the end."""
    return write_journal(tmp_path / "j", [*whole_run(), *whole_run(OTHER_RUN, 60)])


@pytest.mark.parametrize("text", [RUN_ID, "6T7V", "6t7v", "…5S6T7V", "...5S6T7V", RUN_ID[5:], RUN_ID.lower()])
def test_run_id_that_only_one_run_goes_by_is_accepted(journal: str, text: str) -> None:
    """The whole id, its beginning or its end, in any case, as far as it is unique."""
    assert json.loads(call("run", text, "--json", "--journal", journal).out)["pattern_run_id"] == RUN_ID


def test_run_unique_prefix_is_accepted(tmp_path: Path) -> None:
    """The beginning of an id is enough when one run has it."""
    path = write_journal(tmp_path / "j", [event("execution.started", run_id="PRUN-TEST-001"), *whole_run()])
    assert call("run", "PRUN-TE", "--journal", path).code == 0


def test_run_prefix_of_several_runs_fails_and_names_them(journal: str) -> None:
    """An id that several runs go by is refused, and they are named, the latest first."""
    result = call("run", RUN_ID[:-1], "--journal", journal)
    assert (result.code, result.out) == (1, "")
    assert f"2 runs go by {RUN_ID[:-1]}: {OTHER_RUN}, {RUN_ID}" in result.err


def test_run_unknown_id_fails_with_close_matches(journal: str) -> None:
    """A typing error in an id is answered with the ids that are like it."""
    result = call("run", RUN_ID.replace("Q1M2", "Q1M3"), "--journal", journal)
    assert (result.code, result.out) == (1, "")
    assert "did you mean" in result.err
    assert RUN_ID in result.err


@pytest.mark.parametrize("text", ["", "…", "PRUN-NOBODY", "\x1b[2J"])
def test_run_unknown_id_like_no_other_fails(journal: str, text: str) -> None:
    """An id that is like none is told as it was given, safely."""
    result = call("run", text, "--journal", journal)
    assert (result.code, result.out) == (1, "")
    assert "there is no run" in result.err
    assert "\x1b" not in result.err

"""`otel-patterns events`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_patterns.journal import follow as follow_module
from otel_patterns.journal import read as read_module
from otel_patterns.journal.cursor import BEGINNING, Cursor
from otel_patterns.journal.lines import Line, ReadReport
from tests.unit.cli.support import JOB_ID, RUN_ID, call, event, whole_run, write_journal
from tests.unit.journal.lines import cursor_at

OTHER_RUN = "PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7W"


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal with one whole run and one that is going on."""
    return write_journal(
        tmp_path / "journal.jsonl",
        [
            *whole_run(),
            event("execution.started", 60, run_id=OTHER_RUN, job_id="JOB-2", step_id="STEP-7", pattern_id="PAT-X"),
        ],
    )


def types(*argv: str) -> list[str]:
    """Return the event types that `events --json` prints."""
    return [json.loads(line)["event_type"].removeprefix("pattern.") for line in call("events", "--json", *argv).lines]


def test_events_json_is_the_journal_byte_by_byte(tmp_path: Path) -> None:
    """`--json` prints the lines as they stand in the journal: spacing, key order and unknown keys included."""
    document = {"later": {"x": 1}, **event("execution.started")}
    lines = [json.dumps(document).encode(), json.dumps(document, indent=None, separators=(" , ", ": ")).encode()]
    path = write_journal(tmp_path / "j", lines)
    assert call("events", "--json", "--journal", path).out.encode() == b"\n".join(lines) + b"\n"


def test_events_json_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    """The mark belongs to the file; an object that starts with it is no JSON."""
    line = json.dumps(event("execution.started")).encode()
    path = write_journal(tmp_path / "j", [b"\xef\xbb\xbf" + line])
    assert call("events", "--json", "--journal", path).out.encode() == line + b"\n"


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ((), 8),
        (("--job", JOB_ID), 7),
        (("--job-id", "JOB-2"), 1),
        (("--run", OTHER_RUN), 1),
        (("--pattern-run-id", RUN_ID), 7),
        (("--run", "6T7w"), 1),
        (("--pattern", "PAT-X"), 1),
        (("--step", "STEP-7"), 1),
        (("--type", "execution"), 3),
        (("--type", "execution.started"), 2),
        (("--type", "pattern.execution.completed"), 1),
        (("--status", "success"), 1),
        (("--since", "2026-11-22T09:30:02Z"), 4),
        (("--until", "2026-11-22T09:30:02Z"), 4),
        (("--since", "59m"), 1),
        (("--limit", "3"), 3),
        (("--limit", "0"), 0),
        (("--limit", "1", "--type", "selection"), 1),
    ],
)
def test_events_filter_passes_what_it_names(journal: str, filters: tuple[str, ...], count: int) -> None:
    """Each filter keeps the events it names; without a limit everything is printed."""
    assert len(types("--journal", journal, *filters)) == count


def test_events_limit_is_the_last_ones_in_order(journal: str) -> None:
    """`--limit` keeps the end of the journal, oldest first."""
    assert types("--journal", journal, "--limit", "2") == ["execution.completed", "execution.started"]


def test_events_text_is_one_line_an_event(journal: str) -> None:
    """Each line tells time, status, type, pattern, run and what matters of the details."""
    line = call("events", "--journal", journal, "--type", "execution.completed").lines[0]
    assert line == (
        "2026-11-22T09:30:04.000Z ✓ execution.completed  PAT-SEMGREP-001    PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7V"
        "  exit 0 · findings 3 · 2.00 s · 1 artifact"
    )


def test_events_text_never_shows_what_is_recorded_for_projections(tmp_path: Path) -> None:
    """`details.otel` is ours and says nothing to people."""
    path = write_journal(tmp_path / "j", [event("execution.started", details={"otel": "secret", "command": "x"})])
    assert "secret" not in call("events", "--journal", path).out


@pytest.mark.parametrize("columns", [60, 80, 100, 120, 140])
def test_events_terminal_is_never_wider_than_it_is(journal: str, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """On a terminal an event takes one line of it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = call("--color", "never", "events", "--journal", journal, is_terminal=True).lines
    assert max(map(len, lines)) <= columns


def test_events_encoding_without_the_signs_falls_back_to_ascii(journal: str) -> None:
    """Where stdout can print ASCII only, nothing else is printed."""
    assert call("events", "--journal", journal, "--limit", "1", encoding="ascii").lines[0].split()[1] == "*"


def test_events_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    """A journal that is not there yet is no failure, but its path is told."""
    result = call("events", "--json")
    assert (result.code, result.out) == (0, "")
    assert str(tmp_path / "state/events/pattern_events.jsonl") in result.err


def test_events_journal_of_the_environment_is_read(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_PATTERNS_JOURNAL` names the journal; the option goes before it, on either side of the command."""
    monkeypatch.setenv("OTEL_PATTERNS_JOURNAL", journal)
    assert len(types()) == 8
    assert call("--journal", "nowhere", "events").out == ""
    assert call("events", "--journal", "nowhere").out == ""


def test_events_bad_lines_are_told_once(tmp_path: Path) -> None:
    """Skipped lines are one line on stderr: how many, where the first is, and why."""
    path = write_journal(tmp_path / "j", [event("execution.started"), b"{", b"[]"])
    result = call("events", "--journal", path)
    offset = len(json.dumps(event("execution.started"))) + 1
    assert result.code == 0
    assert len(result.lines) == 1
    assert result.err.count("\n") == 1
    assert f"skipped 2 lines that are no events, the first at byte {offset} of j: not JSON" in result.err


def test_events_filter_by_id_tells_torn_lines_and_looks_no_closer(tmp_path: Path) -> None:
    """Of lines that do not name the id only those are told that begin or end in another way than events."""
    good = json.dumps(event("execution.started"))
    bad = [
        good[: len(good) // 2],
        "\0\0",
        json.dumps({"event_id": "EVT-1"}),
        json.dumps({"event_id": "EVT-1", "j": JOB_ID}),
    ]
    path = write_journal(tmp_path / "j", [good.encode(), *(line.encode() for line in bad)])
    assert "skipped 4 lines" in call("events", "--journal", path).err
    result = call("events", "--json", "--journal", path, "--job", JOB_ID)
    assert (len(result.lines), result.err.partition(" at ")[0]) == (
        1,
        "otel-patterns: skipped 3 lines that are no events, the first",
    )


@pytest.mark.parametrize("filters", [(), ("--job", JOB_ID), ("--type", "execution")])
def test_events_json_of_a_large_journal_is_that_of_a_small_one(
    journal: str, monkeypatch: pytest.MonkeyPatch, filters: tuple[str, ...]
) -> None:
    """How much there is decides how it is read, not what is printed and told."""
    with Path(journal).open("ab") as file:
        file.write(b"{}\n\n" + json.dumps(event("execution.started")).encode() + b"\r\n")
    small = call("events", "--json", "--journal", journal, *filters)
    monkeypatch.setattr(read_module, "_MANY_BYTES", 0)
    assert call("events", "--json", "--journal", journal, *filters) == small
    assert "skipped" in small.err


def test_events_nothing_matches_is_told(journal: str) -> None:
    """Somebody who sees nothing learns that there was something to choose from."""
    result = call("events", "--journal", journal, "--status", "skipped")
    assert (result.code, result.out) == (0, "")
    assert "no event" in result.err


def test_events_journal_that_is_a_directory_fails_in_one_line(tmp_path: Path) -> None:
    """What cannot be read is one clear line on stderr and exit code 1."""
    result = call("events", "--journal", str(tmp_path))
    assert (result.code, result.err) == (1, f"otel-patterns: {tmp_path}: is no regular file\n")


Restart = Callable[[str], None]


class FakeFollowing:
    """Stands in for `follow_lines`: yields these documents from the offset on; a text is a restart for that reason."""

    def __init__(self, *items: Any) -> None:
        self._items = items
        self.starts: list[Cursor | None] = []

    def __call__(self, path: str, *, start: Cursor | None, on_restart: Restart, report: ReadReport) -> Iterator[Line]:
        report.path = path
        self.starts.append(start)
        for item in self._items:
            if isinstance(item, str):
                on_restart(item)
            else:
                yield Line(0, item if isinstance(item, bytes) else json.dumps(item).encode())
        raise KeyboardInterrupt


def follow(monkeypatch: pytest.MonkeyPatch, following: FakeFollowing) -> None:
    """Let `events --follow` follow something else than a file."""
    monkeypatch.setattr(follow_module, "follow_lines", following)


def test_follow_interrupted_ends_with_130(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is the way to end following; there is no traceback."""
    follow(monkeypatch, FakeFollowing(event("execution.started")))
    result = call("events", "--follow", "--journal", journal)
    assert (result.code, len(result.lines), result.err) == (130, 1, "")


def test_follow_without_limit_reads_from_the_beginning(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there and what comes is one reading, without a seam in which an event could get lost."""
    following = FakeFollowing()
    follow(monkeypatch, following)
    call("events", "--follow", "--journal", journal)
    assert following.starts == [BEGINNING]


def test_follow_with_limit_goes_on_behind_the_last_event(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last N events following starts right behind the last of them: nothing twice, nothing lost."""
    following = FakeFollowing()
    follow(monkeypatch, following)
    result = call("events", "--follow", "--limit", "2", "--journal", journal)
    assert len(result.lines) == 2
    assert following.starts == [cursor_at(Path(journal), Path(journal).stat().st_size)]


def test_follow_with_limit_and_filter_goes_on_behind_the_last_match(
    journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines behind the last match that did not match are looked at again, which shows nothing twice."""
    following = FakeFollowing()
    follow(monkeypatch, following)
    call("events", "--follow", "--limit", "2", "--job", JOB_ID, "--journal", journal)
    lines = Path(journal).read_bytes().splitlines(keepends=True)
    assert following.starts == [cursor_at(Path(journal), sum(map(len, lines[:7])))]


@pytest.mark.parametrize(("limit", "start"), [("0", None), ("5", BEGINNING)])
def test_follow_with_limit_and_no_match_starts_where_none_can_be_missed(
    journal: str, monkeypatch: pytest.MonkeyPatch, limit: str, start: Cursor | None
) -> None:
    """Limit 0 asks for new events only; when nothing matched so far, all of the journal is looked at."""
    following = FakeFollowing()
    follow(monkeypatch, following)
    call("events", "--follow", "--limit", limit, "--status", "skipped", "--journal", journal)
    assert following.starts == [start]


def test_follow_after_a_restart_drops_what_was_printed(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file began anew, its copies of events already printed are dropped, new ones are not."""
    first, second = event("execution.started"), event("execution.completed", 1, status="success")
    follow(monkeypatch, FakeFollowing(first, "replaced", first, second))
    result = call("events", "--follow", "--json", "--journal", journal)
    assert [json.loads(line) for line in result.lines] == [first, second]
    assert "the journal was replaced" in result.err


def test_follow_filter_holds_for_new_events(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """New events pass the same filters as old ones."""
    follow(monkeypatch, FakeFollowing(event("execution.started"), event("execution.failed", status="failed")))
    assert len(call("events", "--follow", "--status", "failed", "--journal", journal).lines) == 1


def test_follow_bad_lines_are_told_at_once_and_in_the_end(journal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bad line is told when it comes, how many there were when following ends."""
    follow(monkeypatch, FakeFollowing(b"{", event("execution.started"), b"{"))
    result = call("events", "--follow", "--journal", journal)
    assert len(result.lines) == 1
    assert [line.split(":")[1].split(" at ")[0] for line in result.err.splitlines()] == [
        " skipped line that is no event",
        " skipped 2 lines that are no events, the first",
    ]


@pytest.mark.parametrize(("now", "count"), [(61, 6), (62, 4), (64, 2), (65, 1)])
def test_events_relative_time_is_counted_from_the_clock(journal: str, now: int, count: int) -> None:
    """`--since 1m` means one minute before now, whatever now is."""
    assert len(call("events", "--journal", journal, "--since", "1m", seconds_later=now).lines) == count

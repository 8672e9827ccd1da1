"""`otel-patterns replay`."""

from pathlib import Path

import pytest

from otel_patterns.cli import replay as replay_command
from otel_patterns.tracing.answers import Answer
from tests.unit.cli.sinks import FakeSink, send_to_fake
from tests.unit.cli.support import RUN_ID, call, event, whole_run, write_journal

OPEN_RUN = "PRUN-TEST-001"


@pytest.fixture(autouse=True)
def sink(monkeypatch: pytest.MonkeyPatch) -> type[FakeSink]:
    """Let the command send to a fake."""
    return send_to_fake(monkeypatch, replay_command)


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal with a run that has ended and one that has not."""
    return write_journal(
        tmp_path / "j", [*whole_run(), event("execution.started", 60, run_id=OPEN_RUN, job_id="JOB-2")]
    )


def test_replay_acknowledged_is_done(journal: str) -> None:
    """Each run is one line; when all was acknowledged the command is done, and the next replay sends nothing."""
    result = call("replay", "--journal", journal)
    assert result.code == 0
    assert result.lines == [
        f"{RUN_ID}  sending 5 spans  semgrep_scan PAT-SEMGREP-001",
        f"{OPEN_RUN}  sending 1 span  still going on",
    ]
    assert "http://localhost:4318/v1/traces: 2 runs delivered (6 spans), 1 of these still going on" in result.err
    again = call("replay", "--journal", journal)
    assert (again.code, again.out) == (0, "")
    assert "0 runs delivered (0 spans), 2 delivered before" in again.err


def test_replay_forced_sends_again(journal: str) -> None:
    """`--force` sends what was acknowledged before."""
    call("replay", "--journal", journal)
    assert len(call("replay", "--force", "--journal", journal).lines) == 2


def test_replay_dry_run_sends_nothing(journal: str, sink: type[FakeSink], tmp_path: Path) -> None:
    """`--dry-run` tells what would be sent, and leaves neither request nor file behind."""
    result = call("replay", "--dry-run", "--journal", journal)
    assert (result.code, len(result.lines), sink.bodies) == (0, 2, [])
    assert "2 runs to send" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["j"]


@pytest.mark.parametrize("option", [(), ("--dry-run",), ("--run", RUN_ID)], ids=["all", "dry run", "one run"])
def test_replay_tells_of_a_line_that_is_no_event_and_sends_the_rest(journal: str, option: tuple[str, ...]) -> None:
    """A torn line costs only itself: it is named with its place, and the runs are sent as ever."""
    path = Path(journal)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"torn\n" + b"\xff\n")
    result = call("replay", "--journal", journal, *option)
    assert result.code == 0
    assert len(result.lines) == (1 if RUN_ID in option else 2)
    assert f"skipped 2 lines that are no events, the first at byte {size} of j: not JSON" in result.err


def test_replay_refused_is_owed(journal: str, sink: type[FakeSink]) -> None:
    """What is not acknowledged fails the command, with what the destination said and what to do."""
    sink.answer = Answer("misconfigured", "HTTP 404: check the endpoint")
    result = call("replay", "--journal", journal)
    assert result.code == 1
    assert "2 owed" in result.err
    assert "not delivered: http://localhost:4318/v1/traces: HTTP 404: check the endpoint" in result.err
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in result.err


def test_replay_parked_is_shown_not_owed_and_sent_on_request(journal: str, sink: type[FakeSink]) -> None:
    """What the receiver does not want is counted with its words, and only `--parked` sends it again."""
    sink.answer = Answer("rejected", "too old", rejected_spans=4)
    first = call("replay", "--journal", journal)
    assert first.code == 0
    assert "0 runs delivered (0 spans)" in first.err
    assert "6 spans parked: rejected: too old (6)." in first.err
    again = call("replay", "--force", "--journal", journal)
    assert (again.code, again.out, sink.bodies) == (0, "", [])
    assert "6 spans parked: rejected: too old (6)." in again.err
    sink.answer = Answer("acknowledged", "old, but fine")
    asked = call("replay", "--parked", "--journal", journal)
    assert (asked.code, len(asked.lines), len(sink.bodies)) == (0, 2, 1)
    assert "2 runs delivered (6 spans)" in asked.err
    assert "warning of the receiver: old, but fine" in asked.err
    assert "parked" not in call("replay", "--journal", journal).err


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        (("--run", RUN_ID), [RUN_ID]),
        (("--run", "6T7V"), [RUN_ID]),
        (("--job", "JOB-2"), [OPEN_RUN]),
        (("--since", "2026-11-22T09:30:30Z"), [OPEN_RUN]),
    ],
)
def test_replay_selection_names_runs(journal: str, argv: tuple[str, ...], wanted: list[str]) -> None:
    """Run, job and time choose what is replayed."""
    lines = call("replay", "--dry-run", "--journal", journal, *argv).lines
    assert [line.split()[0] for line in lines] == wanted


def test_replay_unsampled_is_sent_on_request(tmp_path: Path) -> None:
    """A run that the sampler left out is never owed; `--unsampled` sends it all the same."""
    path = write_journal(tmp_path / "j", [event("execution.started", details={"otel": {"v": 1, "sampled": False}})])
    left_out = call("replay", "--journal", path)
    assert (left_out.code, left_out.out) == (0, "")
    assert "1 not sampled" in left_out.err
    assert len(call("replay", "--unsampled", "--journal", path).lines) == 1


def test_replay_unknown_run_fails(journal: str) -> None:
    """Replaying a run that is not there is no success."""
    result = call("replay", "--run", "PRUN-NOBODY", "--journal", journal)
    assert result.code == 1
    assert "there is no run" in result.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ],
)
def test_replay_environment_that_cannot_send_is_wrong_usage(
    journal: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A setting that keeps runs from being sent is named, with exit code 2."""
    monkeypatch.setenv(name, value)
    result = call("replay", "--journal", journal)
    assert (result.code, result.out) == (2, "")
    assert name in result.err


def test_replay_no_journal_is_an_empty_one() -> None:
    """Without a journal nothing is owed."""
    result = call("replay")
    assert result.code == 0
    assert "there is no journal" in result.err

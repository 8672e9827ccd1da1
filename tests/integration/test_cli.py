"""The command line in a process of its own, as people and other programs start it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.receiver import Receiver, Reply
from tests.unit.cli.support import RUN_ID, event, whole_run, write_journal

COMMAND = (sys.executable, "-m", "otel_patterns")
# Far more than what is promised, so that a busy machine does not fail the test.
DEADLINE_SECONDS = 20.0
# Where the tests are a background job of a shell, programs they start ignore Ctrl-C.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from otel_patterns.cli import main; raise SystemExit(main())"
)
SHIM = "from otel_patterns.cli import main; raise SystemExit(main())\n"


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what the command line would read from it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, "PYTHONIOENCODING": "utf-8", **(more or {})}


def run(*argv: str, stdin: str = "", env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        argv, input=stdin, env=environment(env), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return the path of a journal with one run."""
    return write_journal(tmp_path / "journal.jsonl", whole_run())


@pytest.mark.parametrize("argv", [["events"], ["events", "--json", "--limit", "2"], ["--help"], ["run", "--help"]])
def test_start_of_quick_commands_loads_no_heavy_library(journal: str, argv: list[str]) -> None:
    """Reading events and asking for help start fast: none of pydantic, msgspec and OpenTelemetry is imported."""
    program = (
        "import sys; from otel_patterns.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'pydantic', 'pydantic_core', 'msgspec', 'opentelemetry', 'google', 'urllib3', 'rich'};"
        "print(code, sorted(heavy & {name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    result = run(sys.executable, "-c", program, "--journal", journal, *argv)
    assert result.stderr == "0 []\n"
    assert result.stdout


def test_module_is_the_command(journal: str) -> None:
    """`python -m otel_patterns` prints what `otel-patterns` prints."""
    script = Path(sys.executable).with_name("otel-patterns")
    if not script.exists():
        pytest.skip("the package is not installed as a command")
    results = [run(*command, "run", RUN_ID, "--journal", journal) for command in (COMMAND, (str(script),))]
    assert {(result.returncode, result.stderr) for result in results} == {(0, "")}
    assert results[0].stdout == results[1].stdout


@pytest.fixture
def shims(tmp_path: Path) -> dict[str, str]:
    """Return the environment of an engine whose modules are the one-line shims of our docs."""
    engine = tmp_path / "src" / "core" / "engine"
    engine.mkdir(parents=True)
    (engine / "pattern_inspect.py").write_text(SHIM)
    (engine.parent / "validation.py").write_text(SHIM)
    return {"PYTHONPATH": str(tmp_path / "src")}


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["events"], "selection.started"),
        (["events", "--pattern-run-id", RUN_ID], "selection.started"),
        (["run", RUN_ID], "Stages"),
    ],
)
def test_shim_of_pattern_inspect_shows_the_journal(
    journal: str, shims: dict[str, str], argv: list[str], part: str
) -> None:
    """The guide's `python -m core.engine.pattern_inspect` works with one line."""
    env = {**shims, "OTEL_PATTERNS_JOURNAL": journal}
    result = run(sys.executable, "-m", "core.engine.pattern_inspect", *argv, env=env)
    assert (result.returncode, result.stderr) == (0, "")
    assert part in result.stdout


@pytest.mark.parametrize(("status", "code"), [("in_progress", 0), ("done", 1)])
def test_shim_of_validation_checks_stdin(shims: dict[str, str], status: str, code: int) -> None:
    """The guide's `python -m core.validation validate-pattern-event < event.json` works with one line."""
    document = json.dumps({**whole_run()[0], "status": status}, indent=2)
    argv = (sys.executable, "-m", "core.validation", "validate-pattern-event")
    assert run(*argv, stdin=document, env=shims).returncode == code


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_events_reader_gone_ends_silently(tmp_path: Path, options: list[str]) -> None:
    """`otel-patterns events | head -1` prints one line and no complaint."""
    path = write_journal(tmp_path / "j", whole_run() * 2000)
    process = subprocess.Popen(
        (*COMMAND, "events", "--journal", path, *options),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        assert b"selection.started" in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.wait(DEADLINE_SECONDS) == 141


class Following:
    """A running `events --follow` and the lines it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        self._stdout = process.stdout
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._stdout:
            self._lines.put(line)

    def next_id(self) -> str:
        """Return the event id of the next line."""
        return json.loads(self._lines.get(timeout=DEADLINE_SECONDS))["event_id"]

    def interrupt(self) -> tuple[int, list[str]]:
        """Press Ctrl-C; return the exit code and what was printed and not asked for."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(DEADLINE_SECONDS)
        self._thread.join(DEADLINE_SECONDS)
        return code, list(self._lines.queue)


@contextmanager
def following(path: Path, *options: str) -> Generator[Following, None, None]:
    """Yield a process that follows the journal."""
    with subprocess.Popen(
        (sys.executable, "-c", INTERRUPTIBLE, "events", "--follow", "--json", "--journal", str(path), *options),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Following(process)
        finally:
            process.kill()


def append(path: Path, *documents: object) -> None:
    """Append documents to a journal."""
    with path.open("ab") as file:
        for document in documents:
            file.write(json.dumps(document).encode() + b"\n")


def test_follow_prints_what_is_there_and_what_comes(tmp_path: Path) -> None:
    """Events that were there, that come, and that stand in a replaced file are printed once, at once, until Ctrl-C."""
    path = tmp_path / "journal.jsonl"
    events = [event("execution.started", number) for number in range(6)]
    append(path, *events[:2])
    with following(path) as follower:
        assert [follower.next_id() for _ in range(2)] == [item["event_id"] for item in events[:2]]
        for item in events[2:4]:
            begin = time.monotonic()
            append(path, item)
            assert follower.next_id() == item["event_id"]
            # 250 ms are promised; the rest is for a busy machine.
            assert time.monotonic() - begin < 2
        append(tmp_path / "copy", *events[:5])
        (tmp_path / "copy").rename(path)
        assert follower.next_id() == events[4]["event_id"]
        append(path, events[5])
        assert follower.next_id() == events[5]["event_id"]
        assert follower.interrupt() == (130, [])
        assert follower.process.stderr is not None
        error = follower.process.stderr.read()
    assert "the journal was replaced" in error
    assert "Traceback" not in error


def test_follow_with_limit_starts_with_the_last_ones(tmp_path: Path) -> None:
    """`--limit 1 --follow` prints the last event and then what comes, none of them twice."""
    path = tmp_path / "journal.jsonl"
    events = [event("execution.started", number) for number in range(4)]
    append(path, *events[:3])
    with following(path, "--limit", "1") as follower:
        assert follower.next_id() == events[2]["event_id"]
        append(path, events[3])
        assert follower.next_id() == events[3]["event_id"]
        assert follower.interrupt() == (130, [])


def test_follow_waits_for_a_journal_that_is_not_there(tmp_path: Path) -> None:
    """Following may begin before the engine has made its first directory."""
    path = tmp_path / "state" / "events" / "pattern_events.jsonl"
    with following(path) as follower:
        assert follower.process.stderr is not None
        assert str(path) in follower.process.stderr.readline()
        path.parent.mkdir(parents=True)
        append(path, event("execution.started"))
        assert follower.next_id() == event("execution.started")["event_id"]
        assert follower.interrupt() == (130, [])


def test_replay_delivers_and_remembers(journal: str) -> None:
    """Replay posts the run to a real receiver once; the second time nothing is owed."""
    with Receiver() as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url}
        first = run(*COMMAND, "replay", "--journal", journal, env=env)
        second = run(*COMMAND, "replay", "--journal", journal, env=env)
        assert len(receiver.requests) == 1
        assert {span.name.split()[0] for _, span in receiver.spans} == {
            "semgrep_scan",
            "selection",
            "template",
            "validation",
            "execution",
        }
    assert (first.returncode, second.returncode) == (0, 0)
    assert "1 run delivered (5 spans)" in first.stderr
    assert "1 delivered before" in second.stderr


def test_replay_receiver_that_refuses_leaves_it_owed(journal: str) -> None:
    """What the receiver said is told, the command fails, and the run is sent when the receiver takes it."""
    with Receiver(lambda number: Reply(status=401 if number == 1 else 200)) as receiver:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url}
        first = run(*COMMAND, "replay", "--journal", journal, env=env)
        second = run(*COMMAND, "replay", "--journal", journal, env=env)
    assert first.returncode == 1
    assert "HTTP 401" in first.stderr
    assert second.returncode == 0

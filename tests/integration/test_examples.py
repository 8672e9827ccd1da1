"""The examples, run as a person runs them: with their real tools, in a folder of their own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_patterns import PatternEvent, PatternRun, fold
from otel_patterns.model import ids, names
from otel_patterns.model.events import check_strict
from tests.backends.polling import wait_for
from tests.receiver import Receiver
from tests.schemas import STRICT_EVENT

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TIMEOUT_SECONDS = 100
# Nothing listens there: it takes root to.
DEAD_ENDPOINT = "http://127.0.0.1:1"
UNTIL_EXECUTION = [
    names.SELECTION_STARTED,
    names.SELECTION_RESOLVED,
    names.TEMPLATE_EXPANDED,
    names.VALIDATION_STARTED,
    names.VALIDATION_COMPLETED,
    names.EXECUTION_STARTED,
]


@dataclass(frozen=True)
class Example:
    """An example that has run, and the events it left."""

    exit_code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def events(self) -> list[PatternEvent]:
        """Return the journal's events."""
        return events_in(self.folder)

    @property
    def runs(self) -> list[PatternRun]:
        """Return the runs in the order in which they were made."""
        return list(fold(self.events).values())

    def events_of(self, run: PatternRun) -> list[PatternEvent]:
        """Return a run's events in journal order."""
        return [event for event in self.events if event.pattern_run_id == run.pattern_run_id]

    def run_of(self, pattern_id: str) -> PatternRun:
        """Return the first run of a pattern."""
        return next(run for run in self.runs if run.pattern_id == pattern_id)


def events_in(folder: Path) -> list[PatternEvent]:
    """Return the events of the journal in an example's working directory."""
    journal = folder / "state" / "events" / "pattern_events.jsonl"
    if not journal.exists():
        return []
    return [PatternEvent.from_document(json.loads(line)) for line in journal.read_text(encoding="utf-8").splitlines()]


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of an example: strict validation, no collector, nothing from this machine."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {
        **inherited,
        "OTEL_PATTERNS_VALIDATION": "strict",
        "OTEL_EXPORTER_OTLP_ENDPOINT": DEAD_ENDPOINT,
        **settings,
    }


def run_example(name: str, folder: Path, *, arguments: Sequence[str] = (), **settings: str) -> Example:
    """Run an example to its end in a folder."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    process = subprocess.run(
        command,
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Example(process.returncode, process.stdout, process.stderr, folder)


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Return the executor's runs; those of the last run took a moment."""
    return run_example("pattern_executor.py", tmp_path_factory.mktemp("executor"), arguments=["--slow", "0.2"])


def test_executor_leaves_the_events_of_each_run_in_lifecycle_order(executor: Example) -> None:
    """A run has every event of the lifecycle up to the one that ended it, once and in order."""
    assert executor.exit_code == 0, executor.stderr
    endings = {
        "PAT-SEMGREP-001": [*UNTIL_EXECUTION, names.EXECUTION_COMPLETED],
        "PAT-LICENSES-001": [*UNTIL_EXECUTION, names.EXECUTION_FAILED],
        "PAT-SOAK-001": [*UNTIL_EXECUTION, names.EXECUTION_COMPLETED],
    }
    passed, refused = (run for run in executor.runs if run.pattern_id == "PAT-PYTEST-001")
    types = {run.pattern_run_id: [event.event_type for event in executor.events_of(run)] for run in executor.runs}
    assert types.pop(passed.pattern_run_id) == [*UNTIL_EXECUTION, names.EXECUTION_COMPLETED]
    assert types.pop(refused.pattern_run_id) == [*UNTIL_EXECUTION[:4], names.VALIDATION_FAILED]
    for run in executor.runs:
        if run.pattern_run_id in types:
            assert types[run.pattern_run_id] == endings[run.pattern_id]


@pytest.mark.parametrize("name", ["pattern_executor.py", "pattern_events_example.py", "quickstart.py"])
def test_example_emits_only_strictly_valid_events(name: str, executor: Example, tmp_path: Path) -> None:
    """What people copy from has every detail that the guide's table requires, by the model and by the schema."""
    example = executor if name == "pattern_executor.py" else run_example(name, tmp_path)
    assert example.exit_code == 0, example.stderr
    assert example.events
    assert [problem for event in example.events for problem in check_strict(event)] == []
    assert [problem for event in example.events for problem in STRICT_EVENT.problems(event.to_dict())] == []


def test_executor_with_tools_that_work_completes_their_runs(executor: Example) -> None:
    """The suite's numbers are those of its report; processes, durations and files are real."""
    suite, soak = executor.run_of("PAT-PYTEST-001"), executor.run_of("PAT-SOAK-001")
    assert (suite.status, soak.status) == ("success", "success")
    assert {name: suite.outputs[name] for name in ("exit_code", "tests", "failures", "errors", "skipped")} == {
        "exit_code": 0,
        "tests": 6,
        "failures": 0,
        "errors": 0,
        "skipped": 0,
    }
    assert soak.outputs["duration_seconds"] >= 0.2
    assert soak.outputs["lines_printed"] == 2
    for run in (suite, soak):
        details = executor.events_of(run)[-1].details
        assert details["pid"] > 0
        assert details["duration_seconds"] > 0
        assert run.artifacts
        assert [path for path in run.artifacts if not (executor.folder / path).is_file()] == []


def test_executor_with_semgrep_completes_with_findings(executor: Example) -> None:
    """A scan that finds something did its work: a warning, with counts that agree with its report."""
    if "semgrep is not installed" in executor.stderr:
        pytest.skip("semgrep is not installed: `make semgrep`")
    run = executor.run_of("PAT-SEMGREP-001")
    report = next(path for path in run.artifacts if path.endswith(".json"))
    results = json.loads((executor.folder / report).read_text(encoding="utf-8"))["results"]
    assert run.status == "warning"
    assert run.outputs["finding_count"] == len(results) == 2
    assert run.outputs["files_scanned"] == 1
    assert run.outputs["severity_breakdown"] == {"high": 1, "medium": 1}


def test_executor_with_a_missing_command_fails_as_a_shell_would(executor: Example) -> None:
    """A tool that is not there is an execution that failed with 127, and the job goes on."""
    run = executor.run_of("PAT-LICENSES-001")
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error["type"], run.error["exit_code"]) == ("FileNotFoundError", 127)
    assert executor.runs[-1] is not run


def test_executor_with_a_failed_check_starts_nothing(executor: Example) -> None:
    """A run whose target is missing ends before execution and says which check failed."""
    run = [run for run in executor.runs if run.pattern_id == "PAT-PYTEST-001"][1]
    details = executor.events_of(run)[-1].details
    assert run.status == "failed"
    assert [check["check"] for check in details["failed_checks"]] == ["target_exists"]
    assert (details["checks_passed"], details["checks_failed"]) == (1, 1)
    assert run.tool_metadata == {}


def test_executor_prints_run_and_trace_ids_that_the_command_line_finds(executor: Example) -> None:
    """What is printed can be used: the first run's line, and the command that shows it."""
    printed = re.findall(r"^(PRUN-\S+) +trace (\w+)", executor.stdout, re.MULTILINE)
    assert printed == [(run.pattern_run_id, ids.trace_id(run.job_id, run.pattern_run_id)) for run in executor.runs]
    hint = re.search(r"^  \S*otel-patterns (run .*)$", executor.stdout, re.MULTILINE)
    assert hint is not None
    shown = subprocess.run(
        [sys.executable, "-m", "otel_patterns", *hint[1].split()],
        cwd=executor.folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert executor.runs[0].pattern_run_id in shown.stdout


def test_executor_without_a_collector_keeps_the_runs_and_says_so(executor: Example) -> None:
    """Nobody waits for a collector that is not there, and nobody is promised a link to it."""
    assert f"Nothing answers at {DEAD_ENDPOINT}/v1/traces" in executor.stderr
    assert "Jaeger" not in executor.stdout


def test_executor_with_a_collector_sends_each_run_and_prints_its_link(tmp_path: Path) -> None:
    """When something listens at the OTLP endpoint, every run is one trace there, under the printed id."""
    with Receiver() as receiver:
        example = run_example(
            "pattern_executor.py",
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.base_url,
            OTEL_PATTERNS_JAEGER_URL="http://jaeger.test",
        )
        roots = Counter(span.trace_id.hex() for _, span in receiver.spans if not span.parent_span_id)
        services = {
            attribute.value.string_value
            for group, _ in receiver.spans
            for attribute in group.resource.attributes
            if attribute.key == names.ATTR_SERVICE_NAME
        }
    assert example.exit_code == 0, example.stderr
    assert re.findall(r"http://jaeger\.test/trace/(\w+)", example.stdout) == [run.trace_id for run in example.runs]
    assert roots == {run.trace_id: 1 for run in example.runs}
    assert services == {"pattern-executor"}


def test_executor_without_semgrep_makes_the_other_runs(tmp_path: Path) -> None:
    """Semgrep is not to be had everywhere: its absence costs one run and is told."""
    script = "\n".join(
        [
            "import runpy, sys",
            "sys.prefix = '/nonexistent'  # where `make semgrep` puts it",
            f"sys.path.insert(0, {str(EXAMPLES)!r})",
            f"runpy.run_path({str(EXAMPLES / 'pattern_executor.py')!r}, run_name='__main__')",
        ]
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(PATH=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "semgrep is not installed" in process.stderr
    runs = Example(0, process.stdout, process.stderr, tmp_path).runs
    assert [run.pattern_id for run in runs] == ["PAT-PYTEST-001", "PAT-LICENSES-001", "PAT-PYTEST-001"]


def test_executor_with_an_endpoint_that_is_no_url_explains_and_starts_nothing(tmp_path: Path) -> None:
    """A variable that cannot be used is told at once, and not discovered when the traces are missing."""
    example = run_example("pattern_executor.py", tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318")
    assert example.exit_code == 2
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in example.stderr
    assert "Traceback" not in example.stderr
    assert example.events == []


def test_executor_that_is_interrupted_ends_the_run_that_goes_on(tmp_path: Path) -> None:
    """Ctrl-C during a tool leaves a failed run in the journal, not one that seems to go on for ever."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "pattern_executor.py"), "--slow", "60"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            started = wait_for(
                lambda: soak_events(tmp_path)[-1:],
                lambda last: names.EXECUTION_STARTED in last,
                timeout_seconds=TIMEOUT_SECONDS / 2,
            )
            process.send_signal(signal.SIGINT)
            process.wait(TIMEOUT_SECONDS / 2)
        finally:
            process.kill()
    assert started == [names.EXECUTION_STARTED]
    assert soak_events(tmp_path)[-1] == names.EXECUTION_FAILED
    assert events_in(tmp_path)[-1].details["error_type"] == "KeyboardInterrupt"


def soak_events(folder: Path) -> list[str]:
    """Return the event types of the slow run so far."""
    return [event.event_type for event in events_in(folder) if event.pattern_id == "PAT-SOAK-001"]


def test_sample_events_make_a_run_with_findings_and_one_that_failed(tmp_path: Path) -> None:
    """The sample that the guide names leaves a finished run of either kind to look at."""
    example = run_example("pattern_events_example.py", tmp_path)
    assert [run.status for run in example.runs] == ["warning", "failed"]
    assert example.stdout.split() == [run.pattern_run_id for run in example.runs]


def test_quickstart_is_the_code_of_the_readme_and_leaves_one_successful_run(tmp_path: Path) -> None:
    """The first program that people see works as it stands there."""
    code = (EXAMPLES / "quickstart.py").read_text(encoding="utf-8").partition("\n\n")[2]
    assert f"```python\n{code}```\n" in (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    example = run_example("quickstart.py", tmp_path)
    (run,) = example.runs
    assert (run.status, run.inputs, run.outputs["greeting"]) == ("success", {"name": "Ada"}, "Hello, Ada")
    assert example.stdout.split() == [run.pattern_run_id]

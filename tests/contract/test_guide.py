"""The code of the integration guide, run as it stands there: only the import line is another."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, Optional  # noqa: UP035  # the guide's code names them

import pytest

import otel_patterns
from otel_patterns import InvalidEventError, JobStateStore, PatternEventEmitter, PatternRunAggregator, shutdown
from tests.documents import SEED

JOB_ID = "JOB-GUIDE-001"
STEP_ID = "STEP-001"
PATTERN_ID = "PAT-SEMGREP-001"
INPUTS = {"operation_kind": "semgrep_scan", "target": "src"}
COMMAND = "semgrep scan src"
GENERATED = ["state/reports/semgrep.yml"]
REPORT = "state/reports/semgrep_report.json"
SUMMARY = {"finding_count": 12, "files_scanned": 47, "severity_breakdown": {"high": 2, "medium": 10}}
JOURNAL = Path("state/events/pattern_events.jsonl")
THEIR_MODULE = "core.engine.pattern_events"
SUCCESS = SimpleNamespace(exit_code=0, duration=4.2, summary=SUMMARY, artifacts=[REPORT])
FAILURE = SimpleNamespace(exit_code=2, duration=0.4, stderr="rules.yml: no such file")


def code_after(landmark: str) -> str:
    """Return the first Python block of the guide after a text."""
    guide = (SEED / "PATTERN_EVENT_INTEGRATION.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", guide[guide.index(landmark) :], re.DOTALL | re.MULTILINE)
    assert block is not None
    return block[1]


def run_code(code: str, **undefined: object) -> dict[str, Any]:
    """Execute code of the guide with the names it leaves undefined, and return its namespace."""
    namespace: dict[str, Any] = dict(undefined)
    exec(compile(code, "guide", "exec"), namespace)  # the guide's own code
    return namespace


def with_our_import(code: str) -> str:
    """Return code of the guide with its one import line replaced."""
    line = f"from {THEIR_MODULE} import "
    assert code.count(line) == 1
    return code.replace(line, "from otel_patterns import ")


def execute(result: SimpleNamespace, *, code: str | None = None) -> SimpleNamespace:
    """Run the guide's `execute_pattern` with a tool that has this result."""

    def run_tool(command: str) -> SimpleNamespace:
        assert command == COMMAND
        return result

    namespace = run_code(
        code or with_our_import(code_after("**After**")),
        template_vars={"target": "src", "config": "auto"},
        artifact_paths=GENERATED,
        command_str=COMMAND,
        run_tool=run_tool,
    )
    return namespace["execute_pattern"](PATTERN_ID, JOB_ID, STEP_ID, INPUTS)


def guide_store(db_path: str | None, *, init_db: Callable[[str | None], None]) -> Any:
    """Return the guide's own store, whose database is opened by `init_db`."""
    namespace = run_code(
        with_our_import(code_after("## Step 3")),
        Optional=Optional,
        List=List,  # noqa: UP006  # see the import
        Dict=Dict,  # noqa: UP006  # see the import
        db=SimpleNamespace(init_db=init_db),
    )
    return namespace["JobStateStore"](db_path)


def journal() -> list[dict[str, Any]]:
    """Return the lines of the journal that the guide names, without what we record for ourselves."""
    events = [json.loads(line) for line in JOURNAL.read_text(encoding="utf-8").splitlines()]
    for event in events:
        event["details"].pop("otel", None)
    return events


@pytest.fixture(autouse=True)
def engine_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, unconfigured, as an engine does that has just added the guide's lines."""
    monkeypatch.chdir(tmp_path)
    shutdown()
    for name in ("OTEL_PATTERNS_JOURNAL", "OTEL_PATTERNS_VALIDATION", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def test_step_one_with_a_tool_that_succeeds_journals_the_run() -> None:
    """The four events of a run are in the log that the guide names, with the details the guide's code passes."""
    assert execute(SUCCESS) is SUCCESS
    events = journal()
    assert [(event["event_type"], event["status"], event["details"]) for event in events] == [
        (
            "pattern.selection.resolved",
            "in_progress",
            {"operation_kind": "semgrep_scan", "selection_method": "auto", "inputs_preview": INPUTS},
        ),
        (
            "pattern.template.expanded",
            "in_progress",
            {"variables_resolved": 2, "generated_artifacts": GENERATED},
        ),
        ("pattern.execution.started", "in_progress", {"executor": "subprocess", "command": COMMAND}),
        (
            "pattern.execution.completed",
            "success",
            {"exit_code": 0, "duration_seconds": 4.2, "result_summary": SUMMARY, "artifacts": [REPORT]},
        ),
    ]
    assert {(event["job_id"], event["pattern_id"], event["step_id"]) for event in events} == {
        (JOB_ID, PATTERN_ID, STEP_ID)
    }
    assert len({event["pattern_run_id"] for event in events}) == 1


def test_step_one_with_a_tool_that_succeeds_folds_to_a_successful_run() -> None:
    """The run that the guide's panel shows has operation, inputs, outputs and artifacts of the events."""
    execute(SUCCESS)
    (run,) = PatternRunAggregator(PatternEventEmitter()).rebuild_from_events(JOB_ID)
    assert (run.status, run.operation_kind, run.step_id) == ("success", "semgrep_scan", STEP_ID)
    assert run.inputs == INPUTS
    assert run.outputs == {"exit_code": 0, "duration_seconds": 4.2, **SUMMARY}
    assert run.artifacts == [REPORT]
    assert run.tool_metadata == {"executor": "subprocess", "command": COMMAND}
    assert run.events == [event["event_id"] for event in journal()]
    assert run.error is None


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        pytest.param("no such file", "no such file", id="text"),
        pytest.param(b"no such file", "no such file", id="bytes of a subprocess"),
        pytest.param(None, None, id="not captured"),
    ],
)
def test_step_one_with_a_tool_that_fails_journals_and_folds_the_error(stderr: object, message: str | None) -> None:
    """Whatever the tool's stderr is, the failure is on record and reaches the caller as his own result."""
    result = SimpleNamespace(exit_code=2, stderr=stderr)
    assert execute(result) is result
    last = journal()[-1]
    assert (last["event_type"], last["status"]) == ("pattern.execution.failed", "failed")
    assert last["details"] == {"exit_code": 2, "error_type": "tool_error", "error_message": message}
    (run,) = PatternRunAggregator(PatternEventEmitter()).rebuild_from_events(JOB_ID)
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error["type"], run.error["exit_code"]) == ("tool_error", 2)
    assert run.error.get("message") == message


def test_step_one_in_strict_mode_is_told_the_detail_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's code lacks a detail that the guide's table requires; only who asks for strictness is refused."""
    monkeypatch.setenv("OTEL_PATTERNS_VALIDATION", "strict")
    with pytest.raises(InvalidEventError) as caught:
        execute(SUCCESS)
    assert caught.value.field == "details.pattern_id"


def test_step_three_store_answers_from_the_journal() -> None:
    """The guide's own store class, extended by its three methods, returns events and runs of a job, and one run."""
    databases: list[str | None] = []
    store = guide_store("engine.db", init_db=databases.append)
    execute(SUCCESS)
    execute(FAILURE)

    events = store.get_pattern_events(JOB_ID)
    runs = store.get_pattern_runs(JOB_ID)
    assert databases == ["engine.db"]
    assert [event["event_id"] for event in events] == [event["event_id"] for event in journal()]
    assert [run["status"] for run in runs] == ["success", "failed"]
    assert [store.get_pattern_run(run["pattern_run_id"]) for run in runs] == runs
    assert store.get_pattern_events("JOB-OTHER") == []
    assert store.get_pattern_runs("JOB-OTHER") == []
    assert store.get_pattern_run("PRUN-OTHER") is None


def test_step_three_store_of_ours_answers_the_same() -> None:
    """Who has no store of his own gets the same answers from `otel_patterns.JobStateStore`."""
    execute(SUCCESS)
    execute(FAILURE)
    databases: list[str | None] = []
    theirs, ours = guide_store(None, init_db=databases.append), JobStateStore()
    for job_id in (JOB_ID, "JOB-OTHER"):
        assert ours.get_pattern_events(job_id) == theirs.get_pattern_events(job_id)
        assert ours.get_pattern_runs(job_id) == theirs.get_pattern_runs(job_id)
    for run_id in [run["pattern_run_id"] for run in theirs.get_pattern_runs(JOB_ID)] + ["PRUN-OTHER"]:
        assert ours.get_pattern_run(run_id) == theirs.get_pattern_run(run_id)


def test_module_of_one_line_serves_the_import_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine's `core/engine/pattern_events.py` may become one line, and the guide's code runs to the letter."""
    packages = THEIR_MODULE.split(".")
    folder = tmp_path.joinpath(*packages[:-1])
    folder.mkdir(parents=True)
    for package in (tmp_path / packages[0], folder):
        (package / "__init__.py").touch()
    (folder / f"{packages[-1]}.py").write_text("from otel_patterns import *\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for number in range(1, len(packages) + 1):
        # Registered for removal, though not there yet: what is imported below must not outlive the test.
        monkeypatch.setitem(sys.modules, ".".join(packages[:number]), otel_patterns)
        del sys.modules[".".join(packages[:number])]

    execute(SUCCESS, code=code_after("**After**"))
    module = sys.modules[THEIR_MODULE]
    assert len(journal()) == 4
    assert {name: getattr(module, name) for name in otel_patterns.__all__} == {
        name: getattr(otel_patterns, name) for name in otel_patterns.__all__
    }

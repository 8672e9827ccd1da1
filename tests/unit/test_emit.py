"""Emitting: what is written, what is raised, and what is not."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace as otel_trace

from otel_patterns import (
    ConfigurationError,
    InvalidEventError,
    PatternEvent,
    PatternEventEmitter,
    PatternRun,
    configure,
    emit_pattern_event,
    shutdown,
)
from otel_patterns.clock import encode_ulid
from otel_patterns.model import names
from otel_patterns.model.names import MAX_LINE_BYTES
from otel_patterns.testing import FakeClock
from otel_patterns.tracing.origin import Origin
from tests.schemas import SEED_EVENT
from tests.streams import JOB_ID, PATTERN_ID, RUN_ID


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty directory, without any variable that would configure something."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    shutdown()


@pytest.fixture
def emitter(tmp_path: Path) -> PatternEventEmitter:
    """Yield an emitter with a fake clock that sends nothing."""
    return configure(journal=tmp_path / "journal.jsonl", export="off", clock=FakeClock())


def emit(emitter: PatternEventEmitter | None = None, **changes: Any) -> PatternEvent:
    """Emit an `execution.started`, or what `changes` make of it."""
    arguments: dict[str, Any] = {
        "event_type": names.EXECUTION_STARTED,
        "job_id": JOB_ID,
        "pattern_run_id": RUN_ID,
        "pattern_id": PATTERN_ID,
        "status": "in_progress",
        "details": {"executor": "python", "command": ""},
    }
    return emit_pattern_event(**{**arguments, **changes}, emitter=emitter)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a journal."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_emit_without_configuration_writes_the_guides_journal(tmp_path: Path) -> None:
    """Without configure() and without an endpoint there is the journal alone, where the guide has it."""
    event = emit()
    (document,) = lines(tmp_path / "state" / "events" / "pattern_events.jsonl")
    assert document["event_id"] == event.event_id
    assert list(document) == list(names.EVENT_KEYS)
    assert PatternEventEmitter().destination is None


def test_emit_follows_the_working_directory_and_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is OTEL_PATTERNS_JOURNAL, relative to the working directory of the call."""
    monkeypatch.setenv("OTEL_PATTERNS_JOURNAL", "logs/a.jsonl")
    emit()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    emit()
    assert len(lines(tmp_path / "logs" / "a.jsonl")) == len(lines(tmp_path / "other" / "logs" / "a.jsonl")) == 1


def test_emit_configured_stays_with_its_journal(emitter: PatternEventEmitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """After configure() a change of the working directory does not move the journal."""
    monkeypatch.chdir("/")
    emit()
    assert len(lines(emitter.global_log)) == 1


def test_emit_records_the_origin_once_per_run_and_process(emitter: PatternEventEmitter) -> None:
    """The first event of a run in a process has `details.otel`, later ones have none; the caller's event has none."""
    first, _ = emit(emitter), emit(emitter)
    written = [document["details"].get("otel") for document in lines(emitter.global_log)]
    assert written[0]["v"] == 1
    assert written[0]["sampled"] is True
    assert written[0]["resource"] == {"service.name": "unknown_service"}
    assert written[0]["writer"]["pid"] == os.getpid()
    assert written[1] is None
    assert "otel" not in first.details


def test_emit_default_ids_are_valid_under_the_seed_schema(emitter: PatternEventEmitter) -> None:
    """What we write with our own ids is valid under the schema the product started from."""
    run = PatternRun.create(PATTERN_ID, f"JOB-{encode_ulid(7)}", "k", clock=FakeClock())
    emit(emitter, job_id=run.job_id, pattern_run_id=run.pattern_run_id, step_id=f"STEP-{encode_ulid(8)}")
    (document,) = lines(emitter.global_log)
    assert SEED_EVENT.problems(document) == []


@pytest.mark.parametrize(
    ("changes", "field", "fix"),
    [
        ({"details": "semgrep_scan"}, "details", "Pass a dict"),
        ({"event_type": "pattern.execution.complete"}, "event_type", "pattern.execution.completed"),
        ({"job_id": "42"}, "job_id", "JOB-"),
        ({"status": "done"}, "status", ""),
        ({"pattern_id": "pat-x"}, "pattern_id", "PAT-"),
        ({"step_id": ""}, "step_id", "STEP-"),
    ],
)
def test_emit_bad_argument_raises_with_field_value_rule_and_fix(
    emitter: PatternEventEmitter, changes: dict[str, Any], field: str, fix: str
) -> None:
    """The caller's own mistake is the only error, and it says what to do; nothing is written."""
    with pytest.raises(InvalidEventError) as caught:
        emit(emitter, **changes)
    assert (caught.value.field, caught.value.value) == (field, next(iter(changes.values())))
    assert caught.value.rule
    assert fix in caught.value.fix
    assert not emitter.global_log.exists()


def test_emit_lenient_keeps_details_that_are_wrong_and_reports_once(
    emitter: PatternEventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    """Missing or wrongly typed details are kept, counted, and logged once per type."""
    with caplog.at_level(logging.WARNING, "otel_patterns"):
        for _ in range(3):
            emit(emitter, event_type=names.EXECUTION_FAILED, details={"exit_code": "1", "error_message": b"\xff"})
    assert emitter.counts[f"details of {names.EXECUTION_FAILED}"] == 3
    assert len(caplog.records) == 1
    assert lines(emitter.global_log)[0]["details"]["error_message"] == "\\xff"


def test_emit_strict_raises_for_what_the_table_requires(tmp_path: Path) -> None:
    """With `validation=strict` missing details are the caller's mistake."""
    strict = configure(journal=tmp_path / "j.jsonl", export="off", validation="strict", clock=FakeClock())
    with pytest.raises(InvalidEventError) as caught:
        emit(strict, details={"executor": "x"})
    assert caught.value.field == "details.command"
    emit(strict)


def test_emit_job_scoped_writes_the_jobs_log_too(emitter: PatternEventEmitter) -> None:
    """`job_scoped=True` also appends to the job's own log, the same line."""
    event = PatternEvent.create(
        names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", {}, clock=emitter.clock
    )
    assert emitter.emit(event, job_scoped=True).state == "journaled"
    log = emitter.events_dir / "jobs" / JOB_ID / "pattern_events.jsonl"
    assert log.read_bytes() == emitter.global_log.read_bytes()


def test_j22_emit_larger_than_a_line_moves_the_largest_details_to_files(emitter: PatternEventEmitter) -> None:
    """What does not fit a line stands whole in a file beside the journal that only its owner reads."""
    emit(emitter, details={"executor": "x", "command": "y", "../log of it": "é" * 3_000_000, "more": ["y"] * 400_000})
    (event,) = emitter.get_events()
    assert (event.details["executor"], event.details["command"]) == ("x", "y")
    for name, value in (("../log of it", "é" * 3_000_000), ("more", ["y"] * 400_000)):
        moved = event.details[name]
        file = emitter.events_dir / moved["path"]
        data = file.read_bytes()
        assert (json.loads(data), len(data)) == (value, moved["size"])
        assert hashlib.sha256(data).hexdigest() == moved["sha256"]
        assert file.parent == emitter.events_dir / "artifacts"
        assert file.name.startswith(event.event_id)
        assert file.stat().st_mode & 0o777 == 0o600
    assert emitter.counts == {}


def test_j22_emit_larger_than_a_line_without_room_for_files_is_cut(
    emitter: PatternEventEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file can be written, previews of the largest details stand in the line, and it is counted."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otel_patterns.journal.artifacts.replace_file", refuse)
    emit(emitter, details={"executor": "x", "command": "y", "log": "é" * 3_000_000, "n": 7})
    data = emitter.global_log.read_bytes().splitlines()
    assert all(len(line) <= MAX_LINE_BYTES for line in data)
    details = json.loads(data[0])["details"]
    assert (details["n"], details["log"]["bytes"], details["log"]["truncated"]) == (7, 6_000_002, True)
    assert (emitter.counts["shrunk"], emitter.counts["artifact"]) == (1, 2)


def test_emit_of_thousands_of_details_is_cut(emitter: PatternEventEmitter) -> None:
    """Not a file for each of them: what twenty files do not take away is cut."""
    emit(emitter, details={str(number): "x" * 100 for number in range(50_000)})
    assert all(len(line) <= MAX_LINE_BYTES for line in emitter.global_log.read_bytes().splitlines())
    assert emitter.counts["shrunk"] == 1


@pytest.mark.parametrize("text", ["\x7f" * 900_000, "\u2028" * 400_000, "\x9b" * 500_000])
def test_emit_text_that_grows_when_escaped_still_fits_a_line(emitter: PatternEventEmitter, text: str) -> None:
    """What counts is the line as it is written: escapes make it several times as long as its text."""
    emit(emitter, details={"executor": "x", "command": "y", "log": text})
    (event,) = emitter.get_events()
    assert event.details["executor"] == "x"
    assert json.loads((emitter.events_dir / event.details["log"]["path"]).read_bytes()) == text


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "done"},
        {"job_id": "../../../escaped"},
        {"timestamp": "yesterday"},
        {"details": None},
        {"event_id": 7},
    ],
)
def test_emit_event_that_was_changed_behind_its_checks_is_refused(
    emitter: PatternEventEmitter, broken: dict[str, Any]
) -> None:
    """`model_copy` checks nothing; a line that no reader takes, or a path out of the folder, must not come of it."""
    event = PatternEvent.create(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", {})
    with pytest.raises(InvalidEventError):
        emitter.emit(event.model_copy(update=broken), job_scoped=True)
    with pytest.raises(InvalidEventError):
        emitter.emit({"event_id": "EVT-1"})  # pyright: ignore[reportArgumentType]  # what callers without types do
    assert not emitter.global_log.exists()


def test_emit_details_called_otel_are_kept_beside_ours(emitter: PatternEventEmitter) -> None:
    """A caller's own `otel` detail does not take the place of what the projection needs."""
    emit(emitter, details={"executor": "x", "command": "", "otel": {"collector": "a"}})
    details = lines(emitter.global_log)[0]["details"]
    assert (details["otel"]["v"], details["otel#2"]) == (1, {"collector": "a"})


def test_emit_in_a_directory_that_was_removed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a working directory there is no journal: the event is kept in memory and counted, nothing is raised."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    emit()
    assert PatternEventEmitter().counts["spooled"] == 1
    monkeypatch.chdir(tmp_path)


def test_emit_that_cannot_record_its_origin_still_writes_the_event(
    emitter: PatternEventEmitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of telemetry (here: of a provider's resource) costs neither the event nor the engine."""

    def fail(*_arguments: object) -> dict[str, Any]:
        raise RuntimeError("provider")

    monkeypatch.setattr(Origin, "record", fail)
    emit(emitter)
    (document,) = lines(emitter.global_log)
    assert document["details"]["otel"]["resource"] == {"service.name": "unknown_service"}
    assert emitter.counts["origin"] == 1


def test_emit_under_a_current_span_records_the_caller(emitter: PatternEventEmitter) -> None:
    """The span that is current when a run begins becomes its caller, in W3C form."""
    context = otel_trace.SpanContext(
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        is_remote=True,
        trace_flags=otel_trace.TraceFlags(1),
        trace_state=otel_trace.TraceState([("a", "b")]),
    )
    with otel_trace.use_span(otel_trace.NonRecordingSpan(context)):
        emit(emitter)
    otel = lines(emitter.global_log)[0]["details"]["otel"]
    assert otel["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert (otel["tracestate"], otel["join"], otel["remote"]) == ("a=b", "child", True)


def test_emit_sampler_of_the_environment_decides_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_TRACES_SAMPLER is asked when the run begins, also when nothing is sent, and its decision is recorded."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    emitter = configure(journal=tmp_path / "j.jsonl", export="off", clock=FakeClock())
    emit(emitter)
    assert lines(emitter.global_log)[0]["details"]["otel"]["sampled"] is False


def test_emit_run_url_is_recorded(tmp_path: Path) -> None:
    """A configured run page is on record, so a replay elsewhere shows it too."""
    url = "https://ci/{job_id}/{run_id}"
    emitter = configure(journal=tmp_path / "j.jsonl", export="off", run_url=url, clock=FakeClock())
    emit(emitter)
    span = lines(emitter.global_log)[0]["details"]["otel"]["span"]
    assert span["run"]["attributes"] == {"cicd.pipeline.run.url.full": f"https://ci/{JOB_ID}/{RUN_ID}"}


def test_emit_with_a_bad_variable_never_fails_the_engine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without configure() a variable that cannot be used is reported, and the journal is written."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost")
    emit()
    assert len(lines(PatternEventEmitter().global_log)) == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in caplog.text
    with pytest.raises(ConfigurationError):
        configure()


@pytest.mark.parametrize("variable", ["VALIDATION", "JOIN", "JOB_SCOPED", "EXPORT"])
def test_emit_with_a_setting_that_cannot_be_used_takes_the_default(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without configure() a bad variable of our own is reported and its default used; configure() raises."""
    monkeypatch.setenv(f"OTEL_PATTERNS_{variable}", "maybe")
    emit()
    assert len(lines(PatternEventEmitter().global_log)) == 1
    assert f"OTEL_PATTERNS_{variable}='maybe'" in caplog.text
    with pytest.raises(ConfigurationError):
        configure()


def test_configure_with_a_journal_that_is_no_file_says_so(tmp_path: Path) -> None:
    """A link or a directory as journal is told at once: writing would refuse it line by line."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for journal in (tmp_path / "link", tmp_path):
        with pytest.raises(ConfigurationError) as caught:
            configure(journal=journal)
        assert caught.value.setting == "journal"


def test_emitter_of_a_directory_writes_there(tmp_path: Path) -> None:
    """`PatternEventEmitter(events_dir)` has its journal in that directory, as in the guide's code."""
    emitter = PatternEventEmitter(tmp_path / "events")
    emit(emitter)
    assert emitter.events_dir == tmp_path / "events"
    assert [event.event_type for event in emitter.get_events(job_id=JOB_ID)] == [names.EXECUTION_STARTED]
    assert emitter.get_events(pattern_run_id="PRUN-OTHER") == []

"""`JsonlSpanProcessor`: what reaches the journal, and what stays away from the program."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, AlwaysRecordSampler
from opentelemetry.trace import Span, Tracer

from otel_patterns import (
    ConfigurationError,
    JsonlSpanProcessor,
    PatternEventEmitter,
    PatternRunAggregator,
    configure,
    emit_pattern_event,
    fold_run,
    shutdown,
)
from otel_patterns.journal import append as append_module
from otel_patterns.journal import spool as spool_module
from otel_patterns.journal.appended import AppendedIds
from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.replay import Selection, traces_of
from tests.receiver import Receiver
from tests.spans import ended_span
from tests.streams import JOB_ID, PATTERN_ID, RUN_ID

STARTED = {"executor": "python", "command": "scan"}
COMPLETED = {
    "pattern.details": '{"exit_code": 0, "duration_seconds": 1.5, "result_summary": {"findings": 3}, "artifacts": []}'
}


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run in an empty directory, without variables that configure something."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(AppendedIds, "wanted", False)
    monkeypatch.chdir(tmp_path)
    yield
    shutdown()


def tracer_with(*processors: JsonlSpanProcessor, **provider: Any) -> Tracer:
    """Return a tracer of a provider with these processors."""
    made = TracerProvider(shutdown_on_exit=False, **provider)
    for processor in processors:
        made.add_span_processor(processor)
    return made.get_tracer("app")


def scan(span: Span) -> None:
    """Put the events of a run on a span."""
    span.add_event(names.EXECUTION_STARTED, STARTED)
    span.add_event(names.EXECUTION_COMPLETED, COMPLETED)


def events_in(journal: Path) -> list[PatternEvent]:
    """Return the events of a journal, in its order."""
    return PatternEventEmitter(journal.parent).get_events()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return the path of a journal that nothing was written to."""
    return tmp_path / "here" / "pattern_events.jsonl"


# Where it writes.


def test_processor_writes_to_the_journal_of_the_process() -> None:
    """Without arguments it is the journal that emitting writes to, also when that is configured afterwards."""
    tracer = tracer_with(JsonlSpanProcessor())
    with tracer.start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(Path("state/events/pattern_events.jsonl"))) == 2
    emitter = configure(journal="other/pattern_events.jsonl", export="off")
    with tracer.start_as_current_span("scan") as span:
        scan(span)
    assert len(emitter.get_events()) == 2


def test_processor_writes_to_the_journal_it_was_given(journal: Path) -> None:
    """A path or an emitter names another journal."""
    tracer = tracer_with(
        JsonlSpanProcessor(journal), JsonlSpanProcessor(emitter=PatternEventEmitter(journal.parent / "emitter"))
    )
    with tracer.start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(journal)) == 2
    assert len(events_in(journal.parent / "emitter" / journal.name)) == 2
    assert not Path("state").exists()


def test_processor_with_journal_and_emitter_is_a_mistake(journal: Path) -> None:
    """Two journals at once are none: the error says which to give."""
    with pytest.raises(ConfigurationError, match="either a journal or an emitter"):
        JsonlSpanProcessor(journal, emitter=PatternEventEmitter(journal.parent))


def test_processor_that_is_made_opens_nothing(journal: Path) -> None:
    """The SDK makes processors that it never uses; making, flushing and shutting down leave nothing behind."""
    processor = JsonlSpanProcessor(journal)
    tracer = tracer_with(processor)
    with tracer.start_as_current_span("a span without pattern events") as span:
        span.add_event("noise")
    assert processor.force_flush() is True
    processor.shutdown()
    assert not journal.parent.exists()
    assert not Path("state").exists()


def test_processor_without_an_sdk_sees_nothing(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OTEL_SDK_DISABLED makes no spans, so there is nothing to write, and no error."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan") as span:
        scan(span)
    assert not journal.parent.exists()


# What it writes.


def test_processor_run_is_folded_like_any_other(journal: Path) -> None:
    """The journal of a program that only speaks OpenTelemetry folds into its run."""
    tracer = tracer_with(JsonlSpanProcessor(journal))
    attributes = {names.ATTR_PATTERN_ID: PATTERN_ID, names.ATTR_OPERATION_KIND: "scan", names.ATTR_JOB_ID: "JOB-1"}
    with tracer.start_as_current_span("nightly", attributes=attributes) as span:
        scan(span)
    (run,) = PatternRunAggregator(PatternEventEmitter(journal.parent)).rebuild_from_events("JOB-1")
    assert (run.pattern_id, run.operation_kind, run.status) == (PATTERN_ID, "scan", "success")
    assert (run.outputs["findings"], run.tool_metadata["command"]) == (3, "scan")


def test_processor_run_over_several_spans_is_one_run(journal: Path) -> None:
    """Spans of one trace make one run, whichever ends first, and each says where it comes from."""
    tracer = tracer_with(JsonlSpanProcessor(journal))
    with tracer.start_as_current_span("scan", attributes={names.ATTR_JOB_ID: "JOB-1"}) as parent:
        parent.add_event(names.SELECTION_STARTED, {"operation_kind": "scan", "candidate_patterns": []})
        with tracer.start_as_current_span("tool", attributes={names.ATTR_JOB_ID: "JOB-1"}) as child:
            scan(child)
    events = events_in(journal)
    assert [event.event_type for event in events] == [
        names.EXECUTION_STARTED,
        names.EXECUTION_COMPLETED,
        names.SELECTION_STARTED,
    ]
    run = fold_run(events)
    assert (run.status, run.operation_kind, len(run.events)) == ("success", "scan", 3)
    spans = [event.otel["traceparent"].split("-")[2] for event in events if event.otel]
    assert spans == [f"{span.get_span_context().span_id:016x}" for span in (child, parent)]


def test_processor_several_runs_on_one_span_are_recorded_each(journal: Path) -> None:
    """Every run has the record of its origin on its first event, and none of the others have it."""
    tracer = tracer_with(JsonlSpanProcessor(journal))
    with tracer.start_as_current_span("batch") as span:
        for run_id in ("PRUN-1", "PRUN-2", "PRUN-1", "PRUN-2"):
            span.add_event(names.VALIDATION_STARTED, {names.ATTR_RUN_ID: run_id})
    assert [event.otel.get("native") for event in events_in(journal)] == [True, True, None, None]


def test_processor_event_after_the_end_is_native_too(journal: Path) -> None:
    """What follows a terminal event says again where it comes from, and so is not taken for an emitted one."""
    with tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan") as span:
        scan(span)
        span.add_event(names.EXECUTION_COMPLETED)
    assert [event.otel.get("native") for event in events_in(journal)] == [True, None, True]


@pytest.mark.parametrize("run_id", [None, RUN_ID, "PRUN-NIGHTLY-1"])
def test_processor_run_has_the_trace_id_of_its_span(journal: Path, run_id: str | None) -> None:
    """The link to the trace is right, also for a run id that says nothing about the trace."""
    attributes = {} if run_id is None else {names.ATTR_RUN_ID: run_id}
    with tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan", attributes=attributes) as span:
        scan(span)
    trace = project(events_in(journal))
    assert trace is not None
    assert trace.trace_id == f"{span.get_span_context().trace_id:032x}"


def test_processor_unsampled_span_is_written_when_it_is_recorded(journal: Path) -> None:
    """`AlwaysRecordSampler` shows spans that are not exported; the journal says that they were not sampled."""
    tracer = tracer_with(JsonlSpanProcessor(journal), sampler=AlwaysRecordSampler(ALWAYS_OFF))
    with tracer.start_as_current_span("scan") as span:
        scan(span)
    assert events_in(journal)[0].otel["sampled"] is False
    with tracer_with(JsonlSpanProcessor(journal), sampler=ALWAYS_OFF).start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(journal)) == 2


# What it does not write twice.


def test_processor_skips_copies_of_events_that_were_appended_here(journal: Path) -> None:
    """An event that the program emitted and put on its span as well stands in the journal once."""
    tracer = tracer_with(JsonlSpanProcessor(journal))
    emitter = PatternEventEmitter(journal.parent)
    with tracer.start_as_current_span("scan") as span:
        event = emit_pattern_event(
            names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", STARTED, emitter=emitter
        )
        span.add_event(event.event_type, {names.ATTR_RUN_ID: RUN_ID, names.ATTR_EVENT_ID: event.event_id})
        span.add_event(names.EXECUTION_COMPLETED, {names.ATTR_RUN_ID: RUN_ID, **COMPLETED})
    assert [event.event_type for event in events_in(journal)] == [names.EXECUTION_STARTED, names.EXECUTION_COMPLETED]


def test_processor_that_is_there_twice_writes_once(journal: Path) -> None:
    """Two processors of one journal on one provider are one too many, and no harm."""
    with tracer_with(*(JsonlSpanProcessor(journal) for _ in range(2))).start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(journal)) == 2


def test_processor_of_another_journal_has_its_own_copies(journal: Path) -> None:
    """What stands in one journal is not missing in another."""
    tracer = tracer_with(JsonlSpanProcessor(journal), JsonlSpanProcessor())
    with tracer.start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(journal)) == len(events_in(Path("state/events/pattern_events.jsonl"))) == 2


def test_processor_event_that_was_lost_may_be_appended_again(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that did not reach the journal does not count as appended."""
    processor = JsonlSpanProcessor(journal)
    monkeypatch.setattr(append_module, "_RETRY_SECONDS", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(append_module.Journal, "_write_locked", raise_disk_full)
        broken.setattr(append_module, "SPOOL_BYTES", 0)
        broken.setattr(spool_module, "SPOOL_FILE_BYTES", 0)
        processor.on_end(ended_span((names.EXECUTION_STARTED, STARTED)))
    assert events_in(journal) == []
    processor.on_end(ended_span((names.EXECUTION_STARTED, STARTED)))
    assert len(events_in(journal)) == 1


def test_processor_event_that_is_too_large_stays_native(journal: Path) -> None:
    """Details are moved to a file to fit a line; what says that the run is native is not, or a replay would send it."""
    with tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan") as span:
        span.add_event(names.EXECUTION_STARTED, {**STARTED, "output": "x" * 2_000_000})
    (event,) = events_in(journal)
    assert event.details["output"]["size"] == 2_000_002
    assert event.otel["native"] is True


# Delivery.


def test_processor_run_is_never_sent_by_the_package(journal: Path) -> None:
    """The program exports its spans itself: neither the live delivery nor a replay sends them again."""
    with Receiver() as receiver:
        emitter = configure(journal=journal, endpoint=receiver.url, durability="os")
        threads = set(threading.enumerate())
        with tracer_with(JsonlSpanProcessor()).start_as_current_span("scan") as span:
            scan(span)
        assert set(threading.enumerate()) <= threads, "delivery reads the journal for nothing"
        assert emitter.flush(5.0)
        assert receiver.requests == []
    (trace,) = traces_of(journal, Selection())
    assert trace.native is True


def test_processor_run_that_is_also_emitted_is_sent(journal: Path) -> None:
    """A run that the program began by emitting is the package's, with the events that stood on a span."""
    with Receiver() as receiver:
        emitter = configure(journal=journal, endpoint=receiver.url)
        emit_pattern_event(names.EXECUTION_STARTED, JOB_ID, RUN_ID, PATTERN_ID, "in_progress", STARTED)
        tracer = tracer_with(JsonlSpanProcessor())
        with tracer.start_as_current_span("scan", attributes={names.ATTR_RUN_ID: RUN_ID}) as span:
            span.add_event(names.EXECUTION_COMPLETED, COMPLETED)
        assert emitter.flush(5.0)
        (root,) = [span for _, span in receiver.spans if not span.parent_span_id]
    assert [event.name for event in root.events] == [names.EXECUTION_STARTED, names.EXECUTION_COMPLETED]


# What goes wrong.


def raise_disk_full(*_: object) -> int:
    """Fail as a full disk does."""
    raise OSError(28, "No space left on device")


def test_processor_with_a_broken_journal_does_not_break_the_program(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal that cannot be written costs a warning; the exporter beside it gets its span."""
    (tmp_path / "file").write_text("no directory")
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    processor = JsonlSpanProcessor(tmp_path / "file" / "pattern_events.jsonl")
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with caplog.at_level(logging.WARNING, "otel_patterns"):
        with provider.get_tracer("app").start_as_current_span("scan") as span:
            scan(span)
        assert processor.force_flush() is False
    assert len(exporter.get_finished_spans()) == 1
    assert "event kept in memory" in caplog.text
    (tmp_path / "file").unlink()
    assert processor.force_flush() is True


def test_processor_flush_writes_what_was_spooled(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written waits in memory; a flush writes it as soon as the journal can be written again."""
    processor = JsonlSpanProcessor(journal)
    with monkeypatch.context() as broken:
        broken.setattr(append_module.Journal, "_write_locked", raise_disk_full)
        with tracer_with(processor).start_as_current_span("scan") as span:
            scan(span)
        assert processor.force_flush(1000) is False
    assert processor.force_flush(1000) is True
    assert len(events_in(journal)) == 2


def test_processor_after_shutdown_writes_all_the_same(journal: Path) -> None:
    """A span that ends late is not lost, and shutting down twice does no harm."""
    processor = JsonlSpanProcessor(journal)
    processor.shutdown()
    processor.shutdown()
    with tracer_with(processor).start_as_current_span("scan") as span:
        scan(span)
    assert len(events_in(journal)) == 2


def test_processor_counts_and_logs_what_it_corrected(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A foreign id costs the run nothing, and is counted where the journal's other failures are."""
    with (
        caplog.at_level(logging.WARNING, "otel_patterns"),
        tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan") as span,
    ):
        span.add_event(names.EXECUTION_STARTED, {**STARTED, "job_id": "nightly"})
    assert PatternEventEmitter(journal.parent).counts["native corrected"] == 1
    assert "job_id is 'nightly'" in caplog.text
    assert events_in(journal)[0].details["job_id"] == "nightly"


def test_processor_counts_what_the_sdk_dropped(journal: Path) -> None:
    """128 events fit a span; what the SDK dropped is counted, and recorded with the run."""
    with tracer_with(JsonlSpanProcessor(journal)).start_as_current_span("scan") as span:
        span.add_event(names.EXECUTION_STARTED, STARTED)
        for _ in range(129):
            span.add_event(names.VALIDATION_STARTED, {"validation_type": "x", "checks": []})
    events = events_in(journal)
    assert len(events) == 128
    assert names.EXECUTION_STARTED not in {event.event_type for event in events}
    assert events[0].otel["dropped_events"] == 2
    assert PatternEventEmitter(journal.parent).counts["native dropped"] == 1


def test_processor_under_strict_validation_refuses_and_counts(journal: Path) -> None:
    """`strict` holds for native events too; nothing is raised, the others are written."""
    emitter = configure(journal=journal, export="off", validation="strict")
    with tracer_with(JsonlSpanProcessor()).start_as_current_span("scan") as span:
        span.add_event(names.EXECUTION_STARTED, {"executor": "python"})
        span.add_event(names.EXECUTION_COMPLETED, COMPLETED)
    assert [event.event_type for event in emitter.get_events()] == [names.EXECUTION_COMPLETED]
    assert emitter.get_events()[0].otel["native"] is True
    assert emitter.counts["native refused"] == 1

"""The projection of a run's prefix to a trace."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_patterns.model import ids, names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.outcome import executable_name, result_of
from otel_patterns.tracing.projection import prefix_of, project
from otel_patterns.tracing.trace import RunTrace, Span, SpanEvent, SpanKind
from tests.streams import JOB_ID, PATTERN_ID, RUN_ID, TRACE_ID, Stream, failed_run, recorded, semgrep_run


def projected(events: list[PatternEvent]) -> RunTrace:
    """Return the trace of events that have one."""
    trace = project(events)
    assert trace is not None
    return trace


def root_of(events: list[PatternEvent]) -> Span:
    """Return the root of an ended run."""
    root = projected(events).root
    assert root is not None
    return root


def attributes(item: Span | SpanEvent) -> dict[str, Any]:
    """Return attributes as a dict, having proven that no key is there twice."""
    result = dict(item.attributes)
    assert len(result) == len(item.attributes)
    return result


def test_project_no_events_is_none() -> None:
    """Without events there is no trace."""
    assert project([]) is None


def test_root_of_a_successful_run_has_the_run_and_the_conventions() -> None:
    """The root carries identity, inputs, outputs and the CI/CD conventions, and its status stays unset."""
    events = semgrep_run()
    root = root_of(events)
    assert (root.name, root.kind, root.failed) == ("semgrep_scan PAT-SEMGREP-001", SpanKind.SERVER, False)
    assert (root.trace_id, root.parent_span_id, root.links) == (TRACE_ID, "", ())
    assert (root.start_unix_nano, root.end_unix_nano) == (events[0].time_unix_nano, events[-1].time_unix_nano)
    assert attributes(root) == {
        "pattern.run.id": RUN_ID,
        "pattern.id": PATTERN_ID,
        "pattern.version": "1.2.0",
        "pattern.operation_kind": "semgrep_scan",
        "pattern.job.id": JOB_ID,
        "pattern.status": "success",
        "pattern.duration_seconds": 1.0,
        "pattern.artifacts": ("state/report.json",),
        "pattern.input.target": "src",
        "pattern.input.options.jobs": 2,
        "pattern.input.options.deep": True,
        "pattern.output.exit_code": 0,
        "pattern.output.duration_seconds": 1.0,
        "pattern.output.finding_count": 12,
        "pattern.output.severity_breakdown.high": 2,
        "cicd.pipeline.name": PATTERN_ID,
        "cicd.pipeline.run.id": RUN_ID,
        "cicd.pipeline.result": "success",
        "pattern.events.emitted": 7,
    }


def test_root_has_every_event_as_span_event_in_lifecycle_order() -> None:
    """Each event is a span event on the root, named by its type, at its time, with its details."""
    events = semgrep_run()
    span_events = root_of(events).events
    assert [event.name for event in span_events] == [event.event_type for event in events]
    assert [event.time_unix_nano for event in span_events] == [event.time_unix_nano for event in events]
    completed = attributes(span_events[-1])
    assert completed["pattern.event.id"] == events[-1].event_id
    assert (completed["pattern.event.index"], completed["pattern.event.status"]) == (6, "success")
    assert (completed["pattern.stage"], completed["pattern.detail.exit_code"]) == ("execution", 0)
    assert json.loads(completed["pattern.details"]) == events[-1].details
    assert "event" not in completed  # Jaeger would rename the span event to its value


def test_span_event_never_shows_what_we_recorded() -> None:
    """`details.otel` is neither flattened nor part of `pattern.details`."""
    first = attributes(root_of(semgrep_run()).events[0])
    assert "otel" not in json.loads(first["pattern.details"])
    assert not [key for key in first if key.startswith("pattern.detail.otel")]


def test_span_event_details_over_2000_bytes_become_a_digest() -> None:
    """Details that Tempo would cut are replaced by their digest and size; a cut JSON text cannot be read."""
    stream = Stream()
    details = {"note": "é" * 1500, "exit_code": 1}
    span_event = attributes(root_of([stream.event(names.EXECUTION_FAILED, details, status="failed")]).events[0])
    text = json.dumps(details, ensure_ascii=False, separators=(",", ":")).encode()
    assert "pattern.details" not in span_event
    assert span_event["pattern.details.sha256"] == hashlib.sha256(text).hexdigest()
    assert span_event["pattern.details.bytes"] == len(text)
    assert span_event["pattern.details.truncated"] is True
    assert len(span_event["pattern.detail.note"].encode()) <= 2000


def test_span_event_flattens_at_most_ten_scalars() -> None:
    """Only ten scalar details become attributes of their own."""
    details = {f"k{number}": number for number in range(30)}
    span_event = attributes(root_of([Stream().event(names.EXECUTION_FAILED, details)]).events[0])
    assert len([key for key in span_event if key.startswith("pattern.detail.")]) == 10


def test_span_event_has_ids_only_when_they_differ_from_the_roots() -> None:
    """Job, pattern and step stand on a span event only when they are not the run's."""
    stream = Stream()
    events = [
        stream.event(names.SELECTION_STARTED, pattern_id="PAT-UNKNOWN"),
        stream.event(names.SELECTION_RESOLVED, step_id="STEP-1"),
        stream.event(names.EXECUTION_COMPLETED, status="success", step_id="STEP-1"),
    ]
    first, _, last = (attributes(event) for event in root_of(events).events)
    assert (first["pattern.id"], first["pattern.step.id"]) == ("PAT-UNKNOWN", "")
    assert not {"pattern.id", "pattern.step.id", "pattern.job.id"} & set(last)


def test_more_than_128_events_are_all_on_the_root() -> None:
    """The SDK's limit of 128 span events, which drops the oldest silently, does not bite."""
    stream = Stream()
    events = [stream.event(names.VALIDATION_STARTED) for _ in range(300)]
    events.append(stream.event(names.EXECUTION_COMPLETED, status="success"))
    assert len(root_of(events).events) == 301


def test_stages_are_children_of_the_root_with_their_times() -> None:
    """Each stage is a span below the root, from its opening event to its closing one."""
    events = semgrep_run()
    trace = projected(events)
    assert [span.name for span in trace.stages] == [
        f"{stage} {PATTERN_ID}" for stage in ("selection", "template", "validation", "execution")
    ]
    root = root_of(events)
    assert {span.parent_span_id for span in trace.stages} == {root.span_id}
    template = trace.stages[1]
    assert (template.start_unix_nano, template.end_unix_nano) == (events[1].time_unix_nano, events[2].time_unix_nano)
    execution = trace.stages[3]
    assert execution.kind is SpanKind.CLIENT
    assert attributes(execution) == {
        "pattern.run.id": RUN_ID,
        "pattern.id": PATTERN_ID,
        "pattern.job.id": JOB_ID,
        "pattern.stage": "execution",
        "cicd.pipeline.task.name": "execution",
        "cicd.pipeline.task.run.id": events[5].event_id,
        "cicd.pipeline.task.run.result": "success",
        "process.executable.name": "semgrep",
        "process.pid": 4242,
        "process.exit.code": 0,
    }
    assert execution.span_id == ids.span_id(RUN_ID, "stage", "execution", events[5].event_id)


def test_stage_repeated_is_a_second_span() -> None:
    """A second validation has a span id of its own, and a closing event without an opener makes no span."""
    stream = Stream()
    events = [
        stream.event(names.VALIDATION_STARTED),
        stream.event(names.VALIDATION_COMPLETED),
        stream.event(names.VALIDATION_COMPLETED),
        stream.event(names.VALIDATION_STARTED),
        stream.event(names.VALIDATION_COMPLETED),
    ]
    stages = projected(events).stages
    assert [span.closing_event_id for span in stages] == [events[1].event_id, events[4].event_id]
    assert len({span.span_id for span in stages}) == 2


def test_stage_that_ends_before_it_starts_has_no_negative_duration() -> None:
    """Ends are clamped to the start: clocks of two hosts differ."""
    stream = Stream()
    events = [stream.event(names.EXECUTION_STARTED), stream.event(names.EXECUTION_COMPLETED, seconds=-5)]
    trace = projected(events)
    assert all(span.end_unix_nano >= span.start_unix_nano for span in trace.spans)


def test_run_not_ended_has_a_marker_and_its_closed_stages() -> None:
    """A run that is going on is visible by a zero-length marker below the root to come; a final one has none."""
    events = semgrep_run()
    trace = projected(events[:5])
    marker = trace.marker
    assert marker is not None
    assert trace.root is None
    assert (marker.name, marker.start_unix_nano) == ("run started", marker.end_unix_nano)
    assert marker.parent_span_id == root_of(events).span_id
    assert attributes(marker)["pattern.run.id"] == RUN_ID
    assert len(trace.stages) == 3
    assert projected(events).marker is None


def test_stage_spans_are_the_same_before_and_after_the_run_ended() -> None:
    """A stage span depends only on the prefix up to its closing line, so it can be sent while the run goes on."""
    events = semgrep_run()
    final = {span.span_id: span for span in projected(events).stages}
    for length in range(1, len(events) + 1):
        for span in projected(events[:length]).stages:
            assert final[span.span_id] == span


@given(st.data())
def test_lines_after_the_first_terminal_one_and_copies_change_nothing(data: st.DataObject) -> None:
    """The trace is a function of the prefix: later lines and repeated ones do not change a byte."""
    stream = Stream()
    events = semgrep_run(stream)
    later = [
        stream.event(data.draw(st.sampled_from(names.EVENT_TYPES)), seconds=data.draw(st.floats(-20, 20)))
        for _ in range(data.draw(st.integers(0, 4)))
    ]
    copies = data.draw(st.lists(st.sampled_from(events[:-1]), max_size=4))
    changed = [*events[:-1], *copies, events[-1], *later, *data.draw(st.lists(st.sampled_from(events)))]
    trace, expected = projected(changed), projected(events)
    assert encode(trace.resource, trace.spans) == encode(expected.resource, expected.spans)
    assert [event.event_id for event in prefix_of(changed)] == [event.event_id for event in events]


def test_events_of_one_instant_are_in_lifecycle_order() -> None:
    """Inside the prefix events sort by time, then lifecycle rank, then journal position."""
    stream = Stream()
    started = stream.event(names.EXECUTION_STARTED)
    resolved = stream.event(names.SELECTION_RESOLVED, seconds=0)
    completed = stream.event(names.EXECUTION_COMPLETED, seconds=0, status="success")
    names_in_order = [event.name for event in root_of([started, resolved, completed]).events]
    assert names_in_order == [names.SELECTION_RESOLVED, names.EXECUTION_STARTED, names.EXECUTION_COMPLETED]


@pytest.mark.parametrize(
    ("details", "result", "error_type"),
    [
        ({"exit_code": 2, "error_type": "tool_error", "error_message": "bad"}, "failure", "tool_error"),
        ({"exit_code": 127, "error_type": "FileNotFoundError"}, "error", "FileNotFoundError"),
        ({"error_type": "ValueError", "error_message": "bad"}, "error", "ValueError"),
        ({"exit_code": None, "error_type": "TimeoutExpired"}, "timeout", "TimeoutExpired"),
        ({"exit_code": -15, "error_type": "tool_error"}, "cancellation", "tool_error"),
        ({"error_type": "KeyboardInterrupt"}, "cancellation", "KeyboardInterrupt"),
        ({"error_type": "abandoned"}, "error", "abandoned"),
        ({"exit_code": "2", "error_type": None}, "error", "execution_failed"),
    ],
)
def test_failed_execution_is_an_error_with_its_result(details: dict[str, Any], result: str, error_type: str) -> None:
    """A failure sets ERROR, `error.type` and the convention's result on root and stage."""
    trace = projected(failed_run(**details))
    assert trace.root is not None
    for span, key in ((trace.root, "cicd.pipeline.result"), (trace.stages[-1], "cicd.pipeline.task.run.result")):
        assert span.failed
        assert span.status_description == (details.get("error_message") or "")
        assert (attributes(span)[key], attributes(span)["error.type"]) == (result, error_type)


@pytest.mark.parametrize(
    ("event_type", "details", "result", "error_type"),
    [
        (names.SELECTION_FAILED, {"reason": "none fits"}, "error", "selection_failed"),
        (names.VALIDATION_FAILED, {"failed_checks": [{"check": "c", "error": "e"}]}, "failure", "validation_failed"),
    ],
)
def test_failed_selection_or_validation_ends_the_run(
    event_type: str, details: dict[str, Any], result: str, error_type: str
) -> None:
    """`selection.failed` and `validation.failed` are terminal, and say why."""
    root = root_of([Stream().event(event_type, details, status="failed")])
    assert root.failed
    assert (attributes(root)["cicd.pipeline.result"], attributes(root)["error.type"]) == (result, error_type)
    assert root.status_description in {"none fits", "c: e"}


def test_result_of_a_skipped_run_is_skip() -> None:
    """The convention's word is `skip`, not `skipped`."""
    assert result_of(Stream().event(names.EXECUTION_COMPLETED, status="skipped")) == "skip"


def test_caller_joined_as_child_gives_its_trace_and_parent() -> None:
    """A run joined to a caller's trace has the caller's trace id and state and keeps its own span ids."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    events = semgrep_run(traceparent=caller, tracestate="a=b", join="child", remote=True)
    root = root_of(events)
    assert (root.trace_id, root.parent_span_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert (root.kind, root.parent_is_remote, root.trace_state) == (SpanKind.SERVER, True, "a=b")
    assert root.span_id == root_of(semgrep_run()).span_id
    assert {span.trace_id for span in projected(events).spans} == {root.trace_id}


def test_caller_in_the_same_process_makes_an_internal_root() -> None:
    """Under a local caller the root is INTERNAL."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    root = root_of(semgrep_run(traceparent=caller, join="child", remote=False))
    assert (root.kind, root.parent_is_remote) == (SpanKind.INTERNAL, False)


def test_caller_linked_keeps_the_runs_own_trace() -> None:
    """A linked run has its own trace id, a span link, and the caller's ids as attributes (badger loses links)."""
    caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    root = root_of(semgrep_run(traceparent=caller, join="link"))
    assert (root.trace_id, root.parent_span_id, root.kind) == (TRACE_ID, "", SpanKind.SERVER)
    assert [(link.trace_id, link.span_id) for link in root.links] == [(caller[3:35], caller[36:52])]
    assert attributes(root)["pattern.caller.trace_id"] == caller[3:35]


@pytest.mark.parametrize("traceparent", ["", "00-zz-1-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", 7, None])
def test_caller_that_is_no_traceparent_is_ignored(traceparent: object) -> None:
    """A damaged traceparent must not make an invalid trace."""
    assert root_of(semgrep_run(traceparent=traceparent, join="child")).trace_id == TRACE_ID


def test_resource_is_the_recorded_one() -> None:
    """The resource is what the run's first event recorded, so a replay on another machine needs nothing else."""
    assert projected(semgrep_run()).resource == (("service.name", "engine"), ("service.instance.id", "i-1"))


def test_resource_of_a_foreign_run_is_unknown_service() -> None:
    """A run without `details.otel` has no other resource than an unknown service."""
    trace = projected([Stream().event(names.EXECUTION_COMPLETED, {"exit_code": 0})])
    assert (trace.resource, trace.sampled, trace.native) == ((("service.name", "unknown_service"),), True, False)


def test_recorded_flags_are_read_from_the_first_that_recorded() -> None:
    """The first recording in journal order counts, later processes' ones do not."""
    stream = Stream()
    events = [
        stream.event(names.EXECUTION_STARTED, {"otel": recorded(sampled=False, native=True)}),
        stream.event(names.EXECUTION_COMPLETED, {"otel": recorded()}),
    ]
    trace = projected(events)
    assert (trace.sampled, trace.native) == (False, True)


def test_exception_recorded_is_on_stage_and_root() -> None:
    """An exception that Python caught is an `exception` span event on the stage and on the root."""
    exception = {
        "name": "exception",
        "time_unix_nano": 5,
        "attributes": {"exception.type": "ValueError", "exception.stacktrace": "x" * 5000},
    }
    span = {"stage": {"events": [exception]}, "run": {"attributes": {"code.function.name": "main"}}}
    trace = projected(failed_run(error_type="ValueError", otel={"span": span}))
    assert trace.root is not None
    on_stage, on_root = trace.stages[-1].events[0], trace.root.events[-1]
    assert on_stage == on_root
    assert dict(on_root.attributes)["exception.stacktrace"] == "x" * 5000
    assert attributes(trace.root)["code.function.name"] == "main"


@pytest.mark.parametrize("value", [None, 1, "x", [], [1], {"stage": 1}, {"stage": {"events": [1, {}, {"name": 1}]}}])
def test_recorded_span_that_is_damaged_is_ignored(value: object) -> None:
    """A foreign or damaged `details.otel` never breaks a projection."""
    trace = projected(failed_run(error_type="E", otel={"v": value, "span": value, "resource": value}))
    assert trace.root is not None
    assert len(trace.root.events) == 2


def test_values_that_protobuf_cannot_hold_still_encode() -> None:
    """A lone surrogate, a huge integer or a NaN in a foreign log does not cost the run its trace."""
    document = json.loads('{"s": "\\ud800", "\\ud801": 1, "big": 123456789012345678901234567890, "inf": 1e999}')
    base = Stream().event(names.EXECUTION_FAILED).to_dict()
    event = PatternEvent.from_document(
        {**base, "details": {**document, "error_message": "\ud800", "inputs_preview": document}}
    )
    trace = projected([event])
    assert encode(trace.resource, trace.spans)


@pytest.mark.parametrize("executor", [["subprocess"], {"subprocess": 1}, None, 7])
def test_stage_with_an_executor_that_is_no_text_is_internal(executor: object) -> None:
    """A list or an object where a foreign log should have a text does not cost the run its trace."""
    stream = Stream()
    events = [stream.event(names.EXECUTION_STARTED, {"executor": executor}), stream.event(names.EXECUTION_COMPLETED)]
    assert projected(events).stages[0].kind is SpanKind.INTERNAL


def test_user_attributes_never_replace_identity() -> None:
    """Events are rebuilt from a trace by the root's ids, so what user code puts on the span leaves them alone."""
    attributes_of_user = {"pattern.job.id": "JOB-X", "pattern.events.emitted": 1, "pattern.step.id": "S", "mine": 1}
    events = semgrep_run(span={"run": {"attributes": attributes_of_user}})
    shown = attributes(root_of(events))
    assert (shown["pattern.job.id"], shown["pattern.events.emitted"], shown["mine"]) == (JOB_ID, 7, 1)
    assert "pattern.step.id" not in shown


def test_run_with_an_imported_event_is_native() -> None:
    """A backend has the spans of a run of which an event was imported, so it is never sent."""
    events = semgrep_run()
    events[4].details["otel"] = {"imported": True}
    assert (projected(semgrep_run()).native, projected(events).native) == (False, True)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("semgrep scan", "semgrep"),
        ("/usr/bin/env python x.py", "env"),
        ("A=1 B='x y' '/opt/my tool' -x", "my tool"),
        ("unbalanced 'quote", "unbalanced"),
        ("", None),
        (None, None),
        (["a"], None),
    ],
)
def test_executable_name_is_the_programs_file_name(command: object, name: str | None) -> None:
    """The executable is the first word that assigns nothing; arguments are not recorded."""
    assert executable_name(command) == name

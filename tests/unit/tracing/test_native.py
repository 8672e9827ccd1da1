"""What the journal gets of an ended span."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import in_order
from otel_patterns.testing import START_UNIX_NANO
from otel_patterns.tracing.native import NativeSpan, NativeSpanProcessor, native_span
from tests.spans import SPAN_ID, SPAN_TRACE_ID, SPAN_ULID, ended_span

WRITER = {"host": "h", "pid": 7}
STARTED = (names.EXECUTION_STARTED, {"executor": "python", "command": "scan"})
GIVEN = {
    "pattern_run_id": "PRUN-1",
    "job_id": "JOB-1",
    "pattern_id": "PAT-GIVEN-1",
    "step_id": "STEP-1",
    "status": "warning",
}
ATTRIBUTE_OF = {
    "pattern_run_id": names.ATTR_RUN_ID,
    "job_id": names.ATTR_JOB_ID,
    "pattern_id": names.ATTR_PATTERN_ID,
    "step_id": names.ATTR_STEP_ID,
    "status": names.ATTR_EVENT_STATUS,
}


def found_on(span: ReadableSpan) -> NativeSpan:
    """Return what was found on a span that holds something, having proven that all of it may be written."""
    found = native_span(span, WRITER)
    assert found is not None
    for native in found.events:
        PatternEvent.from_document(native.document)
    return found


def documents(span: ReadableSpan) -> list[dict[str, Any]]:
    """Return the documents of a span's events."""
    return [native.document for native in found_on(span).events]


def document_of(event_type: str, given: Mapping[str, Any], **on_span: Any) -> dict[str, Any]:
    """Return the document of a single event."""
    (document,) = documents(ended_span((event_type, given), attributes=on_span.pop("attributes", None), **on_span))
    return document


def faults_of(event_type: str, given: Mapping[str, Any], **on_span: Any) -> str:
    """Return what was wrong with a single event, in words."""
    (native,) = found_on(ended_span((event_type, given), **on_span)).events
    return "; ".join(native.faults)


# Which spans and events.


def test_native_span_without_any_id_takes_them_from_the_trace() -> None:
    """Without ids the run is the PRUN of the trace id, the job has the same ULID, the pattern is the span's name."""
    assert document_of(*STARTED) == {
        "event_id": document_of(*STARTED)["event_id"],
        "event_type": names.EXECUTION_STARTED,
        "timestamp": "2026-11-22T09:30:01.000000Z",
        "job_id": f"JOB-{SPAN_ULID}",
        "pattern_run_id": f"PRUN-{SPAN_ULID}",
        "pattern_id": "PAT-NIGHTLY-SCAN",
        "status": "in_progress",
        "details": {"executor": "python", "command": "scan"},
        "step_id": None,
    }


def test_native_span_keeps_the_events_in_order_with_their_own_times() -> None:
    """Events come out in the order of the span, each at its own time; what is no pattern event is left alone."""
    span = ended_span(STARTED, ("exception", {}), ("pattern", {}), ("pattern.execution.completed", {}))
    assert [(item["event_type"], item["timestamp"][17:19]) for item in documents(span)] == [
        (names.EXECUTION_STARTED, "01"),
        (names.EXECUTION_COMPLETED, "04"),
    ]


def test_native_span_event_of_an_unknown_type_is_kept() -> None:
    """A type that only looks like ours is an event all the same: validation tells that it is not known."""
    assert document_of("pattern.execution.paused", {})["status"] == "in_progress"


@pytest.mark.parametrize(
    "span",
    [
        pytest.param(ended_span(), id="no event"),
        pytest.param(ended_span(("exception", {}), ("mypattern.execution.started", {})), id="no pattern event"),
        pytest.param(ended_span(("pattern.execution.started now", {})), id="text behind the name"),
        pytest.param(ended_span(STARTED, scope=names.SCOPE_NAME), id="our own scope"),
        pytest.param(ReadableSpan("x", events=[Event(names.EXECUTION_STARTED)]), id="no context"),
    ],
)
def test_native_span_that_holds_nothing_is_none(span: ReadableSpan) -> None:
    """Other events are none of ours, and spans of our own scope hold copies of what is in the journal."""
    assert native_span(span, WRITER) is None


# The envelope.


@pytest.mark.parametrize("place", ["our attribute on the event", "name of the guide on the event", "on the span"])
@pytest.mark.parametrize("key", GIVEN)
def test_native_span_takes_a_key_of_the_envelope_from(key: str, place: str) -> None:
    """Each key may stand on the event, under our attribute or the guide's name, or on the span, and is no detail."""
    name = key if "guide" in place else ATTRIBUTE_OF[key]
    attributes = {name: GIVEN[key]}
    on_event, on_span = ({}, attributes) if place == "on the span" else (attributes, {})
    document = document_of(names.EXECUTION_STARTED, on_event, attributes=on_span)
    assert document[key] == GIVEN[key]
    assert document["details"] == {}


def test_native_span_prefers_event_to_span_and_our_attribute_to_the_guides() -> None:
    """What stands nearer counts; a different value that does not count stays as a detail."""
    given = {names.ATTR_RUN_ID: "PRUN-NEAR", "pattern_run_id": "PRUN-OTHER", "job_id": "JOB-NEAR"}
    document = document_of(*(names.EXECUTION_STARTED, given), attributes={names.ATTR_JOB_ID: "JOB-FAR"})
    assert (document["pattern_run_id"], document["job_id"]) == ("PRUN-NEAR", "JOB-NEAR")
    assert document["details"] == {"pattern_run_id": "PRUN-OTHER"}


def test_native_span_keeps_a_name_of_the_envelope_that_is_a_detail_too() -> None:
    """The guide asks for `pattern_id` in the details of selection.resolved: one attribute serves both."""
    document = document_of(names.SELECTION_RESOLVED, {"pattern_id": "PAT-X"})
    assert (document["pattern_id"], document["details"]) == ("PAT-X", {"pattern_id": "PAT-X"})


@pytest.mark.parametrize("value", ["", None])
def test_native_span_empty_id_counts_as_missing(value: str | None) -> None:
    """An empty text is no id: nothing is wrong, and an empty step on the event overrules that of the span."""
    given = {names.ATTR_RUN_ID: value, names.ATTR_STEP_ID: value}
    span = ended_span((names.EXECUTION_STARTED, given), attributes={names.ATTR_STEP_ID: "STEP-1"})
    (native,) = found_on(span).events
    assert (native.document["pattern_run_id"], native.document["step_id"]) == (f"PRUN-{SPAN_ULID}", None)
    assert native.faults == ()


@pytest.mark.parametrize("key", [*GIVEN, "event_id"])
def test_native_span_id_that_breaks_its_rule_is_replaced_and_kept(key: str) -> None:
    """A foreign value gives way to the derived one, stays in the details, and is told with field, value and fix."""
    name = ATTRIBUTE_OF.get(key, names.ATTR_EVENT_ID)
    good = document_of(names.EXECUTION_STARTED, {})
    document = document_of(names.EXECUTION_STARTED, {name: "no such id"})
    assert document["details"] == {name: "no such id"}
    if key != "pattern_run_id":
        assert document[key] == good[key]
    fault = faults_of(names.EXECUTION_STARTED, {name: "no such id"})
    assert f"{key} is 'no such id'" in fault
    assert document["event_id"] in fault


def test_native_span_foreign_value_of_the_span_is_kept_too() -> None:
    """Nothing that was given is lost, also when it stood on the span."""
    document = document_of(names.EXECUTION_STARTED, {}, attributes={names.ATTR_JOB_ID: 42})
    assert (document["job_id"], document["details"]) == (f"JOB-{SPAN_ULID}", {names.ATTR_JOB_ID: 42})


def test_native_span_foreign_run_ids_of_one_trace_stay_apart() -> None:
    """Two runs with foreign ids are not folded into one; the same id is the same run, also on another span."""
    events = [(names.EXECUTION_STARTED, {names.ATTR_RUN_ID: run}) for run in ("scan 1", "scan 2", "scan 1")]
    first, second, again = (item["pattern_run_id"] for item in documents(ended_span(*events)))
    (elsewhere,) = documents(ended_span(events[0], span_id="1234567890abcdef"))
    assert first == again == elsewhere["pattern_run_id"]
    assert len({first, second, f"PRUN-{SPAN_ULID}"}) == 3


def test_native_span_bare_ulid_as_run_id_becomes_its_run_id() -> None:
    """A ULID without its prefix names the run that it would name with it."""
    document = document_of(names.EXECUTION_STARTED, {names.ATTR_RUN_ID: "01M82ABGTGPVQ866JRR23TA2YY"})
    assert document["pattern_run_id"] == "PRUN-01M82ABGTGPVQ866JRR23TA2YY"


@pytest.mark.parametrize(
    ("name", "pattern_id"),
    [
        ("semgrep", "PAT-SEMGREP"),
        ("GET /scan/{id}", "PAT-GET-SCAN-ID"),
        ("--", "PAT-UNNAMED"),
        ("検査", "PAT-UNNAMED"),
        ("x" * 1000, "PAT-" + "X" * 100),
        ("a\nb\ud800", "PAT-A-B"),
    ],
)
def test_native_span_slug_of_any_name_is_a_pattern_id(name: str, pattern_id: str) -> None:
    """Whatever a span is called, its events have a pattern id."""
    assert document_of(*STARTED, name=name)["pattern_id"] == pattern_id


@pytest.mark.parametrize("event_type", names.EVENT_TYPES)
def test_native_span_default_status_follows_from_the_type(event_type: str) -> None:
    """What failed has failed, a completed execution is a success, and everything else is in progress."""
    wanted = {names.EXECUTION_COMPLETED: "success"}.get(
        event_type, "failed" if event_type.endswith(".failed") else "in_progress"
    )
    assert document_of(event_type, {})["status"] == wanted


def test_native_span_status_of_the_run_counts_at_its_end_only() -> None:
    """A span that says how its run ended does not say that the run began so."""
    span = ended_span(STARTED, (names.EXECUTION_COMPLETED, {}), attributes={names.ATTR_STATUS: "warning"})
    assert [item["status"] for item in documents(span)] == ["in_progress", "warning"]


# The event id.


def test_native_span_event_ids_follow_from_span_and_index() -> None:
    """The same span gives the same ids, another span others; they sort in the span's order within a millisecond."""
    span = ended_span(*[STARTED] * 12)
    events = [Event(STARTED[0], timestamp=START_UNIX_NANO) for _ in range(12)]
    together = ReadableSpan("s", context=span.context, events=events, start_time=START_UNIX_NANO)
    found = [PatternEvent.from_document(document) for document in documents(together)]
    assert [item["event_id"] for item in documents(span)] == [item["event_id"] for item in documents(span)]
    assert in_order(reversed(found)) == found
    assert len({event.event_id for event in found}) == 12
    other = documents(ended_span(STARTED, span_id="1234567890abcdef"))
    assert other[0]["event_id"] != documents(span)[0]["event_id"]
    assert all(re.fullmatch("EVT-[0-7][0-9A-HJKMNP-TV-Z]{25}", event.event_id) for event in found)


@pytest.mark.parametrize("name", [names.ATTR_EVENT_ID, "event_id"])
def test_native_span_event_with_an_id_keeps_it(name: str) -> None:
    """A copy of an event that has an id is that event."""
    assert document_of(names.EXECUTION_STARTED, {name: "EVT-1"})["event_id"] == "EVT-1"


# Times.


@pytest.mark.parametrize("time", [-1, 2**70, 1.5, "now"])
def test_native_span_event_with_an_impossible_time_takes_that_before_it(time: Any) -> None:
    """Whatever a program passes as time, the event is kept in its place, and the given value with it."""
    span = ended_span(STARTED)
    events = [Event(STARTED[0], timestamp=START_UNIX_NANO + 5), Event(names.EXECUTION_COMPLETED, timestamp=time)]
    found = found_on(ReadableSpan("s", context=span.context, events=events, start_time=START_UNIX_NANO)).events
    assert [native.document["timestamp"] for native in found] == ["2026-11-22T09:30:00.000000Z"] * 2
    assert "timestamp" in found[1].document["details"]
    assert "its time is" in found[1].faults[0]


# Details.


def test_native_span_flat_attributes_become_details() -> None:
    """Unprefixed attributes and those under `pattern.detail.` are details; place and stage are known already."""
    document = document_of(
        names.EXECUTION_COMPLETED,
        {
            "exit_code": 0,
            "pattern.detail.duration_seconds": 1.5,
            "artifacts": ("a", "b"),
            "result_summary": {"n": 1},
            "pattern.event.index": 3,
            "pattern.stage": "execution",
            "pattern.details.sha256": "ab",
        },
    )
    assert document["details"] == {
        "exit_code": 0,
        "duration_seconds": 1.5,
        "artifacts": ["a", "b"],
        "result_summary": {"n": 1},
        "pattern.details.sha256": "ab",
    }


@pytest.mark.parametrize("name", ["pattern.details", "details"])
@pytest.mark.parametrize("as_json", [True, False])
def test_native_span_whole_details_are_the_details(name: str, *, as_json: bool) -> None:
    """A JSON text, or an object where the SDK takes one, holds the details; their copies beside it add nothing."""
    details: dict[str, Any] = {"exit_code": 0, "result_summary": {"deep": [1, {"x": None}]}, "artifacts": []}
    given: dict[str, Any] = {name: json.dumps(details) if as_json else details, "pattern.detail.exit_code": 0}
    assert document_of(names.EXECUTION_COMPLETED, given)["details"] == details


def test_native_span_contradicting_values_are_both_kept() -> None:
    """What says something else than the details does not replace it, and is not lost."""
    given = {"pattern.details": '{"exit_code": 0}', "pattern.detail.exit_code": 1, "exit_code": 2, "more": 3}
    assert document_of(names.EXECUTION_COMPLETED, given)["details"] == {
        "exit_code": 0,
        "exit_code#2": 1,
        "exit_code#3": 2,
        "more": 3,
    }


@pytest.mark.parametrize("text", ['{"exit_code": 0, "resu', "[1]", "semgrep_scan", "", "[" * 100_000])
def test_native_span_details_that_are_not_whole_are_kept_as_text(text: str) -> None:
    """A JSON text that something has cut is no details: the flat ones count, and the text is kept and told."""
    given = {"pattern.details": text, "pattern.detail.exit_code": 0}
    assert document_of(names.EXECUTION_COMPLETED, given)["details"] == {"pattern.details": text, "exit_code": 0}
    assert "pattern.details is no whole JSON object" in faults_of(names.EXECUTION_COMPLETED, given)


@pytest.mark.parametrize(
    "given",
    [{"otel": {"v": 1, "native": False}}, {"pattern.details": '{"otel": {"v": 1, "native": false}}'}],
    ids=["attribute", "details"],
)
def test_native_span_detail_called_otel_cannot_pose_as_ours(given: dict[str, Any]) -> None:
    """`details.otel` decides what becomes of a run: a program's own detail of that name is kept under another."""
    assert document_of(names.EXECUTION_STARTED, given)["details"] == {"otel#2": {"v": 1, "native": False}}


# What is recorded.


def test_native_span_records_its_origin() -> None:
    """Recorded is what a process records of a run: its span, the resource, the writer, and that it is native."""
    span = ended_span(
        STARTED,
        attributes={"pattern.operation_kind": "scan", "pattern.version": "2"},
        trace_state=[("vendor", "x")],
    )
    assert found_on(span).recorded == {
        "v": 1,
        "traceparent": f"00-{SPAN_TRACE_ID}-{SPAN_ID}-01",
        "tracestate": "vendor=x",
        "join": "child",
        "remote": False,
        "sampled": True,
        "native": True,
        "operation_kind": "scan",
        "pattern_version": "2",
        "resource": {"service.name": "scanner"},
        "writer": WRITER,
    }
    assert found_on(ended_span(STARTED, sampled=False)).recorded["sampled"] is False


def test_native_span_tells_what_the_sdk_has_dropped() -> None:
    """Over the limit the SDK drops the oldest events: their number is recorded, and told when a run may lack them."""
    ended: list[ReadableSpan] = []

    class Keep(NativeSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    limits = SpanLimits(max_events=2, max_event_attributes=1)
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(Keep(lambda _found: None, lambda: True))
    tracer = provider.get_tracer("app")
    for given in ({}, {names.ATTR_RUN_ID: "PRUN-1"}):
        with tracer.start_as_current_span("scan", attributes=given) as span:
            span.add_event(names.EXECUTION_STARTED, {"executor": "python", "command": "x"})
            for _ in range(2):
                span.add_event("noise")
    without, with_id = ended
    assert native_span(without, WRITER) is None
    found = native_span(with_id, WRITER)
    assert found is not None
    assert (found.events, found.recorded["dropped_events"]) == ((), 1)
    assert "has lost its first 1 events" in found.dropped
    with tracer.start_as_current_span("scan") as span:
        span.add_event("noise")
        span.add_event("noise")
        span.add_event(names.EXECUTION_COMPLETED, {"exit_code": 0, "duration_seconds": 1.0})
    (native,) = found_on(ended[-1]).events
    assert "it has lost 1 attributes" in native.faults[0]


def test_native_span_event_id_does_not_depend_on_what_was_dropped() -> None:
    """The index counts from the first event of the span, dropped or not."""
    ended: list[ReadableSpan] = []

    class Keep(NativeSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    provider = TracerProvider(span_limits=SpanLimits(max_events=1), shutdown_on_exit=False)
    provider.add_span_processor(Keep(lambda _found: None, lambda: True))
    span = provider.get_tracer("app").start_span("scan")
    span.add_event("noise", timestamp=START_UNIX_NANO)
    span.add_event(names.EXECUTION_COMPLETED, timestamp=START_UNIX_NANO)
    span.end()
    (document,) = documents(ended[0])
    undropped = ReadableSpan(
        "scan",
        context=ended[0].context,
        events=[Event("noise"), Event(names.EXECUTION_COMPLETED, timestamp=START_UNIX_NANO)],
    )
    assert document["event_id"] == documents(undropped)[0]["event_id"]


def test_native_span_invalid_context_gives_valid_documents() -> None:
    """A span without a valid context, as a careless processor may make, gives events all the same, or none."""
    span = ReadableSpan("x", context=INVALID_SPAN_CONTEXT, events=[Event(names.EXECUTION_STARTED, timestamp=1)])
    assert documents(span)[0]["pattern_run_id"] == "PRUN-" + "0" * 26


# The hooks.


def test_processor_hooks_never_raise(caplog: pytest.LogCaptureFixture) -> None:
    """The SDK would pass an exception on to the program and skip the processors behind: it is logged instead."""

    def broken(*_: object) -> bool:
        raise OSError("disk on fire")

    processor = NativeSpanProcessor(broken, broken)  # pyright: ignore[reportArgumentType]  # it only raises
    processor.on_end(ended_span(STARTED))
    assert processor.force_flush() is False
    processor.shutdown()
    processor.shutdown()
    assert "disk on fire" in caplog.text

"""There and back: the events of a journal through their trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import assume, event, given
from hypothesis import strategies as st

from otel_patterns import TraceEvents, events_from_trace
from otel_patterns.model import names
from otel_patterns.model.encoding import encode_json
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.projection import MAX_TEXT_BYTES, prefix_of
from tests.otlp_json import as_lines, request_of, spans_of, with_base64_ids, with_hex_ids
from tests.property.strategies import RUN_IDS, streams
from tests.streams import JOB_ID, PATTERN_ID, RUN_ID, Stream, failed_run, recorded

CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "remote": True}
ORIGINS: tuple[dict[str, Any], ...] = (
    {},
    {**CALLER, "join": "child", "tracestate": "a=b"},
    {**CALLER, "join": "child", "remote": False},
    {**CALLER, "join": "link", "tracestate": "a=b"},
    {**CALLER, "join": "link"},
    {"resource": {"service.name": "x", "process.command_args": ["a", "b"], "n": 2, "f": 1.5, "b": True}},
)
words = st.text('ab é…"\\\u2028', max_size=12) | st.sampled_from(["", "x" * 1200, "é" * 1100, "…"])
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
user_values = st.booleans() | st.integers(-5, 5) | st.floats(0, 9) | words | st.lists(words, max_size=2)
keys = st.sampled_from(["code.function.name", "mine", "cicd.pipeline.run.url.full", "error.type", "pattern.status"])
user_attributes = st.dictionaries(keys, user_values, max_size=3)


@st.composite
def own_runs(draw: st.DrawFn) -> list[PatternEvent]:
    """Draw an ended run as this package writes it: times that may be equal, never earlier, details as JSON."""
    stream = Stream(draw(st.sampled_from([RUN_ID, "PRUN-TEST-001"])))
    terminal = draw(st.sampled_from(sorted(names.TERMINAL_EVENT_TYPES)))
    before = [name for name in names.EVENT_TYPES if names.LIFECYCLE_RANK[name] < names.LIFECYCLE_RANK[terminal]]
    going_on = st.sampled_from([name for name in before if name not in names.TERMINAL_EVENT_TYPES])
    types = sorted(draw(st.lists(going_on, max_size=6)), key=names.EVENT_TYPES.index)
    run: list[PatternEvent] = []
    for event_type in (*types, terminal):
        one = stream.event(
            event_type,
            draw(
                st.dictionaries(st.sampled_from(["exit_code", "operation_kind", "note", "otel#2", "artifacts"]), values)
            ),
            status=draw(st.sampled_from(names.EVENT_STATUSES)),
            seconds=draw(st.sampled_from([0.0, 0.000001, 1.5])),
            pattern_id=draw(st.sampled_from([PATTERN_ID, "PAT-B"])),
            step_id=draw(st.sampled_from([None, "STEP-1"])),
        )
        if not run:
            one.details[names.OTEL] = recorded(**draw(st.sampled_from(ORIGINS)))
            attributes = draw(user_attributes)
            if attributes:
                one.details[names.OTEL]["span"] = {"run": {"attributes": attributes}}
        elif draw(st.integers(0, 2)) == 0:
            one.details[names.OTEL] = {"span": draw(_span_parts(one))}
        run.append(one)
    return run


@st.composite
def _span_parts(draw: st.DrawFn, one: PatternEvent) -> dict[str, Any]:
    def events(name: str) -> list[dict[str, Any]]:
        time = one.time_unix_nano - draw(st.sampled_from([0, 1, 1_000_000]))
        return [{"name": name, "time_unix_nano": time, "attributes": draw(user_attributes)}]

    target = draw(st.sampled_from(["run", "stage"]))
    return {target: {"events": events(draw(st.sampled_from([names.EVENT_EXCEPTION, "mine"])))}}


def details_of(one: PatternEvent) -> Mapping[str, Any]:
    """Return the details without what is ours."""
    return {key: value for key, value in one.details.items() if key != names.OTEL}


def listed(back: TraceEvents) -> set[str | None]:
    """Return the ids of the events that are said not to be whole."""
    return {incomplete.event_id for incomplete in back.incomplete}


def same_but_for_otel(one: PatternEvent, other: PatternEvent) -> bool:
    """Tell whether two events have the same keys, the moment for the timestamp, and the details but for ours."""
    plain, also = ({**item.to_dict(), "timestamp": item.time_unix_nano, "details": None} for item in (one, other))
    return plain == also and encode_json(details_of(one)) == encode_json(details_of(other))


FORMS = ("protobuf", "base64", "hex", "lines", "jaeger", "tempo", "batches")


def in_form(request: bytes, form: str) -> Any:
    """Return a request as one of the forms in which a trace comes."""
    document = with_hex_ids(request) if form in ("hex", "lines", "jaeger") else with_base64_ids(request)
    match form:
        case "protobuf":
            return request
        case "lines":
            return as_lines(document)
        case "jaeger":
            return json.dumps({"result": document}).encode()
        case "tempo":
            return {"trace": document}
        case "batches":
            return {"batches": document["resourceSpans"]}
        case _:
            return document


@given(own_runs(), st.sampled_from(FORMS))
def test_own_run_comes_back_equal_and_projects_to_the_same_bytes(run: list[PatternEvent], form: str) -> None:
    """All nine keys of an event that fitted are the original's, and the run's trace is the same byte by byte."""
    request = request_of(run)
    back = events_from_trace(in_form(request, form))
    lost = listed(back)
    event(f"{len(lost)} events that did not fit")
    assert lost <= {one.event_id for one in run if len(encode_json(details_of(one))) > MAX_TEXT_BYTES}
    assert [one.event_id for one in back.events] == [one.event_id for one in run]
    for one, other in zip(run, back.events, strict=True):
        if one.event_id not in lost:
            assert {**other.to_dict(), "details": details_of(other)} == {**one.to_dict(), "details": details_of(one)}
            assert encode_json(details_of(other)) == encode_json(details_of(one))
    if not lost:
        assert request_of(back.events) == request
        origin = {key: value for key, value in run[0].otel.items() if key not in ("writer", "span")}
        assert {key: back.events[0].otel.get(key) for key in origin} == origin


@given(streams(conflicts=False, run_ids=RUN_IDS[:1]) | streams(conflicts=True, run_ids=RUN_IDS[1:]))
def test_event_of_any_log_is_the_original_or_is_listed(stream: list[PatternEvent]) -> None:
    """Whatever a damaged or foreign log holds: an event that is not listed is the one that was written."""
    prefix = prefix_of(stream)
    request = request_of(stream)
    back = events_from_trace(request)
    if not prefix[-1].is_terminal:
        assert back.events == []
        assert [incomplete.pattern_run_id for incomplete in back.incomplete] == [prefix[0].pattern_run_id]
        return
    originals = {one.event_id: one for one in prefix}
    lost = listed(back)
    for other in back.events:
        assert other.event_id in lost or same_but_for_otel(originals[other.event_id], other)
    assert {one.event_id for one in back.events} | lost >= originals.keys()
    event("whole" if not back.incomplete else "not whole")
    if not back.incomplete:
        assert request_of(back.events) == request


@given(own_runs(), st.data())
def test_trace_that_lost_something_says_so(run: list[PatternEvent], data: st.DataObject) -> None:
    """A span event that is gone, one of its attributes that is gone or cut: the run is not whole."""
    document = with_hex_ids(request_of(run))
    assume(not events_from_trace(document).incomplete)
    root = next(span for span in spans_of(document) if "events" in span and len(span["events"]) >= len(run))
    copies = [item for item in root["events"] if item["name"].startswith("pattern.")]
    victim = data.draw(st.sampled_from(copies))
    # Ids are short, and stand there only once: nobody could tell.
    ids = (names.ATTR_EVENT_ID, names.ATTR_JOB_ID, names.ATTR_PATTERN_ID, names.ATTR_STEP_ID)
    attributes = [pair for pair in victim["attributes"] if pair["key"] not in ids]
    match data.draw(st.sampled_from(["event", "attribute", "text"])):
        case "event":
            root["events"].remove(victim)
        case "attribute":
            # As the limits of an SDK or a collector do.
            victim["attributes"].remove(data.draw(st.sampled_from(attributes)))
            victim["droppedAttributesCount"] = 1
        case _:
            pair = data.draw(st.sampled_from([pair for pair in attributes if pair["value"].get("stringValue")]))
            pair["value"]["stringValue"] = pair["value"]["stringValue"][:-1]
    assert events_from_trace(document).incomplete


@given(st.lists(own_runs(), min_size=2, max_size=2))
def test_copies_and_order_of_spans_change_nothing(runs: list[list[PatternEvent]]) -> None:
    """Spans that came twice, in any order and any number of documents, are the same trace."""
    document = with_hex_ids(request_of(runs[0]))
    lines = as_lines(document).splitlines()
    assert events_from_trace("\n".join([*reversed(lines), *lines])) == events_from_trace(document)


def test_failed_run_with_an_exception_comes_back() -> None:
    """What Python caught is on stage and root, and comes back once, with the event that it belongs to."""
    run = failed_run(error_type="ValueError", error_message="no")
    attributes = {"exception.type": "ValueError", "exception.stacktrace": "x" * 5000}
    exception = {"name": "exception", "time_unix_nano": run[-1].time_unix_nano, "attributes": attributes}
    run[-1].details[names.OTEL] = {"span": {"stage": {"events": [exception]}}}
    back = events_from_trace(request_of(run))
    assert back.incomplete == []
    assert back.events[-1].to_dict() == run[-1].to_dict()
    assert back.events[0].job_id == JOB_ID

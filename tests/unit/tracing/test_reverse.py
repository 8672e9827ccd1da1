"""Events rebuilt from a trace: what is whole, and what is said of the rest."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from otel_patterns import IncompleteEvent, events_from_trace
from otel_patterns.model import names
from otel_patterns.model.encoding import encode_json
from otel_patterns.model.events import PatternEvent
from tests.otlp_json import Json, request_of, spans_of, with_hex_ids
from tests.streams import JOB_ID, RUN_ID, Stream, failed_run, recorded, semgrep_run

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def trace_of(*runs: list[PatternEvent]) -> Json:
    """Return the trace of runs, to be changed."""
    return with_hex_ids(request_of(*runs))


def reasons(document: Json) -> list[str]:
    """Return what is said not to be whole."""
    return [incomplete.reason for incomplete in events_from_trace(document).incomplete]


def root_copies(document: Json) -> list[Json]:
    """Return the span events of the first root."""
    return spans_of(document)[0]["events"]


def attribute(item: Json, key: str) -> Json:
    """Return an attribute of a span or a span event."""
    return next(pair for pair in item["attributes"] if pair["key"] == key)


def test_run_comes_back_with_its_origin() -> None:
    """Events are equal, and `details.otel` has all but who wrote it."""
    run = semgrep_run(traceparent=CALLER, tracestate="a=b", join="link", remote=True)
    back = events_from_trace(trace_of(run))
    assert (back.incomplete, back.foreign_spans) == ([], 0)
    assert [event.to_dict() for event in back.events[1:]] == [event.to_dict() for event in run[1:]]
    origin = {key: value for key, value in run[0].otel.items() if key != "writer"}
    assert back.events[0].otel == origin


def test_events_come_run_by_run_in_the_order_of_their_starts() -> None:
    """Runs of one trace are told apart, also when they share its id."""
    first, second = Stream("PRUN-A"), Stream("PRUN-B")
    second.clock.advance(100)
    child = {"traceparent": CALLER, "join": "child"}
    back = events_from_trace(trace_of(semgrep_run(second, **child), semgrep_run(first, **child)))
    assert [event.pattern_run_id for event in back.events] == ["PRUN-A"] * 7 + ["PRUN-B"] * 7


def test_spans_of_other_programs_are_counted() -> None:
    """A trace holds the spans of the services around; nobody hits on our ids by chance."""
    document = trace_of(semgrep_run())
    spans = spans_of(document)
    others: list[Json] = [{**spans[0], "spanId": "7" * 16}, {**spans[1], "attributes": []}]
    document["resourceSpans"][0]["scopeSpans"][0]["spans"] += others
    back = events_from_trace(document)
    assert (len(back.events), back.foreign_spans, back.incomplete) == (7, 2, [])


def test_details_that_did_not_fit_are_marked_and_have_their_digest() -> None:
    """Scalars are left; the event says so itself, and the digest tells it from the original."""
    run = failed_run(error_type="E", error_message="no", stderr_preview="é" * 1200, checks=["a"])
    (incomplete,) = (back := events_from_trace(trace_of(run))).incomplete
    original = encode_json(run[-1].details)
    digest = hashlib.sha256(original).hexdigest()
    assert (incomplete.pattern_run_id, incomplete.event_id) == (RUN_ID, run[-1].event_id)
    assert (incomplete.event_type, incomplete.details_sha256) == (names.EXECUTION_FAILED, digest)
    rebuilt = back.events[-1]
    assert rebuilt.details["error_message"] == "no"
    assert "checks" not in rebuilt.details
    assert rebuilt.otel["truncated"] == {"sha256": digest, "bytes": len(original)}


def test_details_of_a_few_long_texts_are_whole() -> None:
    """When all details are scalars that fit one by one, the digest proves that nothing is missing."""
    run = failed_run(exit_code=2, stdout_preview="o" * 1900, stderr_preview="e" * 1900)
    back = events_from_trace(trace_of(run))
    assert back.incomplete == []
    assert back.events[-1].to_dict() == run[-1].to_dict()


def test_run_that_has_not_ended_tells_what_is_found() -> None:
    """Stage spans carry ids and times, no events: none is made up."""
    back = events_from_trace(trace_of(semgrep_run()[:5]))
    assert back.events == []
    (incomplete,) = back.incomplete
    assert "the stages selection, template, validation" in incomplete.reason
    (marked,) = events_from_trace(trace_of(semgrep_run()[:1])).incomplete
    assert "only the span 'run started'" in marked.reason


def test_marker_beside_a_whole_run_is_no_loss() -> None:
    """The marker of a run that has ended meanwhile stays where it was received."""
    document = trace_of(semgrep_run()[:1])
    spans_of_run = spans_of(trace_of(semgrep_run()))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"] += spans_of_run
    back = events_from_trace(document)
    assert (len(back.events), back.incomplete, back.foreign_spans) == (7, [], 0)


def test_event_that_is_missing_is_counted() -> None:
    """The root says how many events there were."""
    document = trace_of(semgrep_run())
    del root_copies(document)[2:4]
    assert reasons(document)[0] == "the run had 7 events, and 5 are in the trace, not those with the index 2, 3"


def test_number_of_events_out_of_all_proportion_does_no_harm() -> None:
    """Nobody counts up to what a foreign file says."""
    document = trace_of(semgrep_run())
    attribute(spans_of(document)[0], names.ATTR_EVENTS_EMITTED)["value"] = {"intValue": str(2**62)}
    assert "7 are in the trace" in reasons(document)[0]


def test_different_copies_of_a_span_are_told() -> None:
    """Two copies that differ cannot both be true, and which is the original nobody knows."""
    document = trace_of(semgrep_run())
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    changed = json.loads(json.dumps(spans[0]))
    attribute(changed, names.ATTR_STATUS)["value"]["stringValue"] = "failed"
    spans.append(changed)
    assert reasons(document) == [
        "the trace has 2 different copies of span 'semgrep_scan PAT-SEMGREP-001'; the first counts"
    ]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (names.ATTR_DETAILS, "{", "its details are no JSON object any more"),
        (names.ATTR_DETAILS, "[]", "its details are no JSON object any more"),
        (names.ATTR_DETAILS, '{"operation_kind":"other"}', "the parts of it contradict each other"),
        (names.ATTR_EVENT_STATUS, "done", "its copy in the trace is no event: status is 'done'"),
        (names.ATTR_EVENT_ID, "EVT-", "its copy in the trace is no event: event_id is 'EVT-'"),
    ],
)
def test_copy_that_was_changed_is_told(key: str, value: str, reason: str) -> None:
    """A copy that contradicts itself, or is no event, is not taken for the original."""
    document = trace_of(semgrep_run())
    attribute(root_copies(document)[0], key)["value"]["stringValue"] = value
    assert reason in reasons(document)[0]


def test_attributes_that_were_dropped_are_told() -> None:
    """The limits of an SDK or a collector count what they drop."""
    document = trace_of(semgrep_run())
    root_copies(document)[0]["droppedAttributesCount"] = 1
    spans_of(document)[0]["droppedEventsCount"] = 2
    assert reasons(document) == [
        "2 attributes or events of span 'semgrep_scan PAT-SEMGREP-001' were dropped",
        "its copy in the trace was cut",
    ]


def test_text_of_the_length_at_which_tempo_cuts_is_told() -> None:
    """Tempo cuts silently at 2,048 bytes; our own texts are shorter, those of users need not be."""
    run = semgrep_run(span={"run": {"attributes": {"note": "x" * 2048}}})
    assert reasons(trace_of(run)) == ["note has 2048 bytes: Tempo cuts texts at 2048"]


def test_order_of_the_journal_that_is_not_that_of_the_times_is_told() -> None:
    """Stages follow from the order of the journal, which a trace does not have."""
    stream = Stream()
    opened = stream.event(names.VALIDATION_STARTED)
    closed = stream.event(names.VALIDATION_COMPLETED, seconds=-0.5)
    run = [opened, closed, stream.event(names.EXECUTION_COMPLETED, status="success")]
    back = events_from_trace(trace_of(run))
    assert {event.event_id for event in back.events} == {event.event_id for event in run}
    (incomplete,) = back.incomplete
    assert "another order" in incomplete.reason


def test_stage_that_is_not_in_the_trace_is_told() -> None:
    """Either the file lacks it, or the events stood in another order: the trace made of them has more spans."""
    document = trace_of(semgrep_run())
    del document["resourceSpans"][0]["scopeSpans"][0]["spans"][1]
    assert reasons(document) == ["span 'selection PAT-SEMGREP-001' follows from these events, and is not in the trace"]


def test_kind_and_version_that_no_event_names_come_back() -> None:
    """They are recorded beside the events then, and stand in `details.otel` again."""
    otel = recorded(operation_kind="scan", pattern_version="2")
    run = [Stream().event(names.EXECUTION_COMPLETED, {names.OTEL: otel}, status="success")]
    back = events_from_trace(trace_of(run))
    assert back.incomplete == []
    assert (back.events[0].otel["operation_kind"], back.events[0].otel["pattern_version"]) == ("scan", "2")
    named = events_from_trace(trace_of(semgrep_run(operation_kind="semgrep_scan"))).events[0].otel
    assert not {"operation_kind", "pattern_version", "span"} & set(named)


def test_arrays_that_a_backend_made_text_of_are_no_users_attributes() -> None:
    """Jaeger on badger keeps an array as its JSON text; the projection makes it again from the events."""
    run = semgrep_run()
    run[-1].details["artifacts"] = ["a<b", "é"]
    document = trace_of(run)
    attribute(spans_of(document)[0], names.ATTR_ARTIFACTS)["value"] = {"stringValue": r'["a\u003cb","é"]'}
    back = events_from_trace(document)
    assert (back.incomplete, "span" in back.events[0].otel) == ([], False)


def test_outputs_of_details_that_did_not_fit_stay_on_the_root() -> None:
    """What a root has and its events do not say is kept in `details.otel.span`, but never the run's identity."""
    summary = {"finding_count": 3, "lines": ["x" * 3000]}
    run = [*semgrep_run()[:6], Stream().event(names.EXECUTION_COMPLETED, {"result_summary": summary}, seconds=60)]
    document = trace_of(run)
    del root_copies(document)[2]
    kept = events_from_trace(document).events[0].otel["span"]["run"]["attributes"]
    assert kept["pattern.output.finding_count"] == 3
    assert names.ATTR_EVENTS_EMITTED not in kept


@pytest.mark.parametrize("value", [{"boolValue": True}, {"doubleValue": 1.0}])
def test_scalar_of_another_type_is_another_value(value: Json) -> None:
    """1, 1.0 and true are equal in Python and not in JSON."""
    document = trace_of(failed_run(exit_code=1, error_type="E"))
    attribute(root_copies(document)[-1], f"{names.ATTR_DETAIL}exit_code")["value"] = value
    assert "contradict" in reasons(document)[0]


def test_end_that_was_stamped_early_is_the_last_event() -> None:
    """Behind the end of a run no journal is read, so it comes last whatever its time says."""
    stream = Stream()
    events = [stream.event(names.EXECUTION_STARTED), stream.event(names.EXECUTION_FAILED, seconds=-5, status="failed")]
    back = events_from_trace(trace_of(events))
    assert [event.event_id for event in back.events] == [event.event_id for event in events]


def test_timestamps_keep_their_nanoseconds() -> None:
    """Our own are microseconds; a foreign one may be finer, and comes back so."""
    run = semgrep_run()
    finer = PatternEvent.from_document({**run[1].to_dict(), "timestamp": "2026-11-22T09:30:02.000000001Z"})
    back = events_from_trace(trace_of([run[0], finer, *run[2:]]))
    assert back.events[1].timestamp == "2026-11-22T09:30:02.000000001Z"


def test_ids_that_differ_from_the_roots_come_back() -> None:
    """Job, pattern and step of an event are its own."""
    stream = Stream()
    run = [
        stream.event(names.SELECTION_STARTED, pattern_id="PAT-UNKNOWN"),
        stream.event(names.SELECTION_RESOLVED, step_id="STEP-1"),
        stream.event(names.EXECUTION_COMPLETED, status="success"),
    ]
    back = events_from_trace(trace_of(run)).events
    assert [(event.job_id, event.pattern_id, event.step_id) for event in back] == [
        (JOB_ID, "PAT-UNKNOWN", None),
        (JOB_ID, run[1].pattern_id, "STEP-1"),
        (JOB_ID, run[2].pattern_id, None),
    ]


@pytest.mark.parametrize("key", [names.ATTR_JOB_ID, names.ATTR_PATTERN_ID])
def test_root_without_its_ids_gives_no_events(key: str) -> None:
    """An event without its ids is none, and that is said of each."""
    document = trace_of(semgrep_run())
    root = spans_of(document)[0]
    root["attributes"].remove(attribute(root, key))
    back = events_from_trace(document)
    assert back.events == []
    assert len(back.incomplete) == 7


def test_user_events_are_found_whatever_order_a_backend_gives() -> None:
    """Jaeger sorts span events by name: what users added goes to the first event that is not earlier."""
    note: dict[str, Any] = {"name": "a note", "attributes": {"mine": [1, 2]}}
    run = semgrep_run()
    run[3].details[names.OTEL] = {"span": {"run": {"events": [{**note, "time_unix_nano": run[3].time_unix_nano - 1}]}}}
    document = trace_of(run)
    root_copies(document).sort(key=lambda item: str(item["name"]))
    back = events_from_trace(document)
    assert back.incomplete == []
    assert [event.to_dict() for event in back.events[1:]] == [event.to_dict() for event in run[1:]]


def test_note_of_the_backend_is_passed_on() -> None:
    """What is true of the whole trace belongs to no run."""
    document = {"trace": trace_of(semgrep_run()), "status": "PARTIAL", "message": "m"}
    assert reasons(document) == ["Tempo returned only a part of the trace: m"]
    assert events_from_trace(document).incomplete == [IncompleteEvent("Tempo returned only a part of the trace: m")]

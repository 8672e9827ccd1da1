"""What is compiled says the same as the function whose twin it is."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.compiled import compiled, is_compiled
from otel_patterns.errors import InvalidEventError
from otel_patterns.journal.heads import Details, Head, columns_of
from otel_patterns.journal.runs import parted
from otel_patterns.model import names
from otel_patterns.model.details import fits_details
from otel_patterns.model.envelope import new_event_document
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.record import Event, record_of
from otel_patterns.model.times import END_UNIX_NANO
from otel_patterns.model.values import as_object
from otel_patterns.tracing import otlp, wire
from otel_patterns.tracing.trace import EncodedRun
from tests.property.strategies import RUN_IDS, event_documents, events, json_values, streams
from tests.streams import golden_runs, semgrep_run

pytestmark = pytest.mark.skipif(not is_compiled(), reason="nothing is compiled here")

_TRACEPARENTS = st.sampled_from(
    [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        7,
    ]
)
_keys = st.sampled_from(["", "k", "schlüssel", "\ud800", "pattern.run.id", "pattern.id", "code.line.number"])
_attributes = st.dictionaries(_keys, json_values, max_size=4) | json_values
_span_events = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["", "exception", "note", "\ud800", 3]),
        "time_unix_nano": st.sampled_from([0, 1, 2**63 - 1, 2**63, -1, 1.0]),
        "attributes": _attributes,
    },
)
_parts = st.fixed_dictionaries({}, optional={"attributes": _attributes, "events": st.lists(_span_events | json_values)})
_recorded = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1),
        "imported": st.sampled_from([True, False, 1]),
        "join": st.sampled_from(["child", "link", "none"]),
        "native": st.sampled_from([True, False, 1]),
        "operation_kind": json_values,
        "remote": st.sampled_from([True, False, 1]),
        "resource": _attributes,
        "sampled": st.sampled_from([True, False, None]),
        "span": st.fixed_dictionaries({}, optional={"run": _parts, "stage": _parts}) | json_values,
        "traceparent": _TRACEPARENTS,
        "tracestate": st.sampled_from(["a=b", "\ud800", 1]),
    },
)
_long = st.sampled_from(["x" * 1999, "x" * 2001, "é" * 999, "é" * 1001, "\ud800" * 700, "\x00"])


@st.composite
def _runs(draw: st.DrawFn) -> list[PatternEvent]:
    """Draw the events of a run, of which some have recorded anything, and some have long or many details."""
    stream = draw(streams(conflicts=draw(st.booleans()), run_ids=RUN_IDS[:1] if draw(st.booleans()) else RUN_IDS[1:]))
    for event in stream:
        if draw(st.integers(0, 2)) == 0:
            event.details[names.OTEL] = draw(_recorded)
        if draw(st.integers(0, 4)) == 0:
            event.details.update({f"{draw(_keys)}{number}": number for number in range(draw(st.integers(9, 12)))})
            event.details[f"{draw(_keys)}long"] = draw(_long)
    return stream


def _outcome(
    encode: Callable[..., EncodedRun | None], run: list[Event], closed_by: set[str] | None
) -> EncodedRun | str | None:
    try:
        return encode(run, closed_by=closed_by)
    except Exception as error:  # both must fail in one way, whatever it is
        return type(error).__name__


@settings(max_examples=300)
@given(_runs(), st.booleans(), st.data())
def test_a_run_is_encoded_to_the_same_bytes(stream: list[PatternEvent], is_record: bool, data: st.DataObject) -> None:
    """Whatever its events hold, as users have them and as a journal is read; for all that is final, and for some."""
    run: list[Event] = [record_of(event.to_dict()) for event in stream] if is_record else list(stream)
    closed_by = data.draw(st.none() | st.sets(st.sampled_from([event.event_id for event in run])))
    expected = _outcome(otlp.encode_run_plainly, run, closed_by)
    note(type(expected).__name__ if not isinstance(expected, str) else expected)
    assert _outcome(otlp.encode_run, run, closed_by) == expected


def test_no_run_is_none() -> None:
    """Nothing is made of nothing."""
    assert otlp.encode_run([]) is otlp.encode_run_plainly([]) is None


def test_known_runs_are_encoded_to_the_same_bytes() -> None:
    """Runs as the field has them; and one of thousands of events, more than fit into what is reserved at first."""
    for run_id in {event.pattern_run_id: None for event in golden_runs()}:
        run = [event for event in golden_runs() if event.pattern_run_id == run_id]
        assert otlp.encode_run(run) == otlp.encode_run_plainly(run)
    first, *middle, last = semgrep_run()
    many = [
        PatternEvent.from_document({**event.to_dict(), "event_id": f"EVT-{number}-{place}"})
        for number in range(500)
        for place, event in enumerate(middle)
    ]
    assert otlp.encode_run([first, *many, last]) == otlp.encode_run_plainly([first, *many, last])


class _Text(str):
    __slots__ = ()


class _Number(int):
    pass


_scalars = st.sampled_from(
    [
        *(None, True, 0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 0.5, math.nan, math.inf),
        *("", "a", "é", "\ud800", _Text("a"), _Number(1), b"a", (1,), {1}),
    ]
)
_values: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["", "a", "b", "é", _Text("b"), 1]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def _nested(draw: st.DrawFn) -> Any:
    """Draw a value, mostly an object, also as deep as where the quick way gives up."""
    value: Any = draw(_values)
    for _ in range(draw(st.sampled_from([0, 0, 0, 6, 7, 8, 9]))):
        value = [value]
    return {"a": value} if draw(st.integers(0, 4)) else value


_Parts = tuple[Any, ...]
_parts_of_an_event: st.SearchStrategy[_Parts] = st.tuples(
    st.sampled_from([0, 1_795_000_000_123_456_789, END_UNIX_NANO - 1, END_UNIX_NANO, -1, 2**64]),
    st.sampled_from([*names.EVENT_TYPES, "pattern.unknown", _Text(names.EXECUTION_STARTED), None]),
    st.sampled_from(["JOB-1", "JOB-1\n", "RUN-1", _Text("JOB-1"), 7]),
    st.sampled_from(["PRUN-1", "PRUN-", _Text("PRUN-1")]),
    st.sampled_from(["PAT-A", "PAT-a"]),
    st.sampled_from([*names.EVENT_STATUSES, "done", ["success"]]),
    st.none() | _nested(),
    st.sampled_from([None, "STEP-1", "STEP", _Text("STEP-1")]),
)


def _document(make: Callable[..., dict[str, Any]], parts: _Parts) -> str:
    try:
        return repr(make("EVT-1", *parts))
    except InvalidEventError as error:
        return str(error)


@settings(max_examples=1500)
@given(
    _parts_of_an_event
    | st.tuples(
        *map(st.just, (0, names.EXECUTION_STARTED, "JOB-1", "PRUN-1", "PAT-A", "success")), _nested(), st.none()
    )
)
def test_a_new_event_is_the_same_document(parts: _Parts) -> None:
    """Whatever its parts are: the same document, of copies, or the same words about what is wrong."""
    make: Callable[..., dict[str, Any]] = compiled("model._emitted", "new_event_document", new_event_document)
    expected = _document(new_event_document, parts)
    note("document" if expected.startswith("{") else "refused")
    assert _document(make, parts) == expected
    if expected.startswith("{") and (given_details := as_object(parts[6])) is not None:
        made = make("EVT-1", *parts)["details"]
        assert made is not given_details
        assert not any(made.get(key) is item for key, item in given_details.items() if isinstance(item, (dict, list)))


def test_details_that_change_meanwhile_are_taken_all_the_same() -> None:
    """A collection of garbage inside of the loop may run anything: nothing is raised at the engine."""
    make: Callable[..., dict[str, Any]] = compiled("model._emitted", "new_event_document", new_event_document)
    details: dict[str, Any] = {f"k{number}": {"a": number} for number in range(50)}
    changes: list[str] = []

    def change(phase: str, _info: object) -> None:
        if phase == "start" and len(changes) < 5:
            changes.append(phase)
            details[f"more{len(changes)}"] = 1

    threshold = gc.get_threshold()
    gc.callbacks.append(change)
    gc.set_threshold(1)
    try:
        made = make("EVT-1", 0, names.EXECUTION_STARTED, "JOB-1", "PRUN-1", "PAT-A", "success", details, None)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(change)
    # Later Pythons collect between two instructions of theirs, and not in the loop.
    assert changes or sys.version_info >= (3, 12)
    assert made["event_id"] == "EVT-1"


@settings(max_examples=600)
@given(event_documents())
def test_details_fit_for_both(document: dict[str, Any]) -> None:
    """For any event type and any details."""
    event_type, details = document.get("event_type"), as_object(document.get("details"))
    if isinstance(event_type, str) and details is not None:
        fits = compiled("model._emitted", "fits_details", fits_details)
        assert fits(event_type, details) is fits_details(event_type, details)


@settings(max_examples=200)
@given(st.lists(events(st.integers(0, 9).map(lambda number: f"EVT-{number}")), max_size=20))
def test_events_are_gathered_alike(stream: list[PatternEvent]) -> None:
    """Columns, the events of each run in their order, and those of the wanted types."""
    given_heads = [
        Head(**{key: value for key, value in event.to_dict().items() if key != "details"}, details=Details())
        for event in stream
    ]
    gather = compiled("journal._heads", "columns_of", columns_of)
    assert tuple(gather(given_heads)) == tuple(columns_of(given_heads))
    part = compiled("journal._heads", "parted", parted)
    telling = names.TERMINAL_EVENT_TYPES
    assert part(given_heads, telling) == parted(given_heads, telling)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=200))
def test_requests_are_joined_alike(resource: bytes, spans: list[bytes]) -> None:
    """With sizes of one byte and of more, and more than fits into what is reserved at first."""
    assert otlp.join_request(resource, spans) == wire.join_request(resource, spans)

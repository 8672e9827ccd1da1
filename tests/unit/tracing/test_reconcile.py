"""What of a run a backend has, and where its copy is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from otel_patterns.errors import QueryError
from otel_patterns.tracing.decode import ReadTrace, read_trace
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.reading import ReadSpan
from otel_patterns.tracing.reconcile import Comparison, Reconciliation, compare, reconcile
from otel_patterns.tracing.replay import Selection
from otel_patterns.tracing.trace import RunTrace, SpanLink
from tests.otlp_json import request_of, with_hex_ids
from tests.streams import Stream, failed_run, semgrep_run

EVENTS = semgrep_run()
TRACE = project(EVENTS)
assert TRACE is not None
STORED = read_trace(request_of(EVENTS)).spans


def judged(stored: list[ReadSpan], backend: str = "tempo", trace: RunTrace = TRACE) -> Comparison:
    """Return what becomes of a run of which a backend has these spans."""
    return compare(trace, stored, backend=backend)


def changed(**changes: Any) -> list[ReadSpan]:
    """Return the spans of the run, of which the root is another."""
    return [replace(STORED[0], **changes), *STORED[1:]]


@pytest.mark.parametrize(
    ("stored", "state", "missing"),
    [
        (STORED, "whole", 0),
        (STORED[::-1], "whole", 0),
        ([*STORED, *STORED], "whole", 0),
        ([], "missing", 5),
        (STORED[1:], "incomplete", 1),
        (STORED[:1], "incomplete", 4),
        ([replace(STORED[0], span_id="f" * 16, name="of somebody else")], "missing", 5),
        (changed(name="another")[:1], "different", 4),
    ],
)
def test_run_is_judged_by_its_span_ids(stored: list[ReadSpan], state: str, missing: int) -> None:
    """Order and copies of spans do not matter, nor do spans of others in the same trace."""
    found = judged(stored)
    assert (found.state, len(found.missing)) == (state, missing)


FIRST = STORED[0].events[0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"events": STORED[0].events[1:]}, "events"),
        ({"events": (*STORED[0].events, FIRST)}, "events"),
        ({"events": (replace(FIRST, name="another"), *STORED[0].events[1:])}, "events"),
        ({"events": (replace(FIRST, time_unix_nano=FIRST.time_unix_nano + 1000), *STORED[0].events[1:])}, "events"),
        (
            {
                "events": (
                    replace(FIRST, attributes={**FIRST.attributes, "pattern.event.status": "failed"}),
                    *STORED[0].events[1:],
                )
            },
            f"{FIRST.name} pattern.event.status",
        ),
        ({"links": (SpanLink("1" * 32, "2" * 16, ""),)}, "links"),
        ({"is_internal": True}, "kind"),
    ],
)
@pytest.mark.parametrize("backend", ["jaeger", "tempo"])
def test_span_events_links_and_kind_are_compared(changes: dict[str, Any], field: str, backend: str) -> None:
    """In any order; what is missing, added or changed is named."""
    [difference] = judged(changed(**changes), backend).different
    assert (difference.span_id, difference.field) == (STORED[0].span_id, field)
    assert judged(changed(events=STORED[0].events[::-1]), backend).state == "whole"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "another"}, "name"),
        ({"parent_span_id": "1" * 16}, "parent_span_id"),
        ({"start_unix_nano": STORED[0].start_unix_nano - 1000}, "start_unix_nano"),
        ({"end_unix_nano": STORED[0].end_unix_nano + 1000}, "end_unix_nano"),
        ({"status": "ERROR"}, "status"),
        ({"status": "OK"}, "status"),
        ({"attributes": {**STORED[0].attributes, "pattern.id": "PAT-OTHER"}}, "pattern.id"),
        ({"attributes": {**STORED[0].attributes, "pattern.events.emitted": None}}, "pattern.events.emitted"),
    ],
)
@pytest.mark.parametrize("backend", ["jaeger", "tempo"])
def test_difference_names_span_field_and_both_values(changes: dict[str, Any], field: str, backend: str) -> None:
    """Each field that backends keep exactly is compared; one that is gone is different as well."""
    [difference] = judged(changed(**changes), backend).different
    assert (difference.span_id, difference.field) == (STORED[0].span_id, field)
    assert difference.found != difference.expected
    assert difference.found == changes.get(field, changes.get("attributes", {}).get(field))


def test_one_of_two_copies_that_is_different_counts() -> None:
    """Tempo may have both for a while: each is compared, and one and the same difference is told once."""
    other = changed(name="another")
    assert len(judged([*STORED, *other, *other]).different) == 1


def test_time_below_a_microsecond_counts_in_tempo_alone() -> None:
    """Jaeger cuts times to microseconds."""
    later = changed(end_unix_nano=STORED[0].end_unix_nano + 999)
    assert (judged(later, "jaeger").state, judged(later, "tempo").state) == ("whole", "different")


@pytest.mark.parametrize("value", [("a", "b"), "x" * 2001, float("nan")])
def test_attribute_that_backends_do_not_keep_is_not_compared(value: Any) -> None:
    """Arrays become text in Jaeger, Tempo cuts long texts, and not-a-number equals nothing."""
    assert TRACE is not None
    assert TRACE.root is not None
    root = structs.replace(TRACE.root, attributes=(*TRACE.root.attributes, ("pattern.input.x", value)))
    assert judged(STORED, trace=structs.replace(TRACE, root=root)).state == "whole"


def test_failed_run_has_status_error() -> None:
    """The status of a failed run is expected to be ERROR."""
    events = failed_run(exit_code=1)
    trace = project(events)
    assert trace is not None
    stored = read_trace(request_of(events)).spans
    assert judged(stored, trace=trace).state == "whole"
    [difference, *_] = judged([replace(span, status="UNSET") for span in stored], trace=trace).different
    assert (difference.field, difference.expected, difference.found) == ("status", "ERROR", "UNSET")


# Over a journal.


def journal_of(path: Path, runs: int) -> str:
    """Write a journal of whole runs, an open one, an unsampled and a native one."""
    events = [event for number in range(runs) for event in semgrep_run(Stream(f"PRUN-TEST-{number}"))]
    events += semgrep_run(Stream("PRUN-OPEN"))[:5]
    events += semgrep_run(Stream("PRUN-UNSAMPLED"), sampled=False) + semgrep_run(Stream("PRUN-NATIVE"), native=True)
    path.write_bytes(b"".join(event.to_line() for event in events))
    return str(path)


def reconciled(
    path: str, read: Callable[[str], ReadTrace], selection: Selection | None = None
) -> tuple[list[Comparison], Reconciliation]:
    """Compare a journal with a backend that answers so."""
    result = Reconciliation()
    return list(reconcile(path, read, selection or Selection(), backend="tempo", result=result)), result


def test_only_runs_that_a_backend_should_have_whole_are_compared(tmp_path: Path) -> None:
    """Open, unsampled and native runs are left out; each other one is asked for once, by its trace id."""
    asked: list[str] = []

    def read(trace_id: str) -> ReadTrace:
        asked.append(trace_id)
        return ReadTrace()

    found, result = reconciled(journal_of(tmp_path / "j", 2), read)
    assert [each.trace.run_id for each in found] == ["PRUN-TEST-0", "PRUN-TEST-1"]
    assert asked == [each.trace.trace_id for each in found]
    assert (result.compared, result.states["missing"]) == (2, 2)
    chosen, _ = reconciled(str(tmp_path / "j"), read, Selection(run_id="PRUN-TEST-1"))
    assert [each.trace.run_id for each in chosen] == ["PRUN-TEST-1"]


def test_trace_that_is_not_given_whole_is_unreadable(tmp_path: Path) -> None:
    """Of a part nobody knows what is missing, so nothing is; the backend's words are told."""
    document = {"trace": with_hex_ids(request_of(EVENTS)), "status": "PARTIAL", "message": "too large"}
    [found], result = reconciled(journal_of(tmp_path / "j", 1), lambda _: read_trace(json.dumps(document)))
    assert (found.state, found.missing, result.states["unreadable"]) == ("unreadable", (), 1)
    assert "too large" in found.obstacle


def test_failures_of_single_traces_are_told_and_go_on(tmp_path: Path) -> None:
    """A backend that breaks over one trace is asked for the next one; over five in a row, no more."""

    def breaking(every: int) -> Callable[[str], ReadTrace]:
        numbers = iter(range(100))

        def read(trace_id: str) -> ReadTrace:
            if next(numbers) % every:
                return ReadTrace()
            raise QueryError(trace_id, "HTTP 500", is_of_trace=True)

        return read

    path = journal_of(tmp_path / "j", 10)
    found, result = reconciled(path, breaking(2))
    assert [each.state for each in found] == ["unreadable", "missing"] * 5
    assert (result.states["unreadable"], found[0].obstacle) == (5, "HTTP 500")
    with pytest.raises(QueryError):
        reconciled(path, breaking(1))


def test_failure_of_the_backend_ends_it_at_once(tmp_path: Path) -> None:
    """What concerns every trace is raised."""
    asked: list[str] = []

    def read(trace_id: str) -> ReadTrace:
        asked.append(trace_id)
        raise QueryError(trace_id, "HTTP 401")

    with pytest.raises(QueryError):
        reconciled(journal_of(tmp_path / "j", 3), read)
    assert len(asked) == 1

"""Documents and event streams like those of the field: nearly right."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.model.outline import ABANDONED
from otel_patterns.model.times import format_timestamp
from otel_patterns.testing import START_UNIX_NANO
from tests.documents import DETAILS, event_document, run_document
from tests.traps import DETAIL_VALUES, EVENT_VALUES, EXTRA, RUN_VALUES, Values

# What json.loads can return: text with lone surrogates, infinite and endless numbers; parse_constant takes out NaN.
texts = st.text(st.characters(exclude_categories=()), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.sampled_from([10**400, 1e308, float("inf"), 1.0, -0.0, "", "a\n", "explicit", "success"])
    | st.floats(allow_nan=False)
    | texts
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)
_ALL_DETAIL_VALUES = [value for values in DETAIL_VALUES.values() for value in (*values.accepted, *values.refused)]
_detail_values = st.sampled_from(_ALL_DETAIL_VALUES) | json_values


def _replacement(traps: Mapping[str, Values], key: str) -> st.SearchStrategy[Any]:
    known = traps[key]
    # Accepted and refused values in equal parts, and now and then any JSON.
    accepted: list[Any] = [*known.accepted] or [{}]
    return st.sampled_from(accepted) | st.sampled_from(known.refused) | json_values


@st.composite
def event_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an event document with at most three things changed; about half are valid strictly."""
    event_type = draw(st.sampled_from(names.EVENT_TYPES))
    document = event_document(event_type)
    details: dict[str, Any] = document["details"]
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        match draw(st.sampled_from(["detail", "detail", "value", "value", "value", "drop detail", "drop", "extra"])):
            case "detail":
                details[draw(st.sampled_from(sorted(DETAILS[event_type])))] = draw(_detail_values)
            case "value":
                key = draw(st.sampled_from(names.EVENT_KEYS))
                document[key] = draw(_replacement(EVENT_VALUES, key))
            case "drop detail":
                details.pop(draw(st.sampled_from(sorted(DETAILS[event_type]))), None)
            case "drop":
                document.pop(draw(st.sampled_from(names.EVENT_KEYS)), None)
            case _:
                document[draw(st.sampled_from(sorted(EXTRA.keys() - document.keys())) | texts)] = draw(json_values)
    return document


@st.composite
def run_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a run document with at most three things changed."""
    document = run_document()
    keys = sorted(document)
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        match draw(st.sampled_from(["value", "value", "value", "member", "drop", "extra"])):
            case "value":
                key = draw(st.sampled_from(keys))
                document[key] = draw(_replacement(RUN_VALUES, key))
            case "member":
                key = draw(st.sampled_from(["metrics", "tool_metadata", "error"]))
                original: dict[str, Any] = run_document()[key]
                document[key] = {**original, draw(st.sampled_from(sorted(original))): draw(_detail_values)}
            case "drop":
                document.pop(draw(st.sampled_from(keys)), None)
            case _:
                document[draw(texts)] = draw(json_values)
    return document


UNKNOWN_TYPES = ("pattern.execution.paused", "pattern.selection.cancelled", "deploy", "pattern.cleanup.done", "")
RUN_IDS = ("PRUN-01KANBQ8M00000000000000002", "PRUN-TEST-001")
_OTEL = (
    {"v": 1, "operation_kind": "recorded", "pattern_version": "9"},
    {"operation_kind": 1, "pattern_version": None},
    "none",
)


@st.composite
def _details(draw: st.DrawFn, event_type: str) -> dict[str, Any]:
    known = DETAILS.get(event_type, {"operation_kind": "x"})
    details: dict[str, Any] = {name: value for name, value in known.items() if draw(st.booleans())}
    for name in draw(st.lists(st.sampled_from(sorted(known)), max_size=2)):
        details[name] = draw(_detail_values)
    if draw(st.integers(0, 3)) == 0:
        details["otel"] = draw(st.sampled_from(_OTEL))
    if event_type in (names.EXECUTION_FAILED, names.EXECUTION_COMPLETED) and draw(st.integers(0, 2)) == 0:
        details["error_type"] = ABANDONED
    return details


@st.composite
def events(draw: st.DrawFn, event_ids: st.SearchStrategy[str], run_ids: tuple[str, ...] = RUN_IDS) -> PatternEvent:
    """Draw an event as a damaged or foreign log may hold it: any type, times often equal, any JSON as details."""
    event_type = draw(st.sampled_from(names.EVENT_TYPES) | st.sampled_from(UNKNOWN_TYPES))
    at_nano = draw(
        st.sampled_from([0, 0, 1, 999, 1_000, 1_000_000, 2_500_000_000, -3_000_000_000]) | st.integers(0, 10**12)
    )
    document = event_document(
        event_type,
        event_id=draw(event_ids),
        timestamp=_timestamp(START_UNIX_NANO + at_nano),
        job_id=draw(st.sampled_from(["JOB-01KANBQ8M00000000000000003"] * 4 + ["JOB-01KANBQ8M00000000000000005"])),
        pattern_run_id=draw(st.sampled_from(run_ids)),
        pattern_id=draw(st.sampled_from(["PAT-A", "PAT-B"])),
        status=draw(st.sampled_from(names.EVENT_STATUSES)),
        step_id=draw(st.sampled_from([None, "STEP-01KANBQ8M00000000000000004"])),
        details=draw(_details(event_type)),
    )
    # Through JSON, as a log goes: otherwise two events could share an object.
    return PatternEvent.from_document(json.loads(json.dumps(document), parse_constant=_constant))


def _constant(name: str) -> float:
    return float(name.replace("Infinity", "inf"))


def _timestamp(unix_nano: int) -> str:
    return f"{format_timestamp(unix_nano)[:19]}.{unix_nano % 10**9:09d}Z"


@st.composite
def streams(draw: st.DrawFn, *, conflicts: bool, run_ids: tuple[str, ...] = RUN_IDS) -> list[PatternEvent]:
    """Draw the events of one or more runs; with conflicts, different events may share an id."""
    if conflicts:
        event_ids = st.integers(0, 7).map(lambda number: f"EVT-{number:026d}")
        stream = draw(st.lists(events(event_ids, run_ids), min_size=1, max_size=10))
        # Copies that are equal to Python and differ in JSON.
        for original in draw(st.lists(st.sampled_from(stream), max_size=2)):
            for exit_code in draw(st.permutations([1, 1.0, True]))[:2]:
                details = {**original.details, "exit_code": exit_code}
                stream.append(PatternEvent.from_document({**original.to_dict(), "details": details}))
        return stream
    numbers = draw(st.permutations(range(draw(st.integers(1, 12)))))
    return [draw(events(st.just(f"EVT-{number:026d}"), run_ids)) for number in numbers]

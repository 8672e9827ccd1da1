"""`events_from_trace`: the events that fitted into a trace, rebuilt from it. The inverse of `projection`.

A rebuilt event is the original or it is listed as incomplete. Three things see to that: each event is projected again
and compared with its copy in the trace; a run's spans are, too; and where details did not fit, their digest is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from ..model import ids, names
from ..model.encoding import encode_json
from ..model.envelope import check_event
from ..model.events import PatternEvent
from ..model.times import format_timestamp
from ..model.values import as_object
from .decode import read_trace
from .projection import MAX_TEXT_BYTES, IdsOfRun, project, span_event
from .reading import ReadEvent, ReadSpan
from .recorded import TRUNCATED
from .reverse_otel import is_made, json_object, origin_of, same_attributes, with_otel, with_user_parts
from .trace import AttributeValue

# Tempo cuts texts at this many bytes, and does not say so.
_CUT_BYTES: Final = 2048
_CUT_MARGIN: Final = 8
_LISTED: Final = 10
_LATEST: Final = 2**63
_IDS: Final = (names.ATTR_JOB_ID, names.ATTR_PATTERN_ID, names.ATTR_STEP_ID)


@dataclass(frozen=True)
class IncompleteEvent:
    """What of a run is not whole in a trace.

    Attributes:
        reason: What is missing, for people.
        pattern_run_id: The run; None when it is the trace that is not whole.
        event_id: The event; None when it is not known, or when more than one is concerned.
        event_type: Its type; None when it is not known.
        details_sha256: SHA-256 of the original details as compact JSON, without `otel`, when only their scalars are
            left. Such an event is among the `events`, and has `details.otel.truncated`.
    """

    reason: str
    pattern_run_id: str | None = None
    event_id: str | None = None
    event_type: str | None = None
    details_sha256: str | None = None


@dataclass(frozen=True)
class TraceEvents:
    """What a trace tells of the journal; what `events_from_trace` returns.

    Attributes:
        events: The events run by run, as they could stand in a journal: in the order of the trace, the end last.
        incomplete: What is not whole. An event that is neither here nor in a run that is, is the original.
        foreign_spans: How many spans are not ours.
    """

    events: list[PatternEvent]
    incomplete: list[IncompleteEvent]
    foreign_spans: int


def events_from_trace(otlp: Mapping[str, Any] | str | bytes) -> TraceEvents:
    """Return the events of the runs in a trace, and what of them is not whole.

    Equal to the original are all nine keys of an event that is not listed, but for the way in which a foreign
    timestamp was written, and for `details.otel`: that is rebuilt as far as a projection needs it, without `writer`.
    When nothing is listed, the events project to the trace that was read, byte by byte, unless a backend has changed
    the order of its parts.

    Args:
        otlp: A trace: OTLP as JSON (parsed, or text with one document or one a line) or protobuf, or what Jaeger, its
            UI or Tempo answers for a trace.

    Raises:
        InvalidTraceError: It is no trace.
    """
    read = read_trace(otlp)
    events: list[PatternEvent] = []
    incomplete = [IncompleteEvent(note) for note in read.notes]
    runs: dict[tuple[str, str], dict[str, list[ReadSpan]]] = {}
    foreign = 0
    for span in read.spans:
        run_id = span.attributes.get(names.ATTR_RUN_ID)
        if not isinstance(run_id, str) or not _is_ours(span, run_id):
            foreign += 1
            continue
        copies = runs.setdefault((span.trace_id, run_id), {}).setdefault(span.span_id, [])
        if span not in copies:
            copies.append(span)
    for (_, run_id), spans in sorted(runs.items(), key=lambda run: _start(run[1])):
        rebuilt = _Rebuilt(run_id, spans)
        events += rebuilt.events
        incomplete += rebuilt.incomplete
    return TraceEvents(events, incomplete, foreign)


def _is_ours(span: ReadSpan, run_id: str) -> bool:
    """Tell whether a span has the id that the projection gives to it, which no other program can have hit on."""
    opening = str(span.attributes.get(names.ATTR_CICD_TASK_RUN_ID))
    stage = str(span.attributes.get(names.ATTR_STAGE))
    roles = (("root",), ("marker",), ("stage", stage, opening))
    return any(span.span_id == ids.span_id(run_id, *role) for role in roles)


def _start(spans: Mapping[str, Sequence[ReadSpan]]) -> int:
    return min(copies[0].start_unix_nano for copies in spans.values())


class _Rebuilt:
    """One run of a trace; `spans` are the different copies of each of its spans by span id."""

    def __init__(self, run_id: str, spans: Mapping[str, Sequence[ReadSpan]]) -> None:
        self.events: list[PatternEvent] = []
        self.incomplete: list[IncompleteEvent] = []
        self._run_id = run_id
        self._spans = spans
        roots = spans.get(ids.span_id(run_id, "root"))
        if not roots:
            self._tell(_unfinished(spans))
            return
        self._root = roots[0]
        job_id, pattern_id, step_id = map(self._root.attributes.get, _IDS)
        # Of any type, until `check_event` has seen them.
        self._ids_of_run = IdsOfRun(cast("str", job_id), cast("str", pattern_id), cast("str | None", step_id))
        for copies in spans.values():
            if len(copies) > 1:
                self._tell(f"the trace has {len(copies)} different copies of span {copies[0].name!r}; the first counts")
            if copies[0].dropped:
                self._tell(f"{copies[0].dropped} attributes or events of span {copies[0].name!r} were dropped")
        self._rebuild()

    def _tell(self, reason: str, **more: str | None) -> None:
        self.incomplete.append(IncompleteEvent(reason, self._run_id, **more))

    def _rebuild(self) -> None:
        by_index: dict[int, PatternEvent] = {}
        found: set[int] = set()
        for read in self._root.events:
            index = read.attributes.get(names.ATTR_EVENT_INDEX)
            if names.ATTR_EVENT_ID not in read.attributes or type(index) is not int or index in found:
                continue
            found.add(index)
            if (event := self._event(read, index)) is not None:
                by_index[index] = event
        self._compare_number(found)
        # In the order of their times; what ended the run was written last, whatever its time says.
        self.events = sorted([by_index[index] for index in sorted(by_index)], key=lambda event: event.is_terminal)
        for key, size in _perhaps_cut(copies[0] for copies in self._spans.values()):
            self._tell(f"{key} has {size} bytes: Tempo cuts texts at {_CUT_BYTES}")
        if not self.events:
            return
        spans = [copies[0] for copies in self._spans.values()]
        self.events[0] = with_otel(self.events[0], origin_of(self._root, self.events))
        self.events = with_user_parts(self.events, self._root, spans)
        if not self.incomplete:
            self._compare_spans(spans)

    def _event(self, read: ReadEvent, index: int) -> PatternEvent | None:
        """Return the event of a span event; None, and a line in `incomplete`, when it cannot be an event."""
        attributes = read.attributes
        known = {"event_id": _text(attributes.get(names.ATTR_EVENT_ID)), "event_type": read.name}
        details, digest = _details(attributes)
        if details is None:
            self._tell("its details are no JSON object any more", **known)
            return None
        document = {
            **known,
            "timestamp": _timestamp(read.time_unix_nano),
            "job_id": attributes.get(names.ATTR_JOB_ID, self._ids_of_run.job_id),
            "pattern_run_id": self._run_id,
            "pattern_id": attributes.get(names.ATTR_PATTERN_ID, self._ids_of_run.pattern_id),
            "status": attributes.get(names.ATTR_EVENT_STATUS),
            "details": details,
            "step_id": attributes.get(names.ATTR_STEP_ID, self._ids_of_run.step_id) or None,
        }
        if (problem := next(check_event(document, known_types_only=False), None)) is not None:
            self._tell(f"its copy in the trace is no event: {problem}", **known)
            return None
        event = PatternEvent.from_document(document)
        if digest is not None:
            size = attributes.get(names.ATTR_DETAILS_BYTES)
            reason = f"only scalars are left of its {size} bytes of details: {MAX_TEXT_BYTES} fit into a trace"
            self._tell(reason, **known, details_sha256=digest)
            return with_otel(event, {TRUNCATED: {"sha256": digest, "bytes": size}})
        if read.dropped or _is_cut(read.name):
            self._tell("its copy in the trace was cut", **known)
        elif not same_attributes(attributes, span_event(event, index, self._ids_of_run).attributes):
            self._tell("its copy in the trace was changed on the way: the parts of it contradict each other", **known)
        return event

    def _compare_number(self, found: set[int]) -> None:
        emitted = self._root.attributes.get(names.ATTR_EVENTS_EMITTED)
        if emitted == len(found) and not (found and max(found) >= len(found)):
            return
        missing = list(islice((index for index in range(len(found) + _LISTED) if index not in found), _LISTED))
        missing = [index for index in missing if isinstance(emitted, int) and index < emitted]
        where = f", not those with the index {', '.join(map(str, missing))}" if missing else ""
        self._tell(f"the run had {emitted} events, and {len(found)} are in the trace{where}")

    def _compare_spans(self, spans: Iterable[ReadSpan]) -> None:
        """Project again: what does not come out as it was would be another run."""
        trace = project(self.events)
        made = {} if trace is None else {span.span_id: span for span in trace.spans}
        for span in spans:
            if span.span_id not in made and span.name == names.MARKER_SPAN_NAME:
                continue
            if not is_made(span, made.pop(span.span_id, None)):
                self._tell(
                    f"span {span.name!r} does not follow from these events: they may have stood in another order"
                )
        for span in made.values():
            self._tell(f"span {span.name!r} follows from these events, and is not in the trace")


def _details(attributes: Mapping[str, AttributeValue]) -> tuple[dict[str, Any] | None, str | None]:
    """Return the details of a span event, and the digest of the original's when they are not whole."""
    text = attributes.get(names.ATTR_DETAILS)
    if isinstance(text, str):
        try:
            return as_object(json.loads(text, parse_constant=str)), None
        except (ValueError, RecursionError):
            return None, None
    digest = attributes.get(names.ATTR_DETAILS_SHA256)
    if not isinstance(digest, str):
        return {}, None
    prefix = names.ATTR_DETAIL
    flat = {key.removeprefix(prefix): value for key, value in attributes.items() if key.startswith(prefix)}
    scalars = json_object(flat)
    # A few long texts, each of which fits: they are all that there was, and the digest says so.
    is_whole = hashlib.sha256(encode_json(scalars)).hexdigest() == digest
    return scalars, None if is_whole else digest


def _timestamp(unix_nano: int) -> str:
    if unix_nano >= _LATEST:
        return ""
    text, nano = format_timestamp(unix_nano), unix_nano % 1000
    return f"{text[:-1]}{nano:03d}Z" if nano else text


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_cut(text: str) -> bool:
    return text.endswith("…") and len(text.encode()) > MAX_TEXT_BYTES - len("…".encode())


def _perhaps_cut(spans: Iterable[ReadSpan]) -> Iterator[tuple[str, int]]:
    """Yield texts of a length at which a backend cuts; texts of our own are shorter."""
    for span in spans:
        for attributes in (span.resource, span.attributes, *(event.attributes for event in span.events)):
            for key, value in attributes.items():
                size = len(value.encode()) if isinstance(value, str) else 0
                if abs(size - _CUT_BYTES) <= _CUT_MARGIN:
                    yield key, size


def _unfinished(spans: Mapping[str, Sequence[ReadSpan]]) -> str:
    first = [copies[0] for copies in spans.values()]
    stages = [_text(span.attributes.get(names.ATTR_STAGE)) for span in first if names.ATTR_STAGE in span.attributes]
    found = f"are only the stages {', '.join(stages)}" if stages else f"is only the span {names.MARKER_SPAN_NAME!r}"
    return f"the run has not ended in this trace, and its events come with its end: there {found}"

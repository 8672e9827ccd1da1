"""Reconciling: what a backend has of each run, compared with what the journal projects to.

A receiver's acknowledgement says that it took a span, not that it is still there: storage is lost, expires, or drops.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from ..errors import QueryError
from ..model import names
from .delivered import DeliveryRecord
from .otlp import encode_trace
from .parcels import MAX_BATCH_BYTES, Parcel, Sender, batch_of, pack, send
from .replay import ReplayReport, Selection, traces_of
from .trace import SpanKind

if TYPE_CHECKING:
    from .decode import ReadTrace
    from .reading import ReadSpan
    from .trace import AttributeValue, RunTrace, Span, SpanEvent, SpanLink

State = Literal["whole", "missing", "incomplete", "different", "unreadable"]
# A backend that breaks over so many traces one after the other does not break over the traces.
_FAILURES: Final = 5
# Jaeger keeps times in microseconds, as most events have them.
_TIME_UNITS: Final = {"jaeger": 1000, "tempo": 1}
# Tempo cuts what is longer.
_KEPT_BYTES: Final = 2000


class Difference(NamedTuple):
    """A field of a span in which a backend's copy is another."""

    span_id: str
    field: str
    expected: Any
    found: Any


@dataclass(frozen=True)
class Comparison:
    """A run, and what a backend has of it.

    Attributes:
        trace: What the journal projects to.
        missing: The spans that the backend does not have.
        different: Where its copies differ.
        obstacle: Why it could not be compared; empty when it was.
    """

    trace: RunTrace
    missing: tuple[Span, ...] = ()
    different: tuple[Difference, ...] = ()
    obstacle: str = ""

    @property
    def state(self) -> State:
        """What is wrong with it, the worst first."""
        if self.obstacle:
            return "unreadable"
        if self.different:
            return "different"
        if not self.missing:
            return "whole"
        return "missing" if len(self.missing) == len(list(self.trace.spans)) else "incomplete"


@dataclass
class Reconciliation:
    """What became of all: how many runs were compared, and what the replay of the journal met."""

    compared: int = 0
    states: dict[State, int] = field(
        default_factory=lambda: dict.fromkeys(("whole", "missing", "incomplete", "different", "unreadable"), 0)
    )
    replay: ReplayReport = field(default_factory=ReplayReport)


def reconcile(
    journal_path: str,
    read: Callable[[str], ReadTrace],
    selection: Selection,
    *,
    backend: str,
    result: Reconciliation,
) -> Iterator[Comparison]:
    """Yield each selected run that ended, was sampled and was sent by us, with what a backend has of it.

    Memory is bounded by the runs that are open at the same place of the journal, and by one trace.

    Args:
        journal_path: The journal.
        read: Returns what the backend has of a trace id.
        selection: Which runs.
        backend: `jaeger` or `tempo`, which keep times differently.
        result: Is told the counts.

    Raises:
        JournalError: The journal cannot be read.
        QueryError: The backend cannot be asked.
    """
    failures = 0
    for trace in traces_of(journal_path, selection, report=result.replay):
        if trace.root is None or trace.native or not trace.sampled:
            continue
        try:
            stored = read(trace.trace_id)
        except QueryError as error:
            failures += 1
            if not error.is_of_trace or failures == _FAILURES:
                raise
            found = Comparison(trace, obstacle=error.reason)
        else:
            failures = 0
            # Of a part of a trace nobody knows what is missing.
            obstacle = "; ".join(stored.notes)
            found = Comparison(trace, obstacle=obstacle) if obstacle else compare(trace, stored.spans, backend=backend)
        result.compared += 1
        result.states[found.state] += 1
        yield found


def compare(trace: RunTrace, stored: Iterable[ReadSpan], *, backend: str) -> Comparison:
    """Return in what a backend's spans differ from a run's. Spans of others in the same trace do not count."""
    copies: dict[str, list[ReadSpan]] = {}
    for span in stored:
        copies.setdefault(span.span_id, []).append(span)
    unit = _TIME_UNITS[backend]
    missing: list[Span] = []
    different: dict[Difference, None] = {}
    for span in trace.spans:
        if span.span_id not in copies:
            missing.append(span)
        # Tempo has a span twice for a while that was sent twice.
        for copy in copies.get(span.span_id, ()):
            different.update(dict.fromkeys(_differences(span, copy, unit)))
    return Comparison(trace, tuple(missing), tuple(different))


def _differences(span: Span, copy: ReadSpan, unit: int) -> Iterator[Difference]:
    pairs: list[tuple[str, object, object]] = [
        ("name", span.name, copy.name),
        ("parent_span_id", span.parent_span_id, copy.parent_span_id),
        ("start_unix_nano", span.start_unix_nano // unit * unit, copy.start_unix_nano // unit * unit),
        ("end_unix_nano", span.end_unix_nano // unit * unit, copy.end_unix_nano // unit * unit),
        ("kind", _kind_of(is_internal=span.kind == SpanKind.INTERNAL), _kind_of(is_internal=copy.is_internal)),
        ("status", "ERROR" if span.failed else "UNSET", copy.status),
        ("links", _ids_of(span.links), _ids_of(copy.links)),
    ]
    pairs += [(key, value, copy.attributes.get(key)) for key, value in span.attributes if _is_kept_exactly(value)]
    pairs += _pairs_of_events(span, copy, unit)
    for name, expected, found in pairs:
        if expected != found:
            yield Difference(span.span_id, name, expected, found)


def _ids_of(links: Iterable[SpanLink]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((link.trace_id, link.span_id) for link in links))


def _kind_of(*, is_internal: bool) -> str:
    # Of a span that was read back no more is known.
    return "INTERNAL" if is_internal else "SERVER or CLIENT"


def _pairs_of_events(span: Span, copy: ReadSpan, unit: int) -> Iterator[tuple[str, object, object]]:
    """Yield what span events are to be compared in: names and times, and of pattern events each attribute."""
    ours = Counter((_name_of(event, unit), event.time_unix_nano // unit * unit) for event in span.events)
    theirs = Counter((event.name, event.time_unix_nano // unit * unit) for event in copy.events)
    if ours != theirs:
        # Only those that differ: a run may have thousands.
        yield "events", tuple(sorted(ours - theirs)), tuple(sorted(theirs - ours))
        return
    copies = {event.attributes.get(names.ATTR_EVENT_ID): event.attributes for event in copy.events}
    for event in span.events:
        event_id = next((value for key, value in event.attributes if key == names.ATTR_EVENT_ID), None)
        if event_id is not None:
            found = copies.get(event_id, {})
            for key, value in event.attributes:
                if _is_kept_exactly(value):
                    yield f"{event.name} {key}", value, found.get(key)


def _name_of(event: SpanEvent, unit: int) -> str:
    """Return the name under which a backend keeps a span event: Jaeger calls it as its attribute `event` says."""
    if unit == _TIME_UNITS["jaeger"]:
        return next((str(value) for key, value in event.attributes if key == "event"), event.name)
    return event.name


def _is_kept_exactly(value: AttributeValue) -> bool:
    """Tell whether backends give an attribute back as it was: arrays become text in some, long texts are cut."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace")) <= _KEPT_BYTES
    return isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))


class Repair:
    """Sends spans that a backend does not have: the same bytes, acknowledged and put on record as replay does it.

    Each once: whoever looks on can repeat the whole, which finds what is still missing. It need not own the
    destination, so it works beside `ship`: what both send is the same.
    """

    def __init__(self, journal_path: str, sink: Sender) -> None:
        self.report = ReplayReport()
        self._sink = sink
        self._record = DeliveryRecord(journal_path, sink.destination)
        self._waiting: list[Parcel] = []
        self._waiting_bytes = 0
        # A receiver that cannot be reached, or is none, takes nothing else either.
        self._is_ended = False

    def send(self, trace: RunTrace, spans: Sequence[Span]) -> None:
        """Take spans of a run, and send when there are enough for a request."""
        try:
            encoded, wanted = encode_trace(trace), {span.span_id for span in spans}
            parcel = pack(encoded, [span for span in encoded.spans if span.span_id in wanted])
        except Exception as error:  # noqa: BLE001  # a damaged run must not withhold the others
            self.report.leave_out(1, f"run {trace.run_id} cannot be encoded: {type(error).__name__}: {error}")
            return
        self._waiting.append(parcel)
        self._waiting_bytes += parcel.size
        if self._waiting_bytes > MAX_BATCH_BYTES:
            self._send_batch()

    def finish(self) -> None:
        """Send what is left."""
        while self._waiting:
            self._send_batch()

    def _send_batch(self) -> None:
        batch = batch_of(self._waiting, limit=MAX_BATCH_BYTES)
        del self._waiting[: len(batch)]
        self._waiting_bytes -= sum(parcel.size for parcel in batch)
        report = self.report
        if self._is_ended:
            report.owed += len(batch)
            return
        taken: set[str] = set()
        left: set[str] = set()
        for parcels, answer in send(self._sink, batch, lambda: None):
            runs = {parcel.run_id for parcel in parcels}
            spans = sum(len(parcel.span_ids) for parcel in parcels)
            if answer.kind == "acknowledged":
                self._record.settle(parcels, answer)
                taken |= runs
                report.spans += spans
            elif answer.is_final:
                self._record.settle(parcels, answer)
                report.parked[f"{answer.kind}: {answer.message or 'no reason was given'}"] += spans
            else:
                left |= runs
                self._is_ended = answer.kind in ("retry", "misconfigured")
                report.leave_out(0, answer.message)
        report.sent += len(taken)
        report.owed += len(left)

    def close(self) -> None:
        """Close the record. What was not sent is still missing, and found to be so the next time."""
        self._record.close()

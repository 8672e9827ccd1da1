"""The reference of what backends keep, made from what they answer: `docs/reference/backends.md`.

`python -m tests.integration.print_backend_table > docs/reference/backends.md` writes it anew; a test compares the two.
It needs Jaeger and Tempo.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_patterns import events_from_trace
from otel_patterns.clock import Clock
from otel_patterns.model import ids, names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.decode import read_trace
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.reading import ReadSpan
from tests.backends.polling import wait_for
from tests.backends.servers import JaegerServer, TempoServer
from tests.backends.wire import fetch, push_traces
from tests.documents import DETAILS
from tests.otlp_json import request_of
from tests.streams import recorded

Ask = Callable[[str], bytes]

JAEGER_V3 = "Jaeger `/api/v3/traces/{id}`"
JAEGER_V1 = "Jaeger `/api/traces/{id}`, UI"
TEMPO = "Tempo `/api/v2/traces/{id}`"

HEAD = """\
# What backends keep

Made from what Jaeger 2 on badger storage and Tempo 3 answer, by `python -m tests.integration.print_backend_table`; a
test compares it. An event is a span event on the root, with its details as JSON in `pattern.details`. Scalars among
them are attributes of their own as well, with the prefix `pattern.detail.`. `equal` means that
[`events_from_trace`](python.md#events_from_trace) made the same event of the answer.
"""
TAIL = """\
Of a run that has not ended there are only the span `run started` and the stages that have ended. Its events come with
its root. [Get events back from a trace](../how-to/import-trace.md) tells how.
"""
RUNS = (
    (
        names.SELECTION_STARTED,
        names.SELECTION_RESOLVED,
        names.TEMPLATE_EXPANDED,
        names.VALIDATION_STARTED,
        names.VALIDATION_COMPLETED,
        names.EXECUTION_STARTED,
        names.EXECUTION_COMPLETED,
    ),
    (names.EXECUTION_STARTED, names.EXECUTION_FAILED),
    (names.VALIDATION_STARTED, names.VALIDATION_FAILED),
    (names.SELECTION_STARTED, names.SELECTION_FAILED),
)
CALLER = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}


def jaeger_asks(server: JaegerServer) -> dict[str, Ask]:
    """Return the two ways to ask Jaeger for a trace."""
    return {
        JAEGER_V3: lambda trace_id: fetch(f"{server.query_url}/api/v3/traces/{trace_id}")[1],
        JAEGER_V1: lambda trace_id: fetch(f"{server.query_url}/api/traces/{trace_id}")[1],
    }


def tempo_asks(server: TempoServer) -> dict[str, Ask]:
    """Return the way to ask Tempo for a trace."""
    return {TEMPO: lambda trace_id: fetch(f"{server.query_url}/api/v2/traces/{trace_id}")[1]}


def make_run(types: tuple[str, ...], first: Mapping[str, Any] | None = None) -> list[PatternEvent]:
    """Return a run of the present time with every known detail; `first` is what its first event records."""
    clock = Clock()
    run_id, start = f"PRUN-{clock.new_ulid()}", clock.now_unix_nano()
    run: list[PatternEvent] = []
    for number, event_type in enumerate(types):
        details = {**DETAILS[event_type], **({} if run else {names.OTEL: recorded(**(first or {}))})}
        status = names.FAILED if event_type.endswith("failed") else names.SUCCESS
        time = start + number * 1_000_000
        run.append(
            PatternEvent.create(event_type, "JOB-1", run_id, "PAT-A", status, details, time_unix_nano=time, clock=clock)
        )
    return run


def odd_runs() -> list[list[PatternEvent]]:
    """Return runs with what backends are known to change: a linked one, and one below a caller."""
    user = {"name": "note", "attributes": {"event": "x"}}
    resource = {"service.name": "engine", "process.command_args": ["a", "b"]}
    linked = make_run(RUNS[0], {**CALLER, "join": "link", "resource": resource})
    finer = {**linked[1].to_dict(), "timestamp": f"{linked[1].timestamp[:-1]}001Z"}
    linked[1] = PatternEvent.from_document(finer)
    events = [{**user, "time_unix_nano": linked[0].time_unix_nano}]
    events += [{"name": "long", "time_unix_nano": linked[0].time_unix_nano, "attributes": {"text": "x" * 3000}}]
    linked[0].details[names.OTEL]["span"] = {"run": {"events": events}}
    # The trace of a caller has every run that was ever joined to it: one of its own.
    caller = {**CALLER, "traceparent": f"00-{Clock().random_bits():032x}-b7ad6b7169203331-01"}
    child = make_run(RUNS[1], {**caller, "join": "child", "remote": True})
    child[1].details["stderr_preview"] = ["e" * 3000]
    return [linked, child]


def trace_id_of(run: list[PatternEvent]) -> str:
    """Return the id of the trace that a run is in."""
    trace = project(run)
    assert trace is not None
    return trace.trace_id


def root_of(answer: bytes, run: list[PatternEvent]) -> ReadSpan:
    """Return a run's root in an answer."""
    span_id = ids.span_id(run[0].pattern_run_id, "root")
    return next(span for span in read_trace(answer).spans if span.span_id == span_id)


def page(jaeger: JaegerServer, tempo: TempoServer) -> str:
    """Return the page: runs are pushed to both backends, and asked for."""
    asks = {**jaeger_asks(jaeger), **tempo_asks(tempo)}
    runs, odd = [make_run(types) for types in RUNS], odd_runs()
    for server in (jaeger, tempo):
        push_traces(server.otlp_http_endpoint, ExportTraceServiceRequest.FromString(request_of(*runs, *odd)))

    def answer(ask: Ask, run: list[PatternEvent]) -> bytes:
        # Jaeger says 404, and Tempo gives an empty trace, until it has it.
        return wait_for(lambda: ask(trace_id_of(run)), lambda data: run[0].pattern_run_id.encode() in data)

    lines = [HEAD, "## Events\n", *_head("event type", "as attributes of their own", *asks)]
    rows = dict(_event_rows(runs, {name: [answer(ask, run) for run in runs] for name, ask in asks.items()}))
    lines += [rows[event_type] for event_type in names.EVENT_TYPES]
    lines += ["", "## What they change\n", *_head("what", *asks)]
    changes = [
        _changes([(root_of(request_of(run), run), root_of(answer(ask, run), run)) for run in odd])
        for ask in asks.values()
    ]
    lines += [_row(what, *(column[what] for column in changes)) for what in changes[0]]
    back = {name: events_from_trace(answer(ask, odd[1])) for name, ask in asks.items()}
    kept = [f"{len(trace.events)} events, {len(trace.incomplete)} of them marked as cut" for trace in back.values()]
    lines += [_row("a run whose last event has details over 2,000 bytes", *kept), "", TAIL]
    return "\n".join(lines)


def _head(*cells: str) -> list[str]:
    return [_row(*cells), f"|{'---|' * len(cells)}"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _event_rows(runs: list[list[PatternEvent]], answers: Mapping[str, list[bytes]]) -> Iterator[tuple[str, str]]:
    """Yield the type of each event, and a row with its attributes and with what comes back of it from each backend."""
    for number, run in enumerate(runs):
        root = root_of(request_of(run), run)
        for event, copy in zip(run, root.events, strict=True):
            scalars = [
                key.removeprefix(names.ATTR_DETAIL) for key in copy.attributes if key.startswith(names.ATTR_DETAIL)
            ]
            cells: list[str] = []
            for answer in answers.values():
                back = {other.event_id: other for other in events_from_trace(answer[number]).events}
                cells.append(_compared(event, back.get(event.event_id)))
            yield event.event_type, _row(f"`{event.event_type}`", ", ".join(f"`{name}`" for name in scalars), *cells)


def _compared(event: PatternEvent, back: PatternEvent | None) -> str:
    if back is None:
        return "gone"
    one, other = event.to_dict(), back.to_dict()
    one["details"], other["details"] = (
        {key: value for key, value in document["details"].items() if key != names.OTEL} for document in (one, other)
    )
    changed = [key for key in one if one[key] != other[key]]
    return f"other {', '.join(changed)}" if changed else "equal"


def _changes(pairs: list[tuple[ReadSpan, ReadSpan]]) -> dict[str, str]:
    (linked, got), (child, got_child) = pairs
    artifacts = got.attributes[names.ATTR_ARTIFACTS]
    arguments = got.resource["process.command_args"]
    note = next(event for event in got.events if "event" in event.attributes or event.name == "x")
    long = str(next(event for event in got.events if event.name == "long").attributes["text"])
    finer, got_finer = (next(e for e in span.events if e.name == names.SELECTION_RESOLVED) for span in (linked, got))
    in_order = [event.name for event in got.events] == [event.name for event in linked.events]
    names_in_order = sorted(event.name for event in got.events) == [event.name for event in got.events]
    attributes_in_order = list(got.attributes) == list(linked.attributes)
    return {
        "order of span events": "kept" if in_order else "by name" if names_in_order else "by time",
        "order of attributes": "kept" if attributes_in_order else "by name",
        "arrays, like `pattern.artifacts`": "kept"
        if artifacts == linked.attributes[names.ATTR_ARTIFACTS]
        else "JSON text",
        "arrays of the resource": "kept" if arguments == ("a", "b") else "JSON text",
        "nanoseconds below a microsecond": "kept" if finer.time_unix_nano == got_finer.time_unix_nano else "cut off",
        "a text of 3,000 bytes, like a stack trace": "kept" if len(long) == 3000 else f"cut to {len(long):,} bytes",
        "a span event with an attribute `event`": "kept" if note.name == "note" else "renamed to its value",
        "link to a caller": "kept" if [link.span_id for link in got.links] else "gone",
        "trace state of a link": "kept" if [link.trace_state for link in got.links] == ["a=b"] else "gone",
        "trace state of a child": "kept" if got_child.trace_state == child.trace_state else "gone",
    }


def main() -> None:
    """Start the servers, and print the page."""
    with tempfile.TemporaryDirectory() as folder:
        jaeger, tempo = JaegerServer(Path(folder) / "jaeger"), TempoServer(Path(folder) / "tempo")
        try:
            sys.stdout.write(page(jaeger.start(), tempo.start()))
        finally:
            jaeger.kill()
            tempo.kill()


if __name__ == "__main__":
    main()

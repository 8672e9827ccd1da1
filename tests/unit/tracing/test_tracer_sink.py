"""`TracerSink`: a run played through a provider is the run that OTLP would have sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from otel_patterns.model import names
from otel_patterns.model.events import PatternEvent
from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.parcels import Parcel
from otel_patterns.tracing.projection import project
from otel_patterns.tracing.trace import RunTrace, SpanKind
from otel_patterns.tracing.trace import Span as PlainSpan
from otel_patterns.tracing.tracer_sink import TracerSink
from tests.comparison import compare, differences, exported_spans, sent_spans, table
from tests.streams import Stream, failed_run, golden_runs, recorded, semgrep_run

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LIMITS = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
)


class Application:
    """An application with a provider of its own and what its exporter got."""

    def __init__(self, *, id_generator: IdGenerator | None = None, off: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            sampler=ALWAYS_OFF if off else None,
            resource=Resource({"service.name": "application"}),
            id_generator=id_generator,
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        """What was exported, in its order."""
        return self.exporter.get_finished_spans()


@pytest.fixture
def application() -> Application:
    """Return an application with the SDK's defaults."""
    return Application()


def trace_of(events: Iterable[PatternEvent]) -> RunTrace:
    """Return the trace of a run."""
    projected = project(events)
    assert projected is not None
    return projected


def own(letter: str) -> Stream:
    """Return a stream of a run that no other test has."""
    return Stream(f"PRUN-{letter * 25}B")


def traces_of_streams() -> dict[str, RunTrace]:
    """Return runs of every kind there is in the streams."""
    by_run: dict[str, list[PatternEvent]] = {}
    for event in golden_runs():
        by_run.setdefault(event.pattern_run_id, []).append(event)
    exception = {
        "name": "exception",
        "time_unix_nano": 1_795_339_800_500_000_000,
        "attributes": {"exception.type": "ValueError", "exception.message": "boom", "exception.stacktrace": "…"},
    }
    failing = failed_run(own("5"), exit_code=None, error_type="ValueError", error_message="boom")
    details = {**failing[-1].details, names.OTEL: {"span": {"stage": {"events": [exception]}}}}
    failing[-1] = failing[-1].model_copy(update={"details": details})
    found = {f"golden {number}": trace_of(events) for number, events in enumerate(by_run.values())}
    return {
        **found,
        "exception": trace_of(failing),
        "failed selection": trace_of(failed_run(own("6"), event_type=names.SELECTION_FAILED, error="none fits")),
        "failed validation": trace_of(failed_run(own("7"), event_type=names.VALIDATION_FAILED, validation_type="x")),
        "child of a local span": trace_of(
            semgrep_run(own("0"), traceparent=CALLER, tracestate="a=b,c=d", join="child")
        ),
        "300 events": trace_of(long_run(300)),
    }


def long_run(events: int) -> list[PatternEvent]:
    """Return a run with so many events, and more attributes and longer values than any limit."""
    stream = own("4")
    many = {f"number_{number}": number for number in range(200)}
    first = stream.event(names.EXECUTION_STARTED, {"inputs": "x" * 1900, names.OTEL: recorded()})
    middle = [stream.event(names.VALIDATION_STARTED, {"number": number}) for number in range(events - 2)]
    last = stream.event(names.EXECUTION_COMPLETED, {"exit_code": 0, "result_summary": many}, status="success")
    return [first, *middle, last]


def parcel_of(run: RunTrace, spans: Iterable[PlainSpan]) -> Parcel:
    """Return spans of a run as they wait for a provider."""
    plain = tuple(spans)
    return Parcel(run.run_id, tuple(span.span_id for span in plain), spans=plain)


def play(sink: TracerSink, *traces: RunTrace) -> list[Answer]:
    """Deliver all spans of traces and return the answers."""
    parcels = [parcel_of(item, item.spans) for item in traces]
    return [answer for _, answer in sink.deliver(parcels, lambda: None)]


STREAMS = traces_of_streams()


@pytest.mark.parametrize("name", STREAMS)
def test_play_a_run_gives_the_spans_that_otlp_would_have_sent(name: str, application: Application) -> None:
    """Ids, names, times, attributes, span events, links, status and kind are the same, in every span."""
    assert play(TracerSink(application.provider), STREAMS[name]) == [Answer("handed_over")]
    rows = compare(sent_spans([STREAMS[name]]), exported_spans(application.spans))
    assert differences(rows) == [], table(rows)
    assert len(rows) == len(list(STREAMS[name].spans))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("name", {"name": "another"}),
        ("kind", {"kind": SpanKind.CLIENT}),
        ("times", {"end_unix_nano": 1}),
        ("attributes", {"attributes": ()}),
        ("events", {"events": ()}),
        ("links", {"links": ()}),
        ("status", {"failed": True}),
        ("parent", {"parent_span_id": "1" * 16}),
        ("state", {"trace_state": "x=y"}),
        ("not played", {"span_id": "1" * 16}),
    ],
)
def test_comparison_finds_what_is_different(field: str, change: dict[str, Any], application: Application) -> None:
    """The guard itself: a span that was played otherwise is found, and what differs is named."""
    whole = STREAMS["golden 0"]
    assert whole.root is not None
    play(TracerSink(application.provider), replace(whole, root=replace(whole.root, **change)))
    found = differences(compare(sent_spans([whole]), exported_spans(application.spans)))
    assert found[0].differing == (field,)


def test_play_link_keeps_its_trace_state(application: Application) -> None:
    """The stock exporter does not send it, so it is looked for where processors see it."""
    play(TracerSink(application.provider), STREAMS["golden 0"])
    (link,) = application.spans[-1].links
    assert link.context.trace_state.to_header() == "a=b"


def test_play_resource_is_the_providers_and_scope_ours(application: Application) -> None:
    """The resource cannot be the recorded one: it belongs to the provider. Name, version and schema are ours."""
    play(TracerSink(application.provider), STREAMS["golden 0"])
    for span in application.spans:
        assert span.resource.attributes["service.name"] == "application"
        assert span.instrumentation_scope is not None
        scope = span.instrumentation_scope
        assert (scope.name, scope.version, scope.schema_url) == (
            names.SCOPE_NAME,
            names.SCOPE_VERSION,
            names.SCHEMA_URL,
        )


def test_play_stage_before_its_root_hangs_below_it(application: Application) -> None:
    """A stage is played when it ends: its parent's id is known although the parent is played later."""
    sink, whole = TracerSink(application.provider), STREAMS["golden 0"]
    assert whole.root is not None
    for span in (*whole.stages, whole.root):
        assert [answer.kind for _, answer in sink.deliver([parcel_of(whole, [span])], lambda: None)] == ["handed_over"]
    assert differences(compare(sent_spans([whole]), exported_spans(application.spans))) == []


@pytest.mark.parametrize("is_remote", [True, False])
def test_play_parent_keeps_whether_it_is_in_another_process(is_remote: bool, application: Application) -> None:
    """Processors that look at `parent.is_remote` see what was recorded."""
    play(TracerSink(application.provider), trace_of(semgrep_run(traceparent=CALLER, join="child", remote=is_remote)))
    root = application.spans[-1]
    assert root.parent is not None
    assert root.parent.is_remote == is_remote
    assert all(not span.parent.is_remote for span in application.spans[:-1] if span.parent is not None)


def test_play_processors_see_spans_nested_and_in_the_order_of_their_times(application: Application) -> None:
    """The root starts first and ends last, as if it had been played live; nothing else is current meanwhile."""
    seen: list[str] = []

    class Watcher(SpanProcessor):
        def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
            seen.append(f"+{span.name.partition(' ')[0]}")
            assert parent_context is not None
            assert context.get_current() == {}

        def on_end(self, span: ReadableSpan) -> None:
            seen.append(f"-{span.name.partition(' ')[0]}")

    application.provider.add_span_processor(Watcher())
    token = context.attach(context.set_value("of the application", value=True))
    play(TracerSink(application.provider), STREAMS["golden 1"])
    assert context.get_value("of the application")
    context.detach(token)
    assert seen == ["+unknown", "+execution", "-execution", "-unknown"]


@pytest.mark.parametrize("variable", LIMITS)
def test_play_limits_of_the_environment_do_not_bite(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK would drop the first events of a long run and cut values: our tracer has no limits."""
    monkeypatch.setenv(variable, "1")
    application = Application()
    with application.provider.get_tracer("application").start_as_current_span("own") as own:
        own.set_attributes({"a": "long", "b": "long"})
        own.add_event("one")
        own.add_event("two")
    play(TracerSink(application.provider), STREAMS["300 events"], STREAMS["golden 0"])
    played = exported_spans(application.spans[1:])
    assert differences(compare(sent_spans([STREAMS["300 events"], STREAMS["golden 0"]]), played)) == []
    # The application's own spans are limited as before.
    event_limited = variable == "OTEL_SPAN_EVENT_COUNT_LIMIT"
    assert len(application.spans[0].events) == (1 if event_limited else 2)


def test_play_unsampled_application_plays_a_run_that_was_sampled() -> None:
    """The decision was made when the run began and is on record; the provider's sampler is not asked again."""
    application = Application(off=True)
    assert play(TracerSink(application.provider), STREAMS["golden 0"]) == [Answer("handed_over")]
    assert len(application.spans) == len(list(STREAMS["golden 0"].spans))
    # Whoever else takes a tracer of our scope gets the application's decision.
    scope = application.provider.get_tracer(names.SCOPE_NAME, names.SCOPE_VERSION, names.SCHEMA_URL)
    assert not scope.start_span("of somebody else").is_recording()


def test_play_leaves_ids_of_the_application_alone() -> None:
    """The provider's generator is still asked for every span that is not ours, also by a tracer of our scope."""

    class Counting(IdGenerator):
        count = 0

        def generate_trace_id(self) -> int:
            return self.generate_span_id()

        def generate_span_id(self) -> int:
            self.count += 1
            return self.count

    generator = Counting()
    application = Application(id_generator=generator)
    before = application.provider.get_tracer("application")
    play(TracerSink(application.provider), STREAMS["golden 0"])
    assert generator.count == 0
    scope = application.provider.get_tracer(names.SCOPE_NAME, names.SCOPE_VERSION, names.SCHEMA_URL)
    for tracer in (before, application.provider.get_tracer("later"), scope):
        count = generator.count
        ids = tracer.start_span("own", context=context.Context()).get_span_context()
        assert (ids.trace_id, ids.span_id) == (count + 1, count + 2)
    assert application.provider.id_generator is generator


def test_play_in_two_threads_keeps_ids_apart(application: Application) -> None:
    """Journals have threads of their own, and they share the tracer: each span gets its own ids."""
    sink = TracerSink(application.provider)
    runs = [trace_of(semgrep_run(Stream(f"PRUN-{number:026}"))) for number in range(1, 61)]
    threads = [threading.Thread(target=play, args=(sink, *runs[half::2])) for half in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert differences(compare(sent_spans(runs), exported_spans(application.spans))) == []


class Raising(SpanProcessor):
    """A processor of the application that raises at some spans."""

    def __init__(self, hook: str, name: str) -> None:
        self._hook = hook
        self._name = name

    def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
        """Raise when told to."""
        del parent_context
        if self._hook == "on_start" and span.name.startswith(self._name):
            raise RuntimeError("processor")

    def on_end(self, span: ReadableSpan) -> None:
        """Raise when told to."""
        if self._hook == "on_end" and span.name.startswith(self._name):
            raise RuntimeError("processor")


@pytest.mark.parametrize("hook", ["on_start", "on_end"])
def test_play_processor_that_raises_costs_its_span_alone(hook: str) -> None:
    """The SDK passes the error on: it is answered, and the other spans and runs are played."""
    application = Application()
    application.provider.add_span_processor(Raising(hook, "validation"))
    first, second = play(TracerSink(application.provider), STREAMS["golden 0"], STREAMS["golden 1"])
    assert (first.kind, second.kind) == ("failed", "handed_over")
    assert "RuntimeError: processor" in first.message
    missing = {"validation PAT-SEMGREP-001"} if hook == "on_start" else set[str]()
    sent = sent_spans([STREAMS["golden 0"], STREAMS["golden 1"]])
    assert {span.name for span in sent} - {span.name for span in application.spans} == missing


class Wrapper(trace.TracerProvider):
    """What vendors do: a provider that gives tracers which wrap those of another one."""

    def __init__(self, wrapped: trace.TracerProvider | None) -> None:
        self.wrapped = wrapped

    def get_tracer(self, *arguments: object, **named: object) -> trace.Tracer:  # pyright: ignore[reportIncompatibleMethodOverride]  # passes all on
        """Return a wrapped tracer."""
        inner = None if self.wrapped is None else self.wrapped.get_tracer(*arguments, **named)  # pyright: ignore[reportArgumentType]  # see above
        return WrappedTracer(inner)


class WrappedTracer(trace.NoOpTracer):
    """Passes reads on, so that it looks like what it wraps."""

    def __init__(self, tracer: trace.Tracer | None) -> None:
        self.tracer = tracer

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or self.tracer is None:
            raise AttributeError(name)
        return getattr(self.tracer, name)


def test_play_wrapper_is_unwrapped_at_every_play() -> None:
    """An application may put another provider into its wrapper: the next run goes there."""
    one, other = Application(), Application()
    wrapper = Wrapper(one.provider)
    sink = TracerSink(wrapper)
    play(sink, STREAMS["golden 0"])
    wrapper.wrapped = other.provider
    play(sink, STREAMS["golden 1"])
    assert differences(compare(sent_spans([STREAMS["golden 0"]]), exported_spans(one.spans))) == []
    assert differences(compare(sent_spans([STREAMS["golden 1"]]), exported_spans(other.spans))) == []


def disabled() -> object:
    """Return a provider of the SDK whose configuration turns our scope off."""
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer(names.SCOPE_NAME, names.SCOPE_VERSION, names.SCHEMA_URL)
    setattr(tracer, "_is_enabled", lambda: False)  # noqa: B010  # a private method
    return provider


class Broken:
    """A provider that raises."""

    def get_tracer(self, *_arguments: object) -> object:
        """Raise."""
        raise RuntimeError("vendor")


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (trace.NoOpTracerProvider, "misconfigured", "no tracer of the OpenTelemetry SDK"),
        (lambda: Wrapper(None), "misconfigured", "no tracer of the OpenTelemetry SDK"),
        (Broken, "misconfigured", "RuntimeError: vendor"),
        (object, "misconfigured", "get_tracer"),
        (disabled, "failed", "does not record spans of scope otel_patterns"),
        (trace.ProxyTracerProvider, "retry", "has not set a TracerProvider"),
    ],
    ids=["no-op", "wrapper of nothing", "broken", "no provider", "scope turned off", "not set yet"],
)
def test_play_provider_that_cannot_be_used_is_answered(make: Callable[[], object], kind: str, words: str) -> None:
    """Nothing is raised: the answer says why, and the run stays owed. One that is not set yet may still come."""
    (answer,) = play(TracerSink(make()), STREAMS["golden 0"])
    assert answer.kind == kind
    assert words in answer.message


def test_deliver_without_time_left_leaves_the_rest(application: Application) -> None:
    """At the end of a process a slow processor costs what is left of the time, not more."""
    sink = TracerSink(application.provider)
    parcels = [parcel_of(item, item.spans) for item in (STREAMS["golden 0"], STREAMS["golden 1"])]
    remaining = iter([1.0, 0.0])
    answers = list(sink.deliver(parcels, lambda: next(remaining)))
    assert [(len(left), answer.kind) for left, answer in answers] == [(1, "handed_over"), (1, "retry")]


class Flushing(SpanProcessor):
    """Says what it was told to when it is flushed."""

    def __init__(self, answer: bool) -> None:
        self.answer = answer
        self.timeouts: list[int] = []

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Keep the time-out and answer."""
        self.timeouts.append(timeout_millis)
        return self.answer


@pytest.mark.parametrize("answer", [True, False])
def test_flush_says_what_the_provider_says(answer: bool) -> None:
    """It is asked only when something was played since it last said yes."""
    application, processor = Application(), Flushing(answer)
    application.provider.add_span_processor(processor)
    sink = TracerSink(application.provider)
    assert sink.flush(2)
    assert processor.timeouts == []
    play(sink, STREAMS["golden 0"])
    assert sink.flush(2) is answer
    assert 1900 < processor.timeouts[0] <= 2000
    sink.close()
    assert len(processor.timeouts) == (1 if answer else 2)


def test_flush_provider_that_cannot_be_flushed_is_no_success() -> None:
    """Without `force_flush` nobody can tell whether the spans went on."""
    sink = TracerSink(Wrapper(Application().provider))
    play(sink, STREAMS["golden 0"])
    assert not sink.flush(1)


def test_parcel_of_plain_spans_has_a_size() -> None:
    """What waits in memory is bounded for a provider as well: more events take more room."""
    small, large = (parcel_of(STREAMS[name], STREAMS[name].spans) for name in ("golden 1", "300 events"))
    assert 0 < small.size < large.size

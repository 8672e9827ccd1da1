"""Which way runs leave a process: routes, sinks, and what is seen of the application's provider."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_patterns.errors import ConfigurationError
from otel_patterns.tracing.choice import ChosenSink, prefers_provider, sink_of
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.provider import is_same_receiver, sdk_provider
from otel_patterns.tracing.route import Route, find_route
from otel_patterns.tracing.sink import OtlpSink
from otel_patterns.tracing.tracer_sink import TracerSink
from tests.streams import failed_run

HERE = "http://localhost:4318/v1/traces"
SetProvider = Callable[..., TracerProvider]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what a machine may have set."""
    for name in (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_SDK_DISABLED",
        "OTEL_TRACES_EXPORTER",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def set_provider(monkeypatch: pytest.MonkeyPatch) -> SetProvider:
    """Return a function that makes a provider with these processors the global one of this test."""

    def make(*processors: SpanProcessor) -> TracerProvider:
        provider = TracerProvider(shutdown_on_exit=False)
        for processor in processors:
            provider.add_span_processor(processor)
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        return provider

    return make


class Wrapping(SpanProcessor):
    """A vendor's processor that keeps another one."""

    def __init__(self, inner: SpanProcessor) -> None:
        self.inner: list[SpanProcessor] = [inner]


class WrappingExporter(SpanExporter):
    """A vendor's exporter that keeps another one."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.wrapped_exporter = exporter


class Opaque(SpanProcessor):
    """A processor that does not show where it exports to."""


class Refusing(SpanProcessor):
    """A processor that raises when it is looked at."""

    @property
    def span_exporter(self) -> SpanExporter:
        """Raise."""
        raise RuntimeError("private")


def batch(exporter: SpanExporter) -> SpanProcessor:
    """Return the SDK's batch processor, stopped: only its structure counts."""
    processor = BatchSpanProcessor(exporter)
    processor.shutdown()
    return processor


def test_provider_is_not_preferred_when_there_is_none() -> None:
    """An application without tracing of its own has its runs sent by OTLP."""
    assert not prefers_provider(Endpoint(HERE))


def test_provider_without_processors_is_not_preferred(set_provider: SetProvider) -> None:
    """Nobody would see what is played through it."""
    set_provider()
    assert not prefers_provider(Endpoint(HERE))


@pytest.mark.parametrize(
    ("make", "preferred"),
    [
        (lambda: SimpleSpanProcessor(InMemorySpanExporter()), True),
        (lambda: SimpleSpanProcessor(HttpExporter(endpoint="https://vendor.example/v1/traces")), True),
        (lambda: SimpleSpanProcessor(HttpExporter(endpoint="http://localhost:4318/other/v1/traces")), True),
        (lambda: SimpleSpanProcessor(HttpExporter(endpoint="http://localhost:4319/v1/traces")), True),
        (lambda: SimpleSpanProcessor(GrpcExporter(endpoint="http://localhost:4317")), True),
        (lambda: SimpleSpanProcessor(HttpExporter()), False),
        (lambda: SimpleSpanProcessor(HttpExporter(endpoint="http://user:pw@LOCALHOST:4318/v1/traces/")), False),
        (lambda: batch(HttpExporter()), False),
        (lambda: Wrapping(Wrapping(batch(WrappingExporter(HttpExporter())))), False),
        (lambda: Wrapping(SimpleSpanProcessor(WrappingExporter(InMemorySpanExporter()))), True),
    ],
    ids=["memory", "vendor", "path", "port", "grpc", "same", "same spelled", "batch", "wrapped same", "wrapped"],
)
def test_provider_is_preferred_when_it_exports_elsewhere(
    make: Callable[[], SpanProcessor], preferred: bool, set_provider: SetProvider
) -> None:
    """What its exporter sends to our endpoint anyway is sent by us, and acknowledged; it must not go there twice."""
    set_provider(make())
    assert prefers_provider(Endpoint(HERE)) is preferred


def test_provider_with_one_exporter_of_several_to_the_endpoint_is_not_preferred(set_provider: SetProvider) -> None:
    """A console beside the collector does not cost the acknowledgement."""
    set_provider(SimpleSpanProcessor(InMemorySpanExporter()), batch(HttpExporter()))
    assert not prefers_provider(Endpoint(HERE))


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("make", [Opaque, Refusing])
def test_provider_that_hides_its_exporter_comes_after_an_endpoint_with_a_name(
    make: type[SpanProcessor], named: bool, set_provider: SetProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has named the endpoint; on the default one perhaps nobody listens."""
    set_provider(make())
    if named:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert prefers_provider(Endpoint(HERE)) is not named


def test_provider_that_holds_itself_ends_the_search(set_provider: SetProvider) -> None:
    """Processors that refer to each other are looked at once."""
    one, other = Wrapping(Opaque()), Wrapping(Opaque())
    one.inner, other.inner = [other], [one]
    set_provider(one)
    assert prefers_provider(Endpoint(HERE))


@pytest.mark.parametrize(
    ("endpoint", "url", "same"),
    [
        ("localhost:4317", "http://localhost:4317", True),
        ("localhost:4317", "http://localhost:4318/v1/traces", False),
        ("http://c:1/v1/traces", "http://c:1/v1/traces", True),
        ("http://c:x/v1/traces", "http://c:1/v1/traces", False),
    ],
)
def test_receivers_are_compared_by_host_port_and_path(endpoint: str, url: str, same: bool) -> None:
    """The gRPC exporter keeps host and port alone."""
    assert is_same_receiver(endpoint, url) is same


def test_sink_is_chosen_at_the_first_delivery_and_stays(set_provider: SetProvider) -> None:
    """The provider may be set after configure(); one that comes after the first span changes nothing any more."""
    events = failed_run()
    closed_by = {events[-1].event_id}
    sink, early = ChosenSink(Endpoint(HERE)), ChosenSink(Endpoint(HERE))
    assert sink.destination == HERE
    early.pack(events, closed_by)
    set_provider(SimpleSpanProcessor(InMemorySpanExporter()))
    assert sink.destination == "tracer provider"
    played = sink.pack(events, closed_by)
    assert played is not None
    assert played.spans
    set_provider()
    assert sink.destination == "tracer provider"
    assert early.destination == HERE
    sent = early.pack(events, closed_by)
    assert sent is not None
    assert sent.body


def test_sdk_provider_is_found_behind_a_wrapper() -> None:
    """Logfire's global provider wraps the SDK's; a provider that is none is not found."""

    class Outer:
        def __init__(self, provider: object) -> None:
            self.provider = provider

    inner = TracerProvider(shutdown_on_exit=False)
    assert sdk_provider(Outer(Outer(inner))) is inner
    assert sdk_provider(Outer(trace.NoOpTracerProvider())) is None
    loop = Outer(None)
    loop.provider = loop
    assert sdk_provider(loop) is None


def kind_of(route: Route | None) -> str:
    """Return in a word where a route leads."""
    if route is None:
        return "nowhere"
    words: dict[type, str] = {OtlpSink: "otlp", TracerSink: "tracer", ChosenSink: "chosen"}
    return words[type(sink_of(route))]


@pytest.mark.parametrize(
    ("export", "variables", "has_provider", "way"),
    [
        ("auto", {}, False, "chosen"),
        ("auto", {}, True, "chosen"),
        ("otlp", {}, True, "otlp"),
        ("tracer", {}, False, "tracer"),
        ("off", {}, True, "nowhere"),
        ("tracer", {"OTEL_SDK_DISABLED": "true"}, True, "nowhere"),
        ("auto", {"OTEL_SDK_DISABLED": "true"}, True, "nowhere"),
        ("auto", {"OTEL_TRACES_EXPORTER": "console"}, True, "tracer"),
        ("auto", {"OTEL_TRACES_EXPORTER": "console"}, False, "nowhere"),
        ("otlp", {"OTEL_TRACES_EXPORTER": "console"}, True, "nowhere"),
        ("tracer", {"OTEL_TRACES_EXPORTER": "console"}, True, "tracer"),
        ("auto", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, True, "tracer"),
        ("tracer", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, False, "tracer"),
    ],
)
def test_route_follows_setting_and_variables(
    export: str,
    variables: dict[str, str],
    has_provider: bool,
    way: str,
    set_provider: SetProvider,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OTEL_TRACES_EXPORTER and a protocol we do not speak rule OTLP out, and leave the application's provider."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if has_provider:
        set_provider(SimpleSpanProcessor(InMemorySpanExporter()))
    assert kind_of(find_route(export)) == way


def test_route_with_arguments_leads_where_they_say(set_provider: SetProvider) -> None:
    """An endpoint or a provider that is given is not chosen again; `off` is stronger than both."""
    provider = set_provider(SimpleSpanProcessor(InMemorySpanExporter()))
    assert kind_of(find_route("auto", endpoint=HERE)) == "otlp"
    given = find_route("auto", tracer_provider=provider)
    assert given == Route(None, is_played=True, tracer_provider=provider)
    assert find_route("off", tracer_provider=provider) is None
    assert find_route("off", endpoint=HERE) is None


@pytest.mark.parametrize(
    ("export", "arguments", "field"),
    [
        ("auto", {"tracer_provider": "x"}, "tracer_provider"),
        ("auto", {"tracer_provider": trace.NoOpTracerProvider(), "endpoint": HERE}, "tracer_provider"),
        ("otlp", {"tracer_provider": trace.NoOpTracerProvider()}, "export"),
        ("tracer", {"endpoint": HERE}, "export"),
        ("auto", {"endpoint": "nowhere"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    ],
)
def test_route_of_contradicting_arguments_is_an_error(export: str, arguments: dict[str, object], field: str) -> None:
    """The error names what to change."""
    with pytest.raises(ConfigurationError) as caught:
        find_route(export, **arguments)  # pyright: ignore[reportArgumentType]  # wrong on purpose
    assert caught.value.setting == field


def test_route_without_otlp_and_without_provider_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protocol we do not speak is said when there is no other way."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(ConfigurationError):
        find_route("auto")

"""Runs through the application's own tracer provider, to its own exporters: live, in real programs, to real servers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_patterns import PatternEventEmitter, configure, pattern_run, shutdown
from otel_patterns.tracing.delivered import DeliveryRecord
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.replay import Selection, replay, traces_of
from otel_patterns.tracing.sink import OtlpSink
from tests.backends.clients import JaegerClient
from tests.backends.polling import wait_for
from tests.backends.servers import CollectorServer, JaegerServer
from tests.backends.spans import BackendSpan
from tests.comparison import compare, decoded, differences, exported_spans, sent_spans, table
from tests.pages import ROOT
from tests.receiver import Receiver

JOB_ID = "JOB-TEST-001"
INSTRUMENT = Path(sys.executable).with_name("opentelemetry-instrument")
# Logfire plugs itself into pydantic, so it has an environment of its own.
LOGFIRE_PYTHON = Path(sys.prefix) / "logfire" / "bin" / "python"
# What Logfire's own processors add to the spans they see.
LOGFIRE_PREFIX = "logfire."


needs_logfire = pytest.mark.skipif(not LOGFIRE_PYTHON.exists(), reason="logfire is not installed: `make logfire`")
needs_instrument = pytest.mark.skipif(
    not INSTRUMENT.exists(), reason="opentelemetry-instrument is not installed: `make lint` installs it"
)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what a machine may have set, and stop delivery afterwards."""
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    yield
    shutdown()


class Application:
    """An application with a provider and what its exporter got."""

    def __init__(self, *processors: SpanProcessor) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource({"service.name": "application"}), shutdown_on_exit=False)
        for processor in (*processors, SimpleSpanProcessor(self.exporter)):
            self.provider.add_span_processor(processor)

    def names(self) -> list[str]:
        """Return the names of the spans that were exported."""
        return [span.name for span in self.exporter.get_finished_spans()]


def run_patterns(emitter: PatternEventEmitter) -> None:
    """Run a pattern that succeeds and one that raises."""
    with pattern_run("PAT-DEMO-001", job_id=JOB_ID, operation_kind="demo", emitter=emitter) as run:
        with run.validation("preflight", ["a"]):
            pass
        with run.execution(["true"]) as execution:
            execution.exit_code = 0
    with (
        pytest.raises(ValueError, match="boom"),
        pattern_run("PAT-DEMO-002", job_id=JOB_ID, operation_kind="demo", emitter=emitter),
    ):
        raise ValueError("boom")


def test_live_runs_are_what_a_replay_sends(tmp_path: Path) -> None:
    """Played live they are span by span what OTLP sends; handed over, not acknowledged, so a replay still owes them."""
    application = Application()
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=application.provider)
    run_patterns(emitter)
    assert emitter.flush(5)
    assert emitter.destination == "tracer provider"
    assert emitter.counts["handed_over"] == len(application.names()) == 5
    assert not (tmp_path / "delivery").exists()
    with Receiver() as receiver:
        assert replay(emitter.global_log, OtlpSink(Endpoint(receiver.url)), Selection()).sent == 2
        rows = compare(
            [span for body in receiver.requests for span in decoded(body)],
            exported_spans(application.exporter.get_finished_spans()),
        )
    assert differences(rows) == [], table(rows)
    print(table(rows))


def test_resource_and_decision_are_those_of_the_given_provider(tmp_path: Path) -> None:
    """The provider that plays a run is the one that is asked when the run begins."""
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=Application().provider)
    run_patterns(emitter)
    found = list(traces_of(emitter.global_log, Selection()))
    assert {dict(run.resource)["service.name"] for run in found} == {"application"}


def test_run_under_a_span_of_the_application_is_its_child(tmp_path: Path) -> None:
    """The caller's span and the run are one trace, in the application's own exporter."""
    application = Application()
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=application.provider)
    with application.provider.get_tracer("application").start_as_current_span("request") as request:
        run_patterns(emitter)
    assert emitter.flush(5)
    roots = [span for span in application.exporter.get_finished_spans() if span.name.startswith("demo ")]
    ids = request.get_span_context()
    assert [(span.parent.span_id, span.parent.trace_id) for span in roots if span.parent] == [
        (ids.span_id, ids.trace_id)
    ] * 2
    assert {span.context.trace_id for span in roots if span.context} == {ids.trace_id}


def test_stage_and_marker_are_seen_while_the_run_is_going_on(tmp_path: Path) -> None:
    """The application's exporter gets a closed stage at once, and the marker after a second."""
    application = Application()
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=application.provider)
    with pattern_run("PAT-DEMO-001", job_id=JOB_ID, operation_kind="demo", emitter=emitter) as run:
        with run.validation("preflight", ["a"]):
            pass
        with run.execution(["sleep"]):
            seen = wait_for(lambda: set(application.names()), lambda names: len(names) == 2)
            assert seen == {"validation PAT-DEMO-001", "run started"}
    assert emitter.flush(5)
    assert len(application.names()) == 4


class Raising(SpanProcessor):
    """A processor of the application that raises at the end of every run of PAT-DEMO-001."""

    def on_end(self, span: ReadableSpan) -> None:
        """Raise."""
        if "PAT-DEMO-001" in span.name:
            raise RuntimeError("processor")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Raise as well."""
        del timeout_millis
        raise RuntimeError("flush")


def test_processor_that_raises_is_counted_and_delivery_goes_on(tmp_path: Path) -> None:
    """Neither the engine nor the next run is hurt, and `flush` does not say that all is well."""
    application = Application(Raising())
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=application.provider)
    run_patterns(emitter)
    assert not emitter.flush(5)
    assert emitter.counts["failed"] == 1
    assert emitter.counts["handed_over"] == 2
    assert application.names() == ["demo PAT-DEMO-002", "execution PAT-DEMO-002"][::-1]
    run_patterns(emitter)
    assert not emitter.flush(5)
    assert emitter.counts["handed_over"] == 4


def test_flush_of_a_provider_that_cannot_flush_is_false(tmp_path: Path) -> None:
    """`flush` waits for the processors of the provider and says what they say."""

    class Stuck(SpanProcessor):
        answer = False

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            del timeout_millis
            return self.answer

    stuck = Stuck()
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=Application(stuck).provider)
    run_patterns(emitter)
    assert not emitter.flush(5)
    stuck.answer = True
    assert emitter.flush(5)


def test_provider_of_another_vendor_leaves_runs_owed_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider whose tracers are not the SDK's cannot be played through: counted, logged, owed, not raised."""
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=trace.NoOpTracerProvider())
    run_patterns(emitter)
    assert not emitter.flush(5)
    assert emitter.counts["misconfigured"] >= 1
    assert emitter.counts["handed_over"] == 0
    assert "no tracer of the OpenTelemetry SDK" in caplog.text


def test_provider_that_is_set_after_the_first_run_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `tracer` nothing is lost to a provider that comes late: delivery waits for it."""
    emitter = configure(journal=tmp_path / "j.jsonl", export="tracer")
    run_patterns(emitter)
    assert not emitter.flush(5)
    assert emitter.counts["delivery"] >= 1
    application = Application()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", application.provider)
    assert len(wait_for(application.names, lambda names: len(names) == 5)) == 5


# Real programs.

PROVIDER = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
def set_provider():
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=URL)))
    trace.set_tracer_provider(provider)
"""
RUN = """
from otel_patterns import configure, pattern_run
def run(emitter):
    with pattern_run("PAT-DEMO-001", job_id="JOB-1", operation_kind="demo", emitter=emitter) as run:
        with run.validation("preflight", ["a"]):
            pass
    try:
        with pattern_run("PAT-DEMO-002", job_id="JOB-1", operation_kind="demo", emitter=emitter):
            raise ValueError("boom")
    except ValueError:
        pass
"""
LOGFIRE = """
import logfire
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor
def set_provider():
    processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=URL))
    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[processor])
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_program(tmp_path: Path) -> Run:
    """Return a function that runs a program to its end; it has `URL` and `JOURNAL`."""

    def run(*parts: str, receiver: Receiver, command: Sequence[object] = (sys.executable,), **variables: str) -> object:
        head = f"URL, JOURNAL = {receiver.url!r}, {str(tmp_path / 'j.jsonl')!r}\n"
        (tmp_path / "program.py").write_text(head + "\n".join(textwrap.dedent(part) for part in parts))
        arguments = [*map(str, command), str(tmp_path / "program.py")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run  # pyright: ignore[reportReturnType]  # a function with the arguments of the alias


def assert_same(tmp_path: Path, receiver: Receiver, *, ignored_prefix: str | None = None, runs: int = 2) -> None:
    """Check that the receiver has every span of the journal's runs, once, as OTLP would have sent it."""
    found = list(traces_of(tmp_path / "j.jsonl", Selection()))
    played = [span for body in receiver.requests for span in decoded(body)]
    assert len({span.span_id for span in played}) == len(played)
    rows = compare(sent_spans(found), played, ignored_prefix=ignored_prefix)
    assert len(found) == runs
    assert differences(rows) == [], table(rows)
    print(table(rows))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("set_provider()\nrun(configure(journal=JOURNAL))", id="before"),
        pytest.param("emitter = configure(journal=JOURNAL)\nset_provider()\nrun(emitter)", id="after"),
        pytest.param(
            "tracer = trace.get_tracer('early')\nconfigure(journal=JOURNAL)\nset_provider()\nrun(None)",
            id="proxy tracer",
        ),
        pytest.param(
            "early = trace.ProxyTracerProvider()\nemitter = configure(journal=JOURNAL, tracer_provider=early)\n"
            "set_provider()\nrun(emitter)",
            id="proxy provider",
        ),
        pytest.param(
            "emitter = configure(journal=JOURNAL)\nset_provider()\nemitter.flush(0)\nrun(emitter)\nemitter.flush(10)",
            id="flushed",
        ),
    ],
)
def test_program_with_a_provider_of_its_own(body: str, run_program: Run, tmp_path: Path) -> None:
    """What ends just before the program does reaches the exporter, whichever was made first, provider or delivery."""
    with Receiver() as receiver:
        run_program(PROVIDER, RUN, body, receiver=receiver)
        assert_same(tmp_path, receiver)


def test_program_whose_child_process_runs_a_pattern(run_program: Run, tmp_path: Path) -> None:
    """A child of multiprocessing ends without the provider's own shutdown: its runs are pushed on all the same."""
    body = """
    import multiprocessing
    set_provider()
    emitter = configure(journal=JOURNAL)
    run(emitter)
    process = multiprocessing.get_context("fork").Process(target=run, args=(emitter,))
    process.start(); process.join()
    """
    with Receiver() as receiver:
        run_program(PROVIDER, RUN, body, receiver=receiver)
        assert_same(tmp_path, receiver, runs=4)


@pytest.mark.parametrize("export", ["auto", "tracer"])
def test_program_whose_provider_exports_to_our_endpoint(export: str, run_program: Run, tmp_path: Path) -> None:
    """Each span arrives once: acknowledged by ourselves, or handed over when the setting says so."""
    body = "set_provider()\nemitter = configure(journal=JOURNAL)\nrun(emitter)\nemitter.flush(10)\n"
    body += "print(emitter.destination)"
    with Receiver() as receiver:
        done = run_program(
            PROVIDER,
            RUN,
            body,
            receiver=receiver,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.base_url,
            OTEL_PATTERNS_EXPORT=export,
        )
        assert_same(tmp_path, receiver)
        assert done.stdout == f"{receiver.url if export == 'auto' else 'tracer provider'}\n"
        assert bool(DeliveryRecord(tmp_path / "j.jsonl", receiver.url).load().whole) == (export == "auto")


@needs_logfire
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("set_provider()\nrun(configure(journal=JOURNAL))", id="before"),
        pytest.param("emitter = configure(journal=JOURNAL)\nset_provider()\nrun(emitter)", id="after"),
        pytest.param(
            "logfire.configure(send_to_logfire=False, console=False)\nemitter = configure(journal=JOURNAL)\n"
            "set_provider()\nrun(emitter)",
            id="twice",
        ),
    ],
)
def test_program_with_logfire(body: str, run_program: Run, tmp_path: Path) -> None:
    """Logfire's provider is a wrapper around the SDK's, which it replaces when it is configured again."""
    with Receiver() as receiver:
        run_program(LOGFIRE, RUN, body, receiver=receiver, command=(LOGFIRE_PYTHON,))
        assert_same(tmp_path, receiver, ignored_prefix=LOGFIRE_PREFIX)


@needs_logfire
def test_program_with_logfire_shows_runs_in_its_console(run_program: Run) -> None:
    """A run stands in Logfire's console below the span that it was started in."""
    body = """
    from otel_patterns import configure
    import logfire
    logfire.configure(send_to_logfire=False, console=logfire.ConsoleOptions(colors="never", include_timestamps=False))
    emitter = configure(journal=JOURNAL)
    with logfire.span("nightly job"):
        run(emitter)
        emitter.flush(10)
    """
    with Receiver() as receiver:
        done = run_program(RUN, body, receiver=receiver, command=(LOGFIRE_PYTHON,))
    lines = done.stdout.splitlines()
    assert lines[0] == "nightly job"
    assert "  demo PAT-DEMO-001" in lines
    assert "    validation PAT-DEMO-001" in lines


@needs_instrument
@pytest.mark.parametrize("export", ["auto", "tracer"])
def test_program_under_opentelemetry_instrument(export: str, run_program: Run, tmp_path: Path) -> None:
    """Without a line of configuration: each span arrives once, whichever way it goes."""
    with Receiver() as receiver:
        run_program(
            RUN,
            "run(None)",
            receiver=receiver,
            command=(INSTRUMENT, sys.executable),
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.base_url,
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
            OTEL_SERVICE_NAME="engine",
            OTEL_PATTERNS_EXPORT=export,
            OTEL_PATTERNS_JOURNAL=str(tmp_path / "j.jsonl"),
        )
        assert_same(tmp_path, receiver)
        assert bool(DeliveryRecord(tmp_path / "j.jsonl", receiver.url).load().whole) == (export == "auto")


@needs_instrument
def test_program_under_opentelemetry_instrument_with_its_defaults(
    run_program: Run, tmp_path: Path, collector: CollectorServer
) -> None:
    """By default it exports by gRPC: the collector gets every span, once."""
    with Receiver() as receiver:
        run_program(
            RUN,
            "run(None)",
            receiver=receiver,
            command=(INSTRUMENT, sys.executable),
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_grpc_endpoint,
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
            OTEL_PATTERNS_JOURNAL=str(tmp_path / "j.jsonl"),
        )
    found = list(traces_of(tmp_path / "j.jsonl", Selection()))
    wanted = sorted(span.span_id for run in found for span in run.spans)
    trace_ids = {run.trace_id for run in found}
    assert wanted == wait_for(
        lambda: sorted(span.span_id for span in collector.exported_spans() if span.trace_id in trace_ids),
        lambda ids: len(ids) >= len(wanted),
    )


# Real servers.


def told(spans: list[BackendSpan]) -> list[tuple[object, ...]]:
    """Return what a backend tells of spans, without their resource, and in an order of its own."""
    return sorted(
        (
            span.span_id,
            span.trace_id,
            span.parent_span_id,
            span.name,
            span.kind,
            span.start_unix_nano,
            span.end_unix_nano,
            sorted((key, str(value)) for key, value in span.attributes.items()),
            sorted((event.time_unix_nano, event.name, str(sorted(event.attributes.items()))) for event in span.events),
            span.status_code,
            span.status_message,
        )
        for span in spans
    )


def test_runs_through_the_batch_processor_of_an_application_reach_collector_and_jaeger(
    jaeger: JaegerServer, collector: CollectorServer, tmp_path: Path
) -> None:
    """Two exporters of the application get the run, and both servers show what a replay to the collector shows."""
    application = Application(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{jaeger.otlp_http_endpoint}/v1/traces")),
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.otlp_http_endpoint}/v1/traces")),
    )
    emitter = configure(journal=tmp_path / "j.jsonl", tracer_provider=application.provider)
    run_patterns(emitter)
    assert emitter.flush(20)
    shutdown()
    found = list(traces_of(emitter.global_log, Selection()))
    trace_ids = {run.trace_id for run in found}

    def in_collector() -> list[BackendSpan]:
        return [span for span in collector.exported_spans() if span.trace_id in trace_ids]

    played = wait_for(in_collector, lambda spans: len(spans) == 5)
    client = JaegerClient(jaeger.query_url)
    in_jaeger = [span for trace_id in trace_ids for span in wait_for(lambda ask=trace_id: client.trace(ask))]
    sink = OtlpSink(Endpoint(f"{collector.otlp_http_endpoint}/v1/traces"))
    assert replay(emitter.global_log, sink, Selection()).sent == 2
    sink.close()
    both = wait_for(in_collector, lambda spans: len(spans) == 10)
    sent = [span for span in both if span not in played] or both[5:]
    assert told(played) == told(sent)
    assert told(in_jaeger) == told(played)
    application.provider.shutdown()

"""Runs and stages in the OpenTelemetry context: what is current, what nests, what is recorded."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from otel_patterns import InvalidEventError, PatternEventEmitter
from otel_patterns.runner import Run
from otel_patterns.testing import CapturedRuns, capture_runs
from otel_patterns.tracing.run_span import RunSpan
from otel_patterns.tracing.trace import RunTrace, Span
from tests.streams import PATTERN_ID
from tests.unit.runs import ids_of_current, root_of, start


@pytest.fixture
def emitter(pattern_runs: CapturedRuns) -> PatternEventEmitter:
    """Return an emitter that sends nothing."""
    return pattern_runs.emitter


@pytest.fixture
def provider() -> TracerProvider:
    """Return the provider of an application; it is not the global one."""
    return TracerProvider(shutdown_on_exit=False)


@pytest.fixture
def exported(provider: TracerProvider) -> InMemorySpanExporter:
    """Return where the provider's spans end."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


def fail_and_record(message: str, attributes: dict[str, Any] | None = None) -> None:
    """Raise an exception that was recorded on the current span."""
    error = ValueError(message)
    try:
        raise error
    finally:
        trace.get_current_span().record_exception(error, attributes)


def stage_of(run_trace: RunTrace, name: str) -> Span:
    """Return a stage's span."""
    (stage,) = [span for span in run_trace.stages if dict(span.attributes)["pattern.stage"] == name]
    return stage


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    """Return trace id and parent's span id of a span, in hex."""
    assert span.context is not None
    assert span.parent is not None
    return f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}"


def test_run_and_each_stage_are_current_with_the_ids_of_their_projected_spans(emitter: PatternEventEmitter) -> None:
    """What nests under the current span nests under the span that the backend will show."""
    seen: dict[str, tuple[str, str]] = {}
    assert not trace.get_current_span().get_span_context().is_valid
    with start(emitter, candidate_patterns=["PAT-A"]) as run:
        seen["run"] = ids_of_current()
        with run.selection():
            seen["selection"] = ids_of_current()
        with run.template():
            seen["template"] = ids_of_current()
        with run.validation("preflight", ["a"]):
            seen["validation"] = ids_of_current()
        assert ids_of_current() == seen["run"]
        with run.execution("true"):
            seen["execution"] = ids_of_current()
    assert not trace.get_current_span().get_span_context().is_valid
    projected = CapturedRuns(emitter).trace
    assert seen.pop("run") == (projected.trace_id, root_of(projected).span_id)
    assert seen == {name: (projected.trace_id, stage_of(projected, name).span_id) for name in seen}
    assert len(seen) == 4


def test_described_body_is_current_as_the_execution(emitter: PatternEventEmitter) -> None:
    """With a command the block is the execution, and what it makes nests there."""
    with start(emitter, command="true"):
        inside = ids_of_current()
    projected = CapturedRuns(emitter).trace
    assert inside == (projected.trace_id, stage_of(projected, "execution").span_id)


def test_spans_of_instrumented_libraries_nest_under_the_stage(
    emitter: PatternEventEmitter, provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    """A span that somebody else's tracer makes inside a stage is the stage's child."""
    tracer = provider.get_tracer("library")
    with start(emitter) as run:
        with tracer.start_as_current_span("GET /"):
            pass
        with run.execution("true"), tracer.start_as_current_span("SELECT"):
            pass
    of_run, of_stage = exported.get_finished_spans()
    projected = CapturedRuns(emitter).trace
    assert parent_of(of_run) == (projected.trace_id, root_of(projected).span_id)
    assert parent_of(of_stage) == (projected.trace_id, stage_of(projected, "execution").span_id)


def test_run_inside_a_run_is_its_child_in_the_same_trace(emitter: PatternEventEmitter) -> None:
    """A nested run's root is an internal span below the stage that it was started in."""
    with start(emitter) as outer, outer.execution("make"), start(emitter, operation_kind="inner") as inner:
        assert inner.trace_id == outer.trace_id
    projected = CapturedRuns(emitter).traces
    parent, child = projected[outer.pattern_run_id], projected[inner.pattern_run_id]
    assert child.trace_id == parent.trace_id
    assert root_of(child).parent_span_id == stage_of(parent, "execution").span_id
    assert root_of(child).kind.name == "INTERNAL"
    assert root_of(parent).kind.name == "SERVER"


def test_run_inside_a_run_is_its_child_though_callers_are_linked() -> None:
    """`join=link` is about the services around, not about runs within a run."""
    with capture_runs(join="link") as captured, start(captured.emitter) as outer, start(captured.emitter) as inner:
        pass
    projected = captured.traces
    assert projected[inner.pattern_run_id].trace_id == projected[outer.pattern_run_id].trace_id
    assert root_of(projected[inner.pattern_run_id]).links == ()


def test_run_inside_a_request_takes_its_trace_and_hands_it_on(
    emitter: PatternEventEmitter, provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    """Service, run and library share one trace, each below the one around it."""
    tracer = provider.get_tracer("service")
    with tracer.start_as_current_span("POST /jobs") as request:
        with start(emitter) as run, tracer.start_as_current_span("query"):
            assert run.trace_id == f"{request.get_span_context().trace_id:032x}"
        assert trace.get_current_span() is request
    query, request_span = exported.get_finished_spans()
    root = root_of(CapturedRuns(emitter).trace)
    assert parent_of(query) == (root.trace_id, root.span_id)
    assert request_span.context is not None
    assert root.parent_span_id == f"{request_span.context.span_id:016x}"


def test_unsampled_run_still_records_and_its_children_are_not_sampled(emitter: PatternEventEmitter) -> None:
    """The sampler decides what is exported, never what the journal holds."""
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    parent_based = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    with unsampled.get_tracer("service").start_as_current_span("request"), start(emitter):
        current = trace.get_current_span()
        assert current.is_recording()
        current.set_attribute("app.key", 1)
        child = parent_based.get_tracer("library").start_span("child")
        assert not child.is_recording()
    assert dict(root_of(CapturedRuns(emitter).trace).attributes)["app.key"] == 1


def test_what_user_code_sets_on_the_current_span_reaches_journal_and_trace(emitter: PatternEventEmitter) -> None:
    """Attributes, events and exceptions of the run and of its stage, in the journal and on the right spans."""
    with start(emitter) as run:
        trace.get_current_span().set_attributes({"app.tenant": "acme", "app.tags": ["a", "b"], "app.config": {"x": 1}})
        with run.validation("preflight", ["a"]):
            trace.get_current_span().add_event("checked", {"n": 3}, timestamp=1_795_339_800_000_000_000)
        with run.execution("true"):
            current = trace.get_current_span()
            current.set_attribute("app.rows", 7)
            with suppress(ValueError):
                fail_and_record("tried again", {"app.attempt": 1})
    projected = CapturedRuns(emitter).trace
    attributes = dict(root_of(projected).attributes)
    assert (attributes["app.tenant"], attributes["app.tags"], attributes["app.config"]) == (
        "acme",
        ("a", "b"),
        '{"x":1}',
    )
    (checked,) = stage_of(projected, "validation").events
    assert (checked.name, checked.attributes, checked.time_unix_nano) == (
        "checked",
        (("n", 3),),
        1_795_339_800_000_000_000,
    )
    execution = stage_of(projected, "execution")
    assert dict(execution.attributes)["app.rows"] == 7
    (exception,) = execution.events
    recorded = dict(exception.attributes)
    assert (recorded["exception.type"], recorded["exception.message"]) == ("builtins.ValueError", "tried again")
    assert "test_runner_spans.py" in str(recorded["exception.stacktrace"])
    assert recorded["app.attempt"] == 1
    assert "exception" in [event.name for event in root_of(projected).events]
    assert not root_of(projected).failed


def test_exception_that_was_recorded_and_then_ends_the_run_is_there_once(emitter: PatternEventEmitter) -> None:
    """Who records an exception and raises it on does not see it twice."""
    with pytest.raises(ValueError, match="x"), start(emitter) as run, run.execution("true"):
        fail_and_record("x")
    with pytest.raises(ValueError, match="y"), start(emitter):
        fail_and_record("y")
    for projected in CapturedRuns(emitter).traces.values():
        assert [event.name for event in root_of(projected).events].count("exception") == 1
        assert root_of(projected).failed


def test_what_a_failing_template_recorded_goes_to_the_run(emitter: PatternEventEmitter) -> None:
    """A template has no event that says it failed: what was set on its span is on the run's."""
    with pytest.raises(ValueError, match="x"), start(emitter) as run, run.template():
        fail_and_record("x", {"app.template": "main.j2"})
    (exception,) = [event for event in root_of(CapturedRuns(emitter).trace).events if event.name == "exception"]
    assert dict(exception.attributes)["app.template"] == "main.j2"


def test_what_comes_after_the_terminal_event_is_counted(emitter: PatternEventEmitter) -> None:
    """The trace was final by then: nothing is changed, and it is said how much came too late."""
    with start(emitter) as run:
        with run.execution("true"):
            pass
        current = trace.get_current_span()
        assert not current.is_recording()
        current.set_attribute("late", 1)
        current.add_event("late")
    assert emitter.counts["span"] == 2
    assert "late" not in dict(root_of(CapturedRuns(emitter).trace).attributes)


def test_more_than_a_span_may_hold_is_counted(emitter: PatternEventEmitter) -> None:
    """No number and no size of attributes and events makes an event too large for its line."""
    with start(emitter):
        current = trace.get_current_span()
        for number in range(200):
            current.set_attribute(f"key.{number}", number)
            current.add_event("many")
        current.set_attribute("key.0", "again")
        current.add_event("huge", {"text": "x" * 10_000_000})
    assert emitter.counts["span"] > 140
    projected = CapturedRuns(emitter).trace
    assert dict(root_of(projected).attributes)["key.0"] == "again"
    assert len([event for event in root_of(projected).events if event.name == "many"]) == 128
    assert emitter.counts["shrunk"] == 0


def test_span_tells_what_processors_read_from_a_parent(emitter: PatternEventEmitter) -> None:
    """Name, kind, start, parent and attributes are there to read, and cannot be changed that way."""
    with start(emitter) as run, run.execution("true"):
        span = trace.get_current_span()
        assert isinstance(span, RunSpan)
        assert (span.name, span.kind.name, span.start_time) == (
            f"execution {PATTERN_ID}",
            "INTERNAL",
            1795339800 * 10**9,
        )
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}" == run.trace_id
        assert span.attributes["pattern.run.id"] == run.pattern_run_id
        with pytest.raises(TypeError):
            span.attributes["x"] = 1  # pyright: ignore[reportIndexIssue]  # that is what is tested
        span.update_name("other")
        span.set_status(trace.StatusCode.ERROR)
        span.end()
        assert span.is_recording()
    assert not root_of(CapturedRuns(emitter).trace).failed


def test_spans_set_from_many_threads_lose_nothing(emitter: PatternEventEmitter) -> None:
    """The current span may be handed to threads."""
    with start(emitter):
        span = trace.get_current_span()

        def work(number: int) -> None:
            for index in range(10):
                span.set_attribute(f"thread.{number}.{index}", index)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    keys = [key for key, _ in root_of(CapturedRuns(emitter).trace).attributes if key.startswith("thread.")]
    assert len(keys) == 80


def test_environment_hands_stage_and_run_to_another_process(emitter: PatternEventEmitter) -> None:
    """A tool that reads TRACEPARENT makes children of the stage; state and baggage of the caller go along."""
    state = trace.TraceState([("vendor", "x")])
    caller = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=state)
    token = context.attach(
        trace.set_span_in_context(trace.NonRecordingSpan(caller), baggage.set_baggage("tenant", "acme"))
    )
    try:
        with start(emitter) as run, run.execution("true") as execution:
            of_stage, of_run = execution.environment(), run.environment()
    finally:
        context.detach(token)
    projected = CapturedRuns(emitter).trace
    assert of_stage == {
        "TRACEPARENT": f"00-{1:032x}-{stage_of(projected, 'execution').span_id}-01",
        "TRACESTATE": "vendor=x",
        "BAGGAGE": "tenant=acme",
    }
    assert of_run["TRACEPARENT"] == f"00-{1:032x}-{root_of(projected).span_id}-01"


async def _nap(run: Run) -> tuple[str, str]:
    async with run:
        await asyncio.sleep(0)
        async with run.validation("preflight", ["a"]):
            await asyncio.sleep(0)
        async with run.execution("true"):
            await asyncio.sleep(0)
            return ids_of_current()


def test_async_runs_side_by_side_keep_their_spans_apart(emitter: PatternEventEmitter) -> None:
    """Each task has its own current run and stage."""

    async def main() -> list[tuple[str, str]]:
        return await asyncio.gather(*(_nap(start(emitter)) for _ in range(5)))

    inside = asyncio.run(main())
    projected = CapturedRuns(emitter).traces.values()
    assert sorted(inside) == sorted((run.trace_id, stage_of(run, "execution").span_id) for run in projected)
    assert len(inside) == 5


def test_cancelled_task_ends_its_run_as_cancelled(emitter: PatternEventEmitter) -> None:
    """A task that asyncio cancels, by hand or by a time-out, has a run that says so."""

    async def work() -> None:
        async with start(emitter):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert dict(root_of(CapturedRuns(emitter).trace).attributes)["cicd.pipeline.result"] == "cancellation"


def test_leaving_in_another_context_does_no_harm(
    emitter: PatternEventEmitter, caplog: pytest.LogCaptureFixture
) -> None:
    """A framework may leave a block in another context than it entered it: the run ends all the same."""
    run = start(emitter)
    with caplog.at_level(logging.CRITICAL, "opentelemetry"):
        contextvars.copy_context().run(run.__enter__)
        run.__exit__(None, None, None)
    assert not root_of(CapturedRuns(emitter).trace).failed


def test_end_that_is_refused_leaves_the_context_all_the_same() -> None:
    """A strict validation may raise at the end of a block: its span is not current any more."""
    with capture_runs(validation="strict") as captured:
        run = start(captured.emitter)
        run.__enter__()
        run.result_summary = ["x"]  # pyright: ignore[reportAttributeAccessIssue]  # what the rule of the event refuses
        with pytest.raises(InvalidEventError):
            run.__exit__(None, None, None)
        assert not trace.get_current_span().get_span_context().is_valid

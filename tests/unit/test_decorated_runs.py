"""`pattern_run` as a decorator: of functions, coroutines and generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry import trace

from otel_patterns import OtelPatternsError, PatternEventEmitter, current_run
from otel_patterns.testing import CapturedRuns
from tests.unit.runs import ids_of_current, root_of, start


@pytest.fixture
def emitter(pattern_runs: CapturedRuns) -> PatternEventEmitter:
    """Return an emitter that sends nothing."""
    return pattern_runs.emitter


def job_of(name: str, **_: Any) -> str:
    """Return a job id made of an argument."""
    return f"JOB-{name}"


def step_of(*_: Any, step: str | None = None) -> str | None:
    """Return a step id from an argument."""
    return step


def inputs_of(name: str, **more: Any) -> dict[str, Any]:
    """Return all arguments."""
    return {"name": name, **more}


def test_function_is_a_run_at_each_call(emitter: PatternEventEmitter) -> None:
    """Job, step and inputs may come from the arguments; name, result, signature and docs are the function's own."""

    @start(emitter, job_id=job_of, step_id=step_of, inputs=inputs_of)
    def build(name: str, *, step: str | None = None) -> str:
        """Build."""
        run = current_run()
        assert run is not None
        run.result_summary["size"] = len(name)
        return name.upper()

    assert (build("a"), build("bb", step="STEP-2")) == ("A", "BB")
    assert (build.__name__, build.__doc__) == ("build", "Build.")
    first, second = (root_of(run) for run in CapturedRuns(emitter).traces.values())
    assert dict(first.attributes)["pattern.job.id"] == "JOB-a"
    of_second = dict(second.attributes)
    assert of_second["pattern.job.id"] == "JOB-bb"
    assert (of_second["pattern.step.id"], of_second["pattern.input.name"], of_second["pattern.output.size"]) == (
        "STEP-2",
        "bb",
        2,
    )
    assert str(of_second["code.function.name"]).endswith("build")
    assert str(of_second["code.file.path"]).endswith("test_decorated_runs.py")
    assert isinstance(of_second["code.line.number"], int)
    assert first.trace_id != second.trace_id
    assert current_run() is None


def test_function_that_raises_fails_its_run(emitter: PatternEventEmitter) -> None:
    """The exception passes through, and its stack trace is in the run."""

    @start(emitter)
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    root = root_of(CapturedRuns(emitter).trace)
    assert root.failed
    (exception,) = [event for event in root.events if event.name == "exception"]
    assert "in fail" in str(dict(exception.attributes)["exception.stacktrace"])


def test_coroutine_function_is_a_run(emitter: PatternEventEmitter) -> None:
    """The run lasts until the coroutine is done, and is current in it."""

    @start(emitter)
    async def work() -> tuple[str, str]:
        await asyncio.sleep(0)
        return ids_of_current()

    assert asyncio.iscoroutinefunction(work)
    inside = asyncio.run(work())
    projected = CapturedRuns(emitter).trace
    assert inside == (projected.trace_id, root_of(projected).span_id)


def test_generator_is_a_run_while_it_works_and_not_while_its_caller_does(emitter: PatternEventEmitter) -> None:
    """Values sent and exceptions thrown in arrive; the caller's context stays its own."""
    seen: list[Any] = []

    @start(emitter)
    def count() -> Iterator[int]:
        seen.append(ids_of_current())
        try:
            seen.append((yield 1))
        except ValueError as error:
            seen.append(str(error))
        yield 2
        return "done"  # pyright: ignore[reportReturnType]  # a generator may return something

    generator: Any = count()
    assert emitter.get_events() == []
    assert next(generator) == 1
    assert not trace.get_current_span().get_span_context().is_valid
    assert current_run() is None
    assert generator.throw(ValueError("in")) == 2
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "done"
    projected = CapturedRuns(emitter).trace
    assert seen == [(projected.trace_id, root_of(projected).span_id), "in"]
    assert not root_of(projected).failed
    sending: Any = count()
    next(sending)
    assert sending.send("hello") == 2
    assert seen[-1] == "hello"
    sending.close()


def test_generator_that_is_left_early_is_a_completed_run(emitter: PatternEventEmitter) -> None:
    """A caller that wants no more items is no failure, and the generator's own cleaning up is part of the run."""
    cleaned: list[bool] = []

    @start(emitter)
    def count() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            cleaned.append(trace.get_current_span().is_recording())

    generator: Any = count()
    assert [next(generator), next(generator)] == [0, 1]
    generator.close()
    assert cleaned == [True]
    assert not root_of(CapturedRuns(emitter).trace).failed


def test_generator_that_raises_fails_its_run(emitter: PatternEventEmitter) -> None:
    """Also after it has yielded."""

    @start(emitter)
    def count() -> Iterator[int]:
        yield 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(count())
    assert root_of(CapturedRuns(emitter).trace).failed


def test_async_generator_is_a_run(emitter: PatternEventEmitter) -> None:
    """Iterated to its end, left early or raising: each has the result it should have."""

    @start(emitter)
    async def count(fail_at: int) -> AsyncIterator[int]:
        for number in range(5):
            await asyncio.sleep(0)
            if number == fail_at:
                raise ValueError("no")
            yield number

    async def main() -> None:
        assert [number async for number in count(9)] == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="no"):
            _ = [number async for number in count(2)]
        early: Any = count(9)
        assert await anext(early) == 0
        assert not trace.get_current_span().get_span_context().is_valid
        await early.aclose()

    asyncio.run(main())
    assert sorted(root_of(run).failed for run in CapturedRuns(emitter).traces.values()) == [False, False, True]


def test_decorator_with_a_run_id_is_refused(emitter: PatternEventEmitter) -> None:
    """One id cannot name the runs of many calls."""

    @start(emitter, pattern_run_id="PRUN-1")
    def work() -> None: ...

    with pytest.raises(OtelPatternsError, match="pattern_run_id='PRUN-1' names one run"):
        work()

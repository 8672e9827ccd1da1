"""Functions of all four kinds, each call of which is a run."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ..model import names
from .block import Block

if TYPE_CHECKING:
    from . import Run

P = ParamSpec("P")
R = TypeVar("R")


def decorated(function: Callable[P, R], run_of_call: Callable[..., Run]) -> Callable[P, R]:
    """Return `function` with each of its calls made a run by `run_of_call(function, *arguments)`."""
    import inspect  # noqa: PLC0415  # slow to load, and most runs are blocks or commands

    anything = cast("Callable[..., Any]", function)
    if inspect.isasyncgenfunction(function):
        wrapper = _of_async_generator(anything, run_of_call)
    elif inspect.isgeneratorfunction(function):
        wrapper = _of_generator(anything, run_of_call)
    elif inspect.iscoroutinefunction(function):
        wrapper = _of_coroutine(anything, run_of_call)
    else:
        wrapper = _of_function(anything, run_of_call)
    return cast("Callable[P, R]", functools.wraps(function)(wrapper))


def _of_function(function: Callable[..., Any], run_of_call: Callable[..., Run]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with run_of_call(function, *args, **kwargs):
            return function(*args, **kwargs)

    return call


def _of_coroutine(function: Callable[..., Any], run_of_call: Callable[..., Run]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        async with run_of_call(function, *args, **kwargs):
            return await function(*args, **kwargs)

    return call


# A generator shares its caller's context: the run is current while the generator works, never while the caller does.


def _of_generator(function: Callable[..., Any], run_of_call: Callable[..., Run]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        run = run_of_call(function, *args, **kwargs)
        inner: Generator[Any, Any, Any] = function(*args, **kwargs)
        with _Lasting(run):
            step: Callable[[], Any] = functools.partial(next, inner)
            while True:
                try:
                    with _current(run):
                        item = step()
                except StopIteration as end:
                    return end.value
                try:
                    step = functools.partial(inner.send, (yield item))
                except GeneratorExit:
                    with _current(run):
                        inner.close()
                    raise
                except BaseException as error:  # noqa: BLE001  # whatever the caller throws in is the generator's to handle
                    step = functools.partial(inner.throw, error)

    return call


def _of_async_generator(function: Callable[..., Any], run_of_call: Callable[..., Run]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        run = run_of_call(function, *args, **kwargs)
        inner: AsyncGenerator[Any, Any] = function(*args, **kwargs)
        async with _Lasting(run):
            step: Callable[[], Any] = functools.partial(anext, inner)
            while True:
                try:
                    with _current(run):
                        item = await step()
                except StopAsyncIteration:
                    return
                try:
                    step = functools.partial(inner.asend, (yield item))
                except GeneratorExit:
                    with _current(run):
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001  # as above
                    step = functools.partial(inner.athrow, error)

    return call


class _Lasting(Block):
    """A run that lasts as long as its generator. A caller that wants no more items is no failure."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lifecycle = run._lifecycle  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # blocks share it

    def enter(self) -> None:
        """Leave it to each step."""

    def leave(self) -> None:
        """Leave it to each step."""

    def _begin(self) -> None:
        self._run.begin()

    def _end(self, error: BaseException | None) -> None:
        self._run.end(None if isinstance(error, GeneratorExit) else error)


@contextmanager
def _current(run: Run) -> Generator[None]:
    run.enter()
    try:
        yield
    finally:
        run.leave()


def code_of_frame(frame: FrameType) -> dict[str, Any]:
    """Return the `code.*` attributes of the line that a frame is at."""
    code = frame.f_code
    return _code_attributes(getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno)


def code_of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the `code.*` attributes of a function; of a callable object only its name."""
    import inspect  # noqa: PLC0415  # see above

    name = getattr(function, "__qualname__", type(function).__qualname__)
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (
        {names.ATTR_CODE_FUNCTION: name}
        if code is None
        else _code_attributes(name, code.co_filename, code.co_firstlineno)
    )


def _code_attributes(name: str, file: str, line: int) -> dict[str, Any]:
    return {names.ATTR_CODE_FUNCTION: name, names.ATTR_CODE_FILE: file, names.ATTR_CODE_LINE: line}

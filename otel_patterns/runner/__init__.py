"""`pattern_run`: run a block or a function as a pattern run, with its events emitted in the right order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .arguments import Arguments, FromCall
from .block import Block
from .decorated import code_of_frame, code_of_function, decorated
from .lifecycle import Lifecycle
from .results import Results
from .stages import Execution, Selection, Template, Validation, command_details

if TYPE_CHECKING:
    from ..emit import PatternEventEmitter

__all__ = ["Execution", "Run", "Selection", "Template", "Validation", "current_run", "pattern_run"]

P = ParamSpec("P")
R = TypeVar("R")


def pattern_run(  # noqa: PLR0913  # each describes the run; all but three are optional
    pattern_id: str,
    *,
    job_id: str | FromCall[str],
    operation_kind: str,
    step_id: str | FromCall[str | None] | None = None,
    inputs: Mapping[str, Any] | FromCall[Mapping[str, Any]] | None = None,
    pattern_version: str | None = None,
    pattern_run_id: str | None = None,
    selection_method: str = "explicit",
    candidate_patterns: Sequence[str] | None = None,
    command: str | Sequence[str] | None = None,
    executor: str | None = None,
    emitter: PatternEventEmitter | None = None,
) -> Run:
    """Return what makes a block, or every call of a function, a pattern run.

    `with pattern_run(…) as run:` or `async with` for a block; `@pattern_run(…)` for a function, a coroutine function,
    a generator or an async generator, each call of which is a run of its own.

    On entry `selection.resolved` is emitted, so that the run is on record whatever becomes of the process. With
    `candidate_patterns` it is `selection.started`, and `run.selection()` chooses. Stages that the block opens emit
    their events. Without `run.execution()` the block itself is the execution: it is started on entry when `command` or
    `executor` says so, else when the block ends, stamped with the time at which it began.
    An exception ends the run as failed and is raised again; leaving the block ends it as completed. What Ctrl-C or
    asyncio cancels has the result `cancellation`, a `sys.exit` the one of its exit code.

    Meanwhile the run's span, and inside a stage the stage's, is the current one of OpenTelemetry: spans of
    instrumented libraries nest under it, a run inside the block becomes its child, and attributes, events and
    exceptions that are set on it are recorded in the journal and the trace.

    Args:
        pattern_id: `PAT-…`.
        job_id: `JOB-…`. For a function also a callable, which is given the arguments of each call; so are `step_id`
            and `inputs`.
        operation_kind: What kind of work it is, like `semgrep_scan`. It should be one of few: it names the root span.
        step_id: `STEP-…` or None.
        inputs: Shown as the run's inputs.
        pattern_version: Version of the pattern.
        pattern_run_id: `PRUN-…` of a run that was announced elsewhere; None makes a new one. Not for functions.
        selection_method: `explicit`, `auto` or `fallback`.
        candidate_patterns: Patterns to choose from; `pattern_id` stands for the run until one is chosen.
        command: The command that the block runs; then the block is the execution.
        executor: What executes it, like `subprocess`; then the block is the execution.
        emitter: Another journal than the process's own.

    Raises:
        InvalidEventError: On entry, or when the function is called: an id breaks its rule, or the `validation` setting
            is `strict` and details do not fit.
        OtelPatternsError: When the function is called: `pattern_run_id` names one run, and each call is one of its own.
    """
    arguments = Arguments(
        pattern_id=pattern_id,
        job_id=job_id,
        operation_kind=operation_kind,
        step_id=step_id,
        inputs=inputs,
        pattern_version=pattern_version,
        pattern_run_id=pattern_run_id,
        selection_method=selection_method,
        candidate_patterns=candidate_patterns,
        command=command,
        executor=executor,
        channel=None if emitter is None else emitter.channel,
    )
    # The caller's frame, which no public function gives without reading source files.
    frame = sys._getframe(1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return Run(arguments, code_of_frame(frame))


_current_run: ContextVar[Run | None] = ContextVar("otel_patterns_current_run", default=None)


def current_run() -> Run | None:
    """Return the innermost run that goes on in this context, to add results or open stages; None outside of any.

    A thread begins without a run, an asyncio task with that of the task that made it.
    """
    return _current_run.get()


class Run(Block, Results):
    """A run that is going on; what `pattern_run` returns, and `with pattern_run(…) as run` gives.

    A stage is used by `with` or `async with`: `with run.validation("preflight") as checks:`.
    """

    def __init__(self, arguments: Arguments, code: Mapping[str, Any] | None) -> None:
        self._arguments = arguments
        self._lifecycle = lifecycle = Lifecycle(arguments, code=code or {}, in_context=code is not None)
        self._execution: Execution | None = None
        if arguments.command is not None or arguments.executor is not None:
            details = command_details(command=arguments.command, executor=arguments.executor)
            self._execution = Execution(lifecycle, details)
        self._tokens: list[Token[Run | None]] = []

    @property
    def pattern_run_id(self) -> str:
        """The run's id."""
        return self._lifecycle.run_id

    @property
    def trace_id(self) -> str:
        """Where to find the run in a backend: 32 hex digits, the caller's when the run joined its trace."""
        return self._lifecycle.joined.trace_id

    @property
    def pattern_id(self) -> str:
        """The run's pattern, as far as it was selected."""
        return self._lifecycle.pattern_id

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function each call of which is a run, made as this one was to be."""
        return decorated(function, self._run_of_call)

    def _run_of_call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Run:
        return Run(self._arguments.of_call(args, kwargs), code_of_function(function))

    def _begin(self) -> None:
        self.begin()

    def _end(self, error: BaseException | None) -> None:
        self.end(error)

    def begin(self) -> None:
        """Emit the run's first events. The `with` statement does it."""
        self._lifecycle.begin()
        if self._execution is not None:
            self._execution.start()

    def enter(self) -> None:
        """Make the run, and its span, the current one. The `with` statement does it."""
        self._tokens.append(_current_run.set(self))
        self._lifecycle.enter()
        if self._execution is not None:
            self._execution.enter()

    def leave(self) -> None:
        """Make current again what was current before. The `with` statement does it."""
        if self._execution is not None:
            self._execution.leave()
        self._lifecycle.leave()
        if self._tokens:
            with suppress(ValueError):
                # Left in another context than it was entered in: there is nothing to reset there.
                _current_run.reset(self._tokens.pop())

    def end(self, error: BaseException | None = None) -> None:
        """Emit what ends the run, if nothing has ended it so far. The `with` statement does it."""
        if not self._lifecycle.ended:
            if self._execution is None:
                details = command_details(executor="python", command=self._lifecycle.function)
                self._execution = Execution(self._lifecycle, details)
                self._execution.start(self._lifecycle.began_unix_nano)
            self._execution.end(error)
        self._lifecycle.close()

    def environment(self) -> dict[str, str]:
        """Return `TRACEPARENT`, and `TRACESTATE` and `BAGGAGE` if there are, for a process that is part of the run.

        Spans that it makes then nest under the run: `subprocess.run(…, env={**os.environ, **run.environment()})`.
        """
        return self._lifecycle.environment()

    def selection(self) -> Selection:
        """Open the selection stage, which chooses among `candidate_patterns`.

        `selection.resolved` or `selection.failed` is emitted when the block ends.
        """
        return Selection(self._lifecycle)

    def template(self, *, template_version: str | None = None, command_preview: str | None = None) -> Template:
        """Open the template stage; `template.expanded` is emitted when the block ends.

        Args:
            template_version: Version of the template.
            command_preview: The command that it expands to.
        """
        return Template(self._lifecycle, template_version, command_preview)

    def validation(self, validation_type: str, checks: Sequence[str] = ()) -> Validation:
        """Open a validation stage; failed checks (`validation.fail(check, error)`) end the run when it closes.

        Args:
            validation_type: What is validated, like `preflight`.
            checks: Names of the checks. All of them count as passed that have not failed.
        """
        return Validation(self._lifecycle, validation_type, checks)

    def execution(
        self,
        command: str | Sequence[str] | None = None,
        *,
        executor: str | None = None,
        working_dir: str | os.PathLike[str] | None = None,
        timeout_seconds: float | None = None,
        tool_name: str | None = None,
        tool_version: str | None = None,
    ) -> Execution:
        """Open the execution stage; leaving its block ends the run.

        Args:
            command: The command that the block runs, as text or in words; None means Python code.
            executor: What executes it; None means `subprocess` with a command, else `python`.
            working_dir: Where it runs.
            timeout_seconds: How long it may run; recorded, not enforced.
            tool_name: Name of the tool.
            tool_version: Its version.
        """
        is_command = command is not None
        details = command_details(
            command=command if is_command else self._lifecycle.function,
            executor=executor or ("subprocess" if is_command else "python"),
            working_dir=working_dir,
            timeout_seconds=timeout_seconds,
            tool_name=tool_name,
            tool_version=tool_version,
        )
        return Execution(self._lifecycle, details)

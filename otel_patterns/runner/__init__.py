"""`pattern_run`: run a block of code as a pattern run, with its events emitted in the right order."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from ..channel import channel_of
from ..model import ids, names
from ..tracing.origin import caller_trace_id
from .lifecycle import Lifecycle, Results
from .stages import Execution, Selection, Template, Validation, command_details

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..emit import PatternEventEmitter

__all__ = ["Execution", "Run", "Selection", "Template", "Validation", "pattern_run"]


def pattern_run(  # noqa: PLR0913  # each describes the run; all but three are optional
    pattern_id: str,
    *,
    job_id: str,
    operation_kind: str,
    step_id: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    pattern_version: str | None = None,
    pattern_run_id: str | None = None,
    selection_method: str = "explicit",
    candidate_patterns: Sequence[str] | None = None,
    command: str | Sequence[str] | None = None,
    executor: str | None = None,
    emitter: PatternEventEmitter | None = None,
) -> Run:
    """Return a context manager that makes its block a pattern run.

    On entry `selection.resolved` is emitted, so that the run is on record whatever becomes of the process. With
    `candidate_patterns` it is `selection.started`, and `run.selection()` chooses. Stages that the block opens emit
    their events. Without `run.execution()` the block itself is the execution: it is started on entry when `command` or
    `executor` says so, else when the block ends, stamped with the time at which it began.
    An exception ends the run as failed and is raised again; leaving the block ends it as completed.

    Args:
        pattern_id: `PAT-…`.
        job_id: `JOB-…`.
        operation_kind: What kind of work it is, like `semgrep_scan`; low cardinality, it names the root span.
        step_id: `STEP-…` or None.
        inputs: Shown as the run's inputs.
        pattern_version: Version of the pattern.
        pattern_run_id: `PRUN-…` of a run that was announced elsewhere; None makes a new one.
        selection_method: explicit, auto or fallback.
        candidate_patterns: Patterns to choose from; `pattern_id` stands for the run until one is chosen.
        command: The command that the block runs; then the block is the execution.
        executor: What executes it, like `subprocess`; then the block is the execution.
        emitter: Another journal than the process's own.

    Raises:
        InvalidEventError: On entry, when an id breaks its rule.
    """
    channel = channel_of(None) if emitter is None else emitter.channel
    lifecycle = Lifecycle(
        channel,
        run_id=pattern_run_id or f"PRUN-{channel.clock.new_ulid()}",
        job_id=job_id,
        step_id=step_id,
        pattern_id=pattern_id,
        operation_kind=operation_kind,
        pattern_version=pattern_version,
        inputs=inputs or {},
        selection_method=selection_method,
        candidate_patterns=candidate_patterns,
        # The caller's frame, which no public function gives without reading source files.
        code=_code_of(sys._getframe(1)),  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    )
    is_described = command is not None or executor is not None
    body = Execution(lifecycle, command_details(command=command, executor=executor)) if is_described else None
    caller = caller_trace_id() if channel.settings.join == "child" else None
    return Run(lifecycle, body, caller or ids.trace_id(job_id, lifecycle.run_id))


class Run(Results):
    """A run that is going on; made by `pattern_run`.

    Attributes:
        pattern_run_id: The run's id.
        trace_id: 32 hex digits: where to find it in a backend. The caller's when the run joined its trace.
    """

    def __init__(self, lifecycle: Lifecycle, body: Execution | None, trace_id: str) -> None:
        self._lifecycle = lifecycle
        self._execution = body
        self.pattern_run_id = lifecycle.run_id
        self.trace_id = trace_id

    @property
    def pattern_id(self) -> str:
        """The run's pattern, as far as it was selected."""
        return self._lifecycle.pattern_id

    def __enter__(self) -> Self:
        self._lifecycle.begin()
        if self._execution is not None:
            self._execution.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lifecycle.ended:
            return
        if self._execution is None:
            details = command_details(executor="python", command=self._lifecycle.function)
            self._execution = Execution(self._lifecycle, details)
            self._execution.start(self._lifecycle.began_unix_nano)
        self._execution.end(error)

    def selection(self) -> Selection:
        """Choose among `candidate_patterns`: `with run.selection() as selection: selection.choose("PAT-…")`."""
        return Selection(self._lifecycle)

    def template(self, *, template_version: str | None = None, command_preview: str | None = None) -> Template:
        """Open the template stage; `template.expanded` is emitted when the block ends."""
        return Template(self._lifecycle, template_version, command_preview)

    def validation(self, validation_type: str, checks: Sequence[str] = ()) -> Validation:
        """Open a validation stage; failed checks (`validation.fail(check, error)`) end the run when it closes."""
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
        """Open the execution stage; leaving its block ends the run."""
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


def _code_of(frame: FrameType) -> dict[str, Any]:
    code = frame.f_code
    return {
        names.ATTR_CODE_FUNCTION: getattr(code, "co_qualname", code.co_name),
        names.ATTR_CODE_FILE: code.co_filename,
        names.ATTR_CODE_LINE: frame.f_lineno,
    }

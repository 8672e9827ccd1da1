"""The stages of a run as context managers: each emits the event that opens it and the one that closes it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from ..model import names
from ..model.values import as_list, clean_text, to_json_value
from ..tracing.exceptions import message_of
from .block import Block
from .lifecycle import Lifecycle
from .preview import PREVIEW_CHARACTERS
from .result import CommandResult
from .results import Results
from .spans import OpenSpan

if TYPE_CHECKING:
    from subprocess import CompletedProcess, SubprocessError


TOOL_ERROR: Final = "tool_error"


class Stage(Block):
    """A block in which a stage's span is current."""

    _lifecycle: Lifecycle
    _span: OpenSpan | None = None

    def enter(self) -> None:
        """Make the stage's span the current one. The `with` statement does it."""
        if self._span is not None:
            self._span.enter()

    def leave(self) -> None:
        """Make current again what was current before. The `with` statement does it."""
        if self._span is not None:
            self._span.leave()


class Selection(Stage):
    """The selection stage of a run, which `pattern_run(…, candidate_patterns=[…])` has begun."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._reason: str | None = None

    def _begin(self) -> None:
        self._span = self._lifecycle.open_stage(names.SELECTION)

    def choose(self, pattern_id: str, *, method: str = "auto") -> None:
        """Say which pattern it is.

        Args:
            pattern_id: `PAT-…`, from now on the run's pattern.
            method: `explicit`, `auto` or `fallback`.
        """
        self._lifecycle.pattern_id = pattern_id
        self._lifecycle.selection_method = method

    def fail(self, reason: str) -> None:
        """Say that no pattern fits: the run ends as failed when the stage closes.

        Args:
            reason: Why not, for people.
        """
        self._reason = reason

    def _end(self, error: BaseException | None) -> None:
        if error is None and self._reason is None:
            self._lifecycle.require_selection(self._span)
            return
        details: dict[str, Any] = {
            "reason": self._reason or to_json_value(error),
            "attempted_patterns": self._lifecycle.candidate_patterns,
            "operation_kind": self._lifecycle.operation_kind,
        }
        if error is not None:
            details["error"] = to_json_value(error)
            details["error_type"] = type(error).__name__
        self._lifecycle.emit(names.SELECTION_FAILED, names.FAILED, details, error=error, stage=self._span)


class Template(Stage):
    """The template stage of a run: set its attributes inside of the block.

    Attributes:
        variables_resolved: How many variables were filled in.
        generated_artifacts: Paths of the files that the expansion made.
        template_version: Version of the template.
        command_preview: The command that it expands to.
    """

    def __init__(self, lifecycle: Lifecycle, template_version: str | None, command_preview: str | None) -> None:
        self._lifecycle = lifecycle
        self.variables_resolved = 0
        self.generated_artifacts: list[str] = []
        self.template_version = template_version
        self.command_preview = command_preview

    def _begin(self) -> None:
        self._lifecycle.require_selection()
        self._span = self._lifecycle.open_stage(names.TEMPLATE)

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            # There is no template.failed: the run's own block ends it.
            self._lifecycle.drop_stage(self._span)
            return
        details: dict[str, Any] = {
            "variables_resolved": self.variables_resolved,
            "generated_artifacts": texts_of(self.generated_artifacts),
        }
        if self.template_version is not None:
            details["template_version"] = self.template_version
        if self.command_preview is not None:
            details["command_preview"] = self.command_preview
        self._lifecycle.emit(names.TEMPLATE_EXPANDED, names.IN_PROGRESS, details, stage=self._span)
        self._lifecycle.continue_body()


class Validation(Stage):
    """A validation stage of a run. After a failed check the run has ended when the stage closes.

    Look at `passed` then, and stop. An exception in the block is a failed check `exception`.

    Attributes:
        warnings: What is worth saying and no failure; a list to fill.
    """

    def __init__(self, lifecycle: Lifecycle, validation_type: str, checks: Sequence[str]) -> None:
        self._lifecycle = lifecycle
        self._type = validation_type
        self._checks = texts_of(checks)
        self._failed: list[dict[str, str]] = []
        self.warnings: list[str] = []

    @property
    def passed(self) -> bool:
        """Whether no check has failed."""
        return not self._failed

    def _begin(self) -> None:
        self._lifecycle.require_selection()
        details = {"validation_type": self._type, "checks": self._checks}
        opening_id = self._lifecycle.emit(names.VALIDATION_STARTED, names.IN_PROGRESS, details)
        self._span = self._lifecycle.open_stage(names.VALIDATION, opening_id)

    def fail(self, check: str, error: object) -> None:
        """Record a failed check.

        Args:
            check: Its name, one of the stage's `checks` or another.
            error: What is wrong: a text, an exception, any value.
        """
        self._failed.append({"check": check, "error": str(to_json_value(error))})

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            self.fail("exception", error)
        total = max(len(self._checks), len(self._failed))
        details: dict[str, Any] = {
            "validation_type": self._type,
            "checks_passed": total - len(self._failed),
            "checks_failed": len(self._failed),
        }
        if self._failed:
            details["failed_checks"] = self._failed
            if error is not None:
                details["error_type"] = type(error).__name__
            self._lifecycle.emit(names.VALIDATION_FAILED, names.FAILED, details, error=error, stage=self._span)
            return
        if self.warnings:
            details["warnings"] = self.warnings
        self._lifecycle.emit(names.VALIDATION_COMPLETED, names.IN_PROGRESS, details, stage=self._span)
        self._lifecycle.continue_body()


class Execution(Stage, Results):
    """The execution stage of a run; when its block ends, so does the run.

    An exception in the block ends the run as failed and is raised again; that of a `subprocess` call is recorded too.

    Attributes:
        exit_code: Exit code of the tool; another one than 0 makes the run fail unless `status` is set.
        status: `success`, `warning`, `skipped` or `failed`, to overrule what follows from the exit code.
        error_type: Why it failed, which makes it fail; `tool_error` by default.
        error_message: What it said; the end of its stderr by default, else of its stdout.
    """

    def __init__(self, lifecycle: Lifecycle, details: dict[str, Any]) -> None:
        self._lifecycle = lifecycle
        self._started = details
        self._output: dict[str, Any] = {}
        self._start_seconds = 0.0
        self._opening_id = ""
        self.exit_code: int | None = None
        self.status: str | None = None
        self.error_type: str | None = None
        self.error_message: str | None = None

    def _begin(self) -> None:
        self.start()

    def _end(self, error: BaseException | None) -> None:
        self.end(error)

    def environment(self) -> dict[str, str]:
        """Return `TRACEPARENT`, and `TRACESTATE` and `BAGGAGE` if there are, for the tool that the stage runs.

        Spans that the tool makes then nest under this stage: `subprocess.run(…, env={**os.environ, **environment()})`.
        """
        lifecycle = self._lifecycle
        return lifecycle.environment(lifecycle.stage_span_id(names.EXECUTION, self._opening_id))

    def start(self, time_unix_nano: int | None = None) -> None:
        """Emit `execution.started`. The `with` statement does it."""
        self._lifecycle.require_selection()
        clock = self._lifecycle.clock
        now = clock.now_unix_nano()
        self._start_seconds = clock.monotonic() - (now - (time_unix_nano or now)) / 1e9
        self._opening_id = self._lifecycle.emit(
            names.EXECUTION_STARTED, names.IN_PROGRESS, self._started, time_unix_nano=time_unix_nano
        )
        self._span = self._lifecycle.open_stage(names.EXECUTION, self._opening_id)

    def record(self, process: CompletedProcess[Any] | SubprocessError | CommandResult) -> None:
        """Take exit code, line counts and previews from a finished process, or from the error it ended with.

        A preview is the last 2,000 characters of what was captured.

        Args:
            process: What `subprocess.run` returned, or raised.
        """
        if isinstance(process, CommandResult):
            self.exit_code, self.error_type = process.exit_code, process.error_type
            self.error_message = process.error_message
            self._output.update(process.details())
            return
        self.exit_code = getattr(process, "returncode", self.exit_code)
        for name in ("stdout", "stderr"):
            output = getattr(process, name, None)
            if output is not None:
                text = str(to_json_value(output))
                self._output[f"{name}_lines"] = len(text.splitlines())
                if text:
                    self._output[f"{name}_preview"] = text[-PREVIEW_CHARACTERS:]

    def end(self, error: BaseException | None = None) -> None:
        """Emit the event that ends the run. The `with` statement does it."""
        if self._lifecycle.ended:
            return
        clock = self._lifecycle.clock
        details: dict[str, Any] = {"duration_seconds": round(max(0.0, clock.monotonic() - self._start_seconds), 6)}
        details.update(self._output)
        if isinstance(error, SystemExit) and (error.code is None or error.code == 0):
            # A program that ends itself because it is done.
            error = None
        if error is not None:
            self._fail(details, error)
        elif self._has_failed():
            details["exit_code"] = self.exit_code
            details["error_type"] = self.error_type or TOOL_ERROR
            stderr = self._output.get("stderr_preview") or self._output.get("stdout_preview")
            details["error_message"] = self.error_message or stderr or f"exit code {self.exit_code}"
            self._add_results(details)
            self._lifecycle.emit(names.EXECUTION_FAILED, names.FAILED, details, stage=self._span)
        else:
            details["exit_code"] = self.exit_code or 0
            self._add_results(details)
            for name in ("result_summary", "artifacts"):
                details.setdefault(name, {} if name == "result_summary" else [])
            self._lifecycle.emit(names.EXECUTION_COMPLETED, self.status or names.SUCCESS, details, stage=self._span)

    def _has_failed(self) -> bool:
        if self.status is not None:
            return self.status == names.FAILED
        return bool(self.exit_code) or self.error_type is not None

    def _fail(self, details: dict[str, Any], error: BaseException) -> None:
        subprocess = sys.modules.get("subprocess")
        if subprocess is not None and isinstance(error, subprocess.SubprocessError):
            # CalledProcessError and TimeoutExpired hold what the process left. Nobody raises them without the module,
            # which takes longer to load than many a command takes to run.
            self.record(cast("SubprocessError", error))
            details.update(self._output)
        if isinstance(error, SystemExit):
            self.exit_code = error.code if isinstance(error.code, int) else 1
        details["exit_code"] = self.exit_code
        details["error_type"] = type(error).__name__
        details["error_message"] = clean_text(str(to_json_value(message_of(error))))
        self._add_results(details)
        self._lifecycle.emit(names.EXECUTION_FAILED, names.FAILED, details, error=error, stage=self._span)

    def _add_results(self, details: dict[str, Any]) -> None:
        if self.result_summary:
            details["result_summary"] = self.result_summary
        if self.artifacts:
            details["artifacts"] = texts_of(self.artifacts)


def texts_of(value: object) -> list[str]:
    """Return what a caller gave for a list of texts as one; a single text or path counts as one. Never raises."""
    converted = to_json_value(value)
    items = as_list(converted)
    return [str(item) for item in ([converted] if items is None else items)]


def command_details(
    *, command: str | Sequence[str] | None = None, executor: str | None = None, **more: object
) -> dict[str, Any]:
    """Return the details of `execution.started`; a command in words is quoted as a shell would read it."""
    text = command if isinstance(command, str) or command is None else shlex.join(texts_of(command))
    details: dict[str, Any] = {
        "executor": executor or ("subprocess" if text is not None else "python"),
        "command": text or "",
    }
    details.update({name: value for name, value in more.items() if value is not None})
    return details

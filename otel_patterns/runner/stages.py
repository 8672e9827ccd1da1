"""The stages of a run as context managers: each emits the event that opens it and the one that closes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from subprocess import SubprocessError
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from ..model import names
from ..model.values import as_list, clean_text, to_json_value
from .lifecycle import Lifecycle, Results, str_of

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from typing_extensions import Self

PREVIEW_CHARACTERS: Final = 2000
TOOL_ERROR: Final = "tool_error"


class Selection:
    """The selection stage of a run, which `pattern_run(…, candidate_patterns=[…])` has begun."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._reason: str | None = None

    def __enter__(self) -> Self:
        return self

    def choose(self, pattern_id: str, *, method: str = "auto") -> None:
        """Make `pattern_id` the run's pattern; `method` is explicit, auto or fallback."""
        self._lifecycle.pattern_id = pattern_id
        self._lifecycle.selection_method = method

    def fail(self, reason: str) -> None:
        """Say that no pattern fits: the run ends as failed when the stage closes."""
        self._reason = reason

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._reason is None:
            self._lifecycle.require_selection()
            return
        details: dict[str, Any] = {
            "reason": self._reason or to_json_value(error),
            "attempted_patterns": self._lifecycle.candidate_patterns,
            "operation_kind": self._lifecycle.operation_kind,
        }
        if error is not None:
            details["error"] = to_json_value(error)
        self._lifecycle.emit(names.SELECTION_FAILED, names.FAILED, details, error=error)


class Template:
    """The template stage of a run.

    Attributes:
        variables_resolved: How many variables were filled in.
        generated_artifacts: Files that the expansion made.
    """

    def __init__(self, lifecycle: Lifecycle, template_version: str | None, command_preview: str | None) -> None:
        self._lifecycle = lifecycle
        self.variables_resolved = 0
        self.generated_artifacts: list[str] = []
        self.template_version = template_version
        self.command_preview = command_preview

    def __enter__(self) -> Self:
        self._lifecycle.require_selection()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # There is no template.failed: the run's own block ends it.
            return
        details: dict[str, Any] = {
            "variables_resolved": self.variables_resolved,
            "generated_artifacts": texts_of(self.generated_artifacts),
        }
        if self.template_version is not None:
            details["template_version"] = self.template_version
        if self.command_preview is not None:
            details["command_preview"] = self.command_preview
        self._lifecycle.emit(names.TEMPLATE_EXPANDED, names.IN_PROGRESS, details)
        self._lifecycle.continue_body()


class Validation:
    """A validation stage of a run. After a failed check the run has ended: look at `passed` and stop."""

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

    def __enter__(self) -> Self:
        self._lifecycle.require_selection()
        details = {"validation_type": self._type, "checks": self._checks}
        self._lifecycle.emit(names.VALIDATION_STARTED, names.IN_PROGRESS, details)
        return self

    def fail(self, check: str, error: object) -> None:
        """Record a failed check."""
        self._failed.append({"check": check, "error": str(to_json_value(error))})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            self._lifecycle.emit(names.VALIDATION_FAILED, names.FAILED, details, error=error)
            return
        if self.warnings:
            details["warnings"] = self.warnings
        self._lifecycle.emit(names.VALIDATION_COMPLETED, names.IN_PROGRESS, details)
        self._lifecycle.continue_body()


class Execution(Results):
    """The execution stage of a run; when its block ends, so does the run.

    Attributes:
        exit_code: Of the tool; another one than 0 makes the run fail unless `status` is set.
        status: `success`, `warning`, `skipped` or `failed`, to overrule what follows from the exit code.
        error_type: Why it failed; `tool_error` by default.
        error_message: What it said; the end of its stderr by default.
    """

    def __init__(self, lifecycle: Lifecycle, details: dict[str, Any]) -> None:
        self._lifecycle = lifecycle
        self._started = details
        self._output: dict[str, Any] = {}
        self._start_seconds = 0.0
        self.exit_code: int | None = None
        self.status: str | None = None
        self.error_type: str | None = None
        self.error_message: str | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def start(self, time_unix_nano: int | None = None) -> None:
        """Emit `execution.started`. The `with` statement does it."""
        self._lifecycle.require_selection()
        clock = self._lifecycle.clock
        now = clock.now_unix_nano()
        self._start_seconds = clock.monotonic() - (now - (time_unix_nano or now)) / 1e9
        self._lifecycle.emit(names.EXECUTION_STARTED, names.IN_PROGRESS, self._started, time_unix_nano=time_unix_nano)

    def record(self, process: CompletedProcess[Any] | SubprocessError) -> None:
        """Take exit code, line counts and previews from a finished process, or from the error it ended with."""
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
        if error is not None:
            self._fail(details, error)
        elif self._has_failed():
            details["exit_code"] = self.exit_code
            details["error_type"] = self.error_type or TOOL_ERROR
            stderr = self._output.get("stderr_preview") or self._output.get("stdout_preview")
            details["error_message"] = self.error_message or stderr or f"exit code {self.exit_code}"
            self._add_results(details)
            self._lifecycle.emit(names.EXECUTION_FAILED, names.FAILED, details)
        else:
            details["exit_code"] = self.exit_code or 0
            self._add_results(details)
            for name in ("result_summary", "artifacts"):
                details.setdefault(name, {} if name == "result_summary" else [])
            self._lifecycle.emit(names.EXECUTION_COMPLETED, self.status or names.SUCCESS, details)

    def _has_failed(self) -> bool:
        if self.status is not None:
            return self.status == names.FAILED
        return bool(self.exit_code) or self.error_type is not None

    def _fail(self, details: dict[str, Any], error: BaseException) -> None:
        if isinstance(error, SubprocessError):
            # CalledProcessError and TimeoutExpired hold what the process left.
            self.record(error)
            details.update(self._output)
        details["exit_code"] = self.exit_code
        details["error_type"] = type(error).__name__
        details["error_message"] = clean_text(str(to_json_value(str_of(error))))
        self._add_results(details)
        self._lifecycle.emit(names.EXECUTION_FAILED, names.FAILED, details, error=error)

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

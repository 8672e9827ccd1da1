"""The events of one run that goes on in this process, emitted in lifecycle order."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..channel import Channel
from ..clock import Clock
from ..model import names
from ..model.envelope import new_event_document
from ..model.values import to_json_value

# The semantic conventions set no limit; a backend's is often 64 KiB for a whole span event.
_MAX_STACKTRACE: Final = 16_000
_MAX_MESSAGE: Final = 2_000


class Lifecycle:
    """What a run and its stages share: its identity, how far it has come, and where its events go.

    Attributes:
        run_id, job_id, step_id, pattern_id, operation_kind: Identity of the run.
        selection_method: How the pattern was chosen.
        candidate_patterns: What it is chosen from.
        ended: Whether a terminal event was emitted; later ones are not.
        began_unix_nano: When the part of the block began that is the execution if no stage is opened.
        result_summary, artifacts: What the run has to show.
    """

    def __init__(  # noqa: PLR0913  # see pattern_run
        self,
        channel: Channel,
        *,
        run_id: str,
        job_id: str,
        step_id: str | None,
        pattern_id: str,
        operation_kind: str,
        pattern_version: str | None,
        inputs: Mapping[str, Any],
        selection_method: str,
        candidate_patterns: Sequence[str] | None,
        code: Mapping[str, Any],
    ) -> None:
        self.run_id = run_id
        self.job_id = job_id
        self.step_id = step_id
        self.pattern_id = pattern_id
        self.operation_kind = operation_kind
        self.selection_method = selection_method
        self.candidate_patterns = [str(to_json_value(pattern)) for pattern in candidate_patterns or ()]
        self.ended = False
        self.began_unix_nano = channel.clock.now_unix_nano()
        self.result_summary: dict[str, Any] = {}
        self.artifacts: list[str] = []
        self._channel = channel
        self._pattern_version = pattern_version
        self._inputs = inputs
        self._selected = candidate_patterns is None
        self._code = dict(code)
        # What stands for the command of an execution that runs none.
        self.function = str(code.get(names.ATTR_CODE_FUNCTION, ""))

    @property
    def clock(self) -> Clock:
        """Where times come from."""
        return self._channel.clock

    def continue_body(self) -> None:
        """Note that a stage was left: what follows it in the block may turn out to be the execution."""
        self.began_unix_nano = self.clock.now_unix_nano()

    def begin(self) -> None:
        """Emit the run's first event."""
        if self._selected:
            self._resolve()
        else:
            details = {"operation_kind": self.operation_kind, "candidate_patterns": self.candidate_patterns}
            self.emit(names.SELECTION_STARTED, names.IN_PROGRESS, details)
        self.continue_body()

    def require_selection(self) -> None:
        """Emit `selection.resolved` unless that was done: no other stage comes before it."""
        if not self._selected:
            self._selected = True
            self._resolve()
            self.continue_body()

    def _resolve(self) -> None:
        details = {
            "operation_kind": self.operation_kind,
            "pattern_id": self.pattern_id,
            "selection_method": self.selection_method,
            "inputs_preview": self._inputs,
        }
        self.emit(names.SELECTION_RESOLVED, names.IN_PROGRESS, details)

    def emit(
        self,
        event_type: str,
        status: str,
        details: Mapping[str, Any],
        *,
        time_unix_nano: int | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Emit an event of the run; `error` is recorded with its stack trace."""
        time = self.clock.now_unix_nano() if time_unix_nano is None else time_unix_nano
        document = new_event_document(
            f"EVT-{self.clock.new_monotonic_ulid()}",
            time,
            event_type,
            self.job_id,
            self.run_id,
            self.pattern_id,
            status,
            details,
            self.step_id,
        )
        recorded: dict[str, Any] = {"operation_kind": self.operation_kind}
        if self._pattern_version is not None:
            recorded["pattern_version"] = self._pattern_version
        span: dict[str, Any] = {}
        if self._code:
            # Attributes of the root, on record from the first event on.
            span["run"] = {"attributes": self._code}
            self._code = {}
        if error is not None:
            span["stage"] = {"events": [_exception_event(error, time)]}
        if span:
            recorded["span"] = span
        self._channel.emit(document, recorded=to_json_value(recorded))
        self.ended = self.ended or event_type in names.TERMINAL_EVENT_TYPES


class Results:
    """What a run has to show, the same for the run and its execution. Both may be changed or assigned."""

    _lifecycle: Lifecycle

    @property
    def result_summary(self) -> dict[str, Any]:
        """Members become outputs of the run."""
        return self._lifecycle.result_summary

    @result_summary.setter
    def result_summary(self, value: dict[str, Any]) -> None:
        self._lifecycle.result_summary = value

    @property
    def artifacts(self) -> list[str]:
        """Paths of the files the run made."""
        return self._lifecycle.artifacts

    @artifacts.setter
    def artifacts(self, value: list[str]) -> None:
        self._lifecycle.artifacts = value


def str_of(error: BaseException) -> str:
    """Return an exception's message, or its type when it has none or cannot tell it."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # a caller's __str__ may do anything
        return type(error).__name__


def _exception_event(error: BaseException, time_unix_nano: int) -> dict[str, Any]:
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001  # formatting calls the exception's own code
        trace = ""
    return {
        "name": names.EVENT_EXCEPTION,
        "time_unix_nano": time_unix_nano,
        "attributes": {
            names.ATTR_EXCEPTION_TYPE: f"{type(error).__module__}.{type(error).__qualname__}",
            names.ATTR_EXCEPTION_MESSAGE: str_of(error)[:_MAX_MESSAGE],
            names.ATTR_EXCEPTION_STACKTRACE: trace[-_MAX_STACKTRACE:],
        },
    }

"""The events of one run that goes on in this process, emitted in lifecycle order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..channel import Channel, channel_of
from ..clock import Clock
from ..journal.append import patience_seconds
from ..journal.receipt import Receipt
from ..model import ids, names
from ..model.values import to_json_value
from ..tracing.exceptions import exception_event
from ..tracing.origin import Joined
from .arguments import Arguments
from .spans import OpenSpan, environment_of, open_root, open_stage


class Lifecycle:
    """What a run and its stages share: its identity, how far it has come, and where its events go.

    Attributes:
        run_id, job_id, step_id, pattern_id, operation_kind: Identity of the run.
        selection_method: How the pattern was chosen.
        candidate_patterns: What it is chosen from.
        trace_id: In whose trace it is.
        ended: Whether a terminal event was emitted; later ones are not.
        began_unix_nano: When the part of the block began that is the execution if no stage is opened.
        result_summary, artifacts: What the run has to show.
        waits: Whether `emit` waits until an event is on disk, if it has to be; else who sets it does.
    """

    def __init__(self, arguments: Arguments, *, code: Mapping[str, Any], in_context: bool) -> None:
        self.job_id: Any = arguments.job_id
        self.step_id: Any = arguments.step_id
        self.pattern_id = arguments.pattern_id
        self.operation_kind = arguments.operation_kind
        self.selection_method = arguments.selection_method
        self.candidate_patterns = [str(to_json_value(pattern)) for pattern in arguments.candidate_patterns or ()]
        self.ended = False
        self.began_unix_nano = 0
        self.result_summary: dict[str, Any] = {}
        self.artifacts: list[str] = []
        self.waits = True
        self._awaited: tuple[Receipt, float] | None = None
        self._channel_given = arguments.channel
        self._run_id = arguments.pattern_run_id
        self._pattern_version = arguments.pattern_version
        self._inputs: Any = arguments.inputs or {}
        self._selected = arguments.candidate_patterns is None
        self._code = dict(code)
        self._in_context = in_context
        self._joined: Joined | None = None
        self._root: OpenSpan | None = None
        # What the spans of stages that are opened later are named by.
        self._last_selection_id = ""
        # What stands for the command of an execution that runs none.
        self.function = str(code.get(names.ATTR_CODE_FUNCTION, ""))

    @property
    def channel(self) -> Channel:
        """Where events go: looked up when it is needed first, because functions are decorated before `configure`."""
        if self._channel_given is None:
            self._channel_given = channel_of(None)
        return self._channel_given

    @property
    def run_id(self) -> str:
        """The run's id; made when it is needed first."""
        if self._run_id is None:
            self._run_id = f"PRUN-{self.clock.new_ulid()}"
        return self._run_id

    @property
    def clock(self) -> Clock:
        """Where times come from."""
        return self.channel.clock

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
        self._open_root()
        self.continue_body()

    def require_selection(self, stage: OpenSpan | None = None) -> None:
        """Emit `selection.resolved` unless that was done: no other stage comes before it."""
        if not self._selected:
            self._selected = True
            self._resolve(stage)
            self.continue_body()

    def _resolve(self, stage: OpenSpan | None = None) -> None:
        details = {
            "operation_kind": self.operation_kind,
            "pattern_id": self.pattern_id,
            "selection_method": self.selection_method,
            "inputs_preview": self._inputs,
        }
        self.emit(names.SELECTION_RESOLVED, names.IN_PROGRESS, details, stage=stage)

    @property
    def joined(self) -> Joined:
        """The trace that the run is part of; before the run has begun, as far as it can be known."""
        return self._joined or self.channel.origin.joined(self.run_id, self.job_id)

    def _open_root(self) -> None:
        if self._in_context:
            attributes = {
                names.ATTR_RUN_ID: self.run_id,
                names.ATTR_PATTERN_ID: self.pattern_id,
                names.ATTR_JOB_ID: self.job_id,
                names.ATTR_OPERATION_KIND: self.operation_kind,
            }
            with self.channel.guard.protect("span"):
                name = f"{self.operation_kind} {self.pattern_id}"
                self._root = open_root(self.channel, self.joined, run_id=self.run_id, name=name, attributes=attributes)

    def enter(self) -> None:
        """Make the run's span current."""
        if self._root is not None:
            self._root.enter()

    def leave(self) -> None:
        """Make current again what was current before the run."""
        if self._root is not None:
            self._root.leave()

    def close(self) -> None:
        """Let the run's span take nothing more."""
        if self._root is not None:
            self._root.close()

    def open_stage(self, stage: str, opening_id: str | None = None) -> OpenSpan | None:
        """Return a new span of a stage; `opening_id` names the event that opened it, else the selection's last did."""
        if self._root is None:
            return None
        with self.channel.guard.protect("span"):
            span_id = self.stage_span_id(stage, opening_id)
            name = f"{stage} {self.pattern_id}"
            return open_stage(self.channel, self.joined, self._root, span_id=span_id, name=name, stage=stage)
        return None

    def drop_stage(self, opened: OpenSpan | None) -> None:
        """Close the span of a stage that ends without an event: what was set on it goes to the run."""
        if opened is not None and self._root is not None:
            self._root.span.take_over(opened.span)

    def stage_span_id(self, stage: str, opening_id: str | None = None) -> str:
        """Return the 16 hex digits of a stage's span."""
        return ids.span_id(self.run_id, "stage", stage, opening_id or self._last_selection_id)

    def environment(self, span_id: str | None = None) -> dict[str, str]:
        """Return the variables that hand the run's span, or one of its stages', to a child process."""
        return environment_of(self.joined, span_id or ids.span_id(self.run_id, "root"))

    def emit(
        self,
        event_type: str,
        status: str,
        details: Mapping[str, Any],
        *,
        time_unix_nano: int | None = None,
        error: BaseException | None = None,
        stage: OpenSpan | None = None,
    ) -> str:
        """Emit an event of the run and return its id.

        Args:
            event_type: Its type.
            status: Its status.
            details: Its details.
            time_unix_nano: When it happened; None means now.
            error: Recorded with its stack trace.
            stage: The span of the stage that the event closes; what was set on it is recorded, and it takes no more.
        """
        run_id = self.run_id
        time = self.clock.now_unix_nano() if time_unix_nano is None else time_unix_nano
        # As the event's timestamp has it: what happens at its time, happens at the same time.
        time -= time % 1000
        document = self.channel.new_document(
            time, event_type, self.job_id, run_id, self.pattern_id, status, details, self.step_id
        )
        recorded: dict[str, Any] = {"operation_kind": self.operation_kind}
        if self._pattern_version is not None:
            recorded["pattern_version"] = self._pattern_version
        is_terminal = event_type in names.TERMINAL_EVENT_TYPES
        if span := self._span_of(stage, error, time, is_terminal=is_terminal):
            recorded["span"] = span
        event_id: str = document["event_id"]
        receipt = self.channel.emit(document, recorded=to_json_value(recorded), waits=self.waits)
        if not self.waits and (seconds := patience_seconds(self.channel.journal.durability, is_terminal=is_terminal)):
            self._awaited = receipt, seconds
        if self._joined is None:
            self._joined = self.channel.origin.joined(self.run_id, self.job_id)
        if names.stage_of(event_type) == names.SELECTION:
            self._last_selection_id = event_id
        self.ended = self.ended or is_terminal
        return event_id

    def take_awaited(self) -> tuple[Receipt, float] | None:
        """Return the last event that has to be on disk and was not waited for, and for how long to do it, once."""
        awaited, self._awaited = self._awaited, None
        return awaited

    def _span_of(
        self, stage: OpenSpan | None, error: BaseException | None, time: int, *, is_terminal: bool
    ) -> dict[str, Any]:
        """Return what was set on the spans of the run and of the stage that ends."""
        root = self._root
        of_run = root.span.take() if root is not None else {}
        if self._code:
            # Attributes of the root, on record from the first event on.
            of_run["attributes"] = {**self._code, **of_run.get("attributes", {})}
            self._code = {}
        of_stage: dict[str, Any] = {}
        if error is not None and root is not None and root.span.has_recorded(error):
            error = None
        if stage is not None:
            if error is not None:
                stage.span.record_exception(error, timestamp=time)
            of_stage = stage.span.take()
            stage.close()
        elif error is not None:
            of_stage = {"events": [exception_event(error, time)]}
        if is_terminal and root is not None:
            # What comes now could not be recorded any more, and is counted.
            root.span.close()
        return {name: part for name, part in (("run", of_run), ("stage", of_stage)) if part}

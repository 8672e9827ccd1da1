"""`PatternRun`: all events with one `pattern_run_id`, folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from ..clock import SYSTEM_CLOCK, Clock
from ..errors import MISSING, InvalidRunError, Problem
from . import ids, names
from .details import is_integer, is_number
from .encoding import encode_json
from .times import format_timestamp, is_timestamp, parse_timestamp
from .values import as_object, clean_keys, clean_text, to_json_object, to_json_value

if TYPE_CHECKING:
    from typing_extensions import Self


def _check_timestamp(value: str) -> str:
    if not is_timestamp(value):
        raise ValueError("it must be RFC 3339 in UTC, years 1970 to 2199")
    return value


def _check_integer(value: object) -> object:
    if not is_integer(value):
        raise ValueError("it must be an integer")
    return value


def _check_number(value: object) -> object:
    if not is_number(value):
        raise ValueError("it must be a number")
    return value


def _check_status(value: str) -> str:
    if value not in names.RUN_STATUSES:
        raise ValueError(f"it must be one of {', '.join(names.RUN_STATUSES)}")
    return value


# pydantic's own regular expressions end a `$` only at the very end, as JSON Schema's do.
RunId = Annotated[StrictStr, Field(pattern=ids.RUN_ID_PATTERN)]
JobId = Annotated[StrictStr, Field(pattern=ids.JOB_ID_PATTERN)]
StepId = Annotated[StrictStr, Field(pattern=ids.STEP_ID_PATTERN)]
EventId = Annotated[StrictStr, Field(pattern=ids.EVENT_ID_PATTERN)]
PatternId = Annotated[StrictStr, Field(pattern=ids.PATTERN_ID_PATTERN)]
Timestamp = Annotated[StrictStr, AfterValidator(_check_timestamp)]
Status = Annotated[StrictStr, AfterValidator(_check_status)]
# Kept as they are: 1.0 is an integer in JSON Schema, and a number must come back as it was written.
Integer = Annotated[Any, BeforeValidator(_check_integer)]
Number = Annotated[Any, BeforeValidator(_check_number)]


def _check_members(value: object, texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> dict[str, Any]:
    if (members := as_object(value)) is None:
        raise ValueError("it must be an object")
    for name in texts:
        if name in members and not isinstance(members[name], str):
            raise ValueError(f"its {name} must be a string")
    for name in numbers:
        if name in members and not is_number(members[name]):
            raise ValueError(f"its {name} must be a number")
    return members


def _check_metrics(value: object) -> object:
    return _check_members(value, numbers=names.RUN_METRICS)


def _check_tool_metadata(value: object) -> object:
    return _check_members(value, texts=names.TOOL_METADATA)


def _check_error(value: object) -> object:
    members = _check_members(value, texts=names.ERROR_TEXTS)
    if "exit_code" in members and not is_integer(members["exit_code"]):
        raise ValueError("its exit_code must be an integer")
    return members


class PatternRun(BaseModel):
    """One run, as `pattern_run.v1.json` describes it; made by the fold, `create` or `from_document`.

    Changing it changes no journal.

    Attributes:
        pattern_run_id (str): `PRUN-…`.
        pattern_id (str): `PAT-…`.
        job_id (str): `JOB-…`.
        operation_kind (str): What kind of work it is, or `unknown`.
        status (str): `pending`, `in_progress`, `success`, `failed`, `warning` or `skipped`.
        started_at (str): When its execution began, else its first event; RFC 3339 in UTC.
        pattern_version (str | None): Version of the pattern.
        step_id (str | None): `STEP-…`.
        finished_at (str | None): When it ended; None while it goes on.
        duration_seconds (float | None): From `started_at` to `finished_at`, never negative.
        inputs (dict[str, Any]): What the pattern was given.
        outputs (dict[str, Any]): Exit code, duration and each member of the result summary.
        artifacts (list[str]): Paths of the files that it made.
        events (list[str]): Ids of its events, in order.
        metrics (dict[str, Any]): Milliseconds of each stage that has ended, and `total_ms`.
        tool_metadata (dict[str, Any]): Command, executor, name and version of the tool.
        error (dict[str, Any] | None): `type`, `message`, `exit_code`, `stdout` and `stderr`, as far as the failing
            event told them.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=False)

    pattern_run_id: RunId
    pattern_id: PatternId
    job_id: JobId
    operation_kind: StrictStr
    status: Status
    started_at: Timestamp
    pattern_version: StrictStr | None = None
    step_id: StepId | None = None
    finished_at: Timestamp | None = None
    duration_seconds: Number | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    outputs: dict[str, Any] = Field(default_factory=dict)
    artifacts: list[StrictStr] = Field(default_factory=list)
    events: list[EventId] = Field(default_factory=list)
    metrics: Annotated[dict[str, Any], BeforeValidator(_check_metrics)] = Field(default_factory=dict)
    tool_metadata: Annotated[dict[str, Any], BeforeValidator(_check_tool_metadata)] = Field(default_factory=dict)
    error: Annotated[dict[str, Any], BeforeValidator(_check_error)] | None = None

    @classmethod
    def create(
        cls,
        pattern_id: str,
        job_id: str,
        operation_kind: str,
        step_id: str | None = None,
        pattern_version: str | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Self:
        """Return a new pending run with a fresh run id, which is also its trace id. Nothing is emitted.

        Args:
            pattern_id: `PAT-…`.
            job_id: `JOB-…`.
            operation_kind: What kind of work it is, like `semgrep_scan`.
            step_id: `STEP-…` or None.
            pattern_version: Version of the pattern.
            clock: Where time and id come from, for tests.

        Raises:
            InvalidRunError: An argument breaks its rule.
        """
        return cls.from_document(
            {
                "pattern_run_id": f"PRUN-{clock.new_ulid()}",
                "pattern_id": to_json_value(pattern_id),
                "job_id": to_json_value(job_id),
                "operation_kind": to_json_value(operation_kind),
                "status": names.PENDING,
                "started_at": format_timestamp(clock.now_unix_nano()),
                "step_id": to_json_value(step_id),
                **({} if pattern_version is None else {"pattern_version": to_json_value(pattern_version)}),
            }
        )

    @classmethod
    def from_document(cls, document: object) -> Self:
        """Return the run of a JSON document.

        Args:
            document: A JSON object; keys that are not known are kept in `model_extra`.

        Raises:
            InvalidRunError: The document is no run; every problem is listed.
        """
        if problems := check_run(document):
            raise InvalidRunError(problems)
        return cls.model_validate(clean_keys(cast("Mapping[Any, Any]", document)))

    @property
    def trace_id(self) -> str:
        """The 32 hex digits of the run's own trace id; one that joined a caller's trace is in the caller's instead."""
        return ids.trace_id(self.job_id, self.pattern_run_id)

    def mark_started(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        """Set the run in progress from now on.

        Args:
            clock: Where the time comes from, for tests.
        """
        self.status = names.IN_PROGRESS
        self.started_at = format_timestamp(clock.now_unix_nano())

    def mark_completed(
        self, outputs: Mapping[str, Any], artifacts: Sequence[str] | None = None, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """End the run now, with success.

        Args:
            outputs: Any Python values; they are converted.
            artifacts: Paths of the files that it made; None or none keeps those that it has.
            clock: Where the time comes from, for tests.
        """
        self.outputs = to_json_object(outputs)
        if artifacts:
            self.artifacts = [clean_text(str(artifact)) for artifact in artifacts]
        self._finish(names.SUCCESS, clock)

    def mark_failed(self, error: Mapping[str, Any], *, clock: Clock = SYSTEM_CLOCK) -> None:
        """End the run now, with failure.

        Args:
            error: Has the keys `type`, `message`, `exit_code`, `stdout`, `stderr`. What is None is left out, as the
                fold does: no process has no exit code.
            clock: Where the time comes from, for tests.
        """
        self.error = {name: value for name, value in to_json_object(error).items() if value is not None}
        self._finish(names.FAILED, clock)

    def _finish(self, status: str, clock: Clock) -> None:
        self.status = status
        finished = clock.now_unix_nano()
        self.finished_at = format_timestamp(finished)
        self.duration_seconds = max(0, finished - parse_timestamp(self.started_at)) / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Return the run as a JSON object with the keys of `pattern_run.v1.json`; an unknown version is left out."""
        document = {name: getattr(self, name) for name in type(self).model_fields}
        if document["pattern_version"] is None:
            del document["pattern_version"]
        return document

    def to_json(self) -> str:
        """Return the run as JSON text."""
        return encode_json(self.to_dict()).decode("utf-8")


_NOT_NULL = frozenset({"pattern_version"})


def check_run(document: object) -> list[Problem]:
    """Return everything wrong with a run document; an empty list when it is one."""
    if (run := as_object(document)) is None:
        return [Problem("", document, "a run must be a JSON object", "Pass one object.")]
    problems = [
        Problem(f"/{name}", None, "it must be a string", "Leave it out when it is unknown.")
        for name in _NOT_NULL
        if name in run and run[name] is None
    ]
    try:
        PatternRun.model_validate(clean_keys(run))
    except ValidationError as error:
        for item in error.errors(include_url=False):
            pointer = "".join(f"/{part}" for part in item["loc"] if not str(part).startswith("function-"))
            rule = item["msg"].removeprefix("Value error, ")
            missing = item["type"] == "missing"
            rule = "a run must have it" if missing else rule
            fix = "Add it." if missing else _FIXES.get(str(item["loc"][0]), "Correct it.")
            value = MISSING if missing else item["input"]
            problems.append(Problem(pointer, value, rule, fix))
    return problems


_FIXES = {
    "pattern_run_id": "Use PRUN-<ULID>, or PRUN- and an id of your own.",
    "job_id": "Use JOB-<ULID>, or JOB- and an id of your own.",
    "step_id": "Use STEP-<ULID>, STEP- and an id of your own, or null.",
    "pattern_id": "Write it like PAT-SEMGREP-001.",
    "events": "Use the ids of the run's events, EVT-<ULID>.",
    "started_at": "Write it like 2026-11-22T09:30:00.000000Z.",
    "finished_at": "Write it like 2026-11-22T09:30:00.000000Z, or null while the run is going on.",
    "status": "Choose the one that fits.",
}

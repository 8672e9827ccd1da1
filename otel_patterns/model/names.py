"""Every name the project writes: event types, statuses, attribute keys, span names. None is typed twice."""

from __future__ import annotations

from typing import Final

# Event types, in lifecycle order: the position is the rank that orders events of one instant.
SELECTION_STARTED: Final = "pattern.selection.started"
SELECTION_RESOLVED: Final = "pattern.selection.resolved"
SELECTION_FAILED: Final = "pattern.selection.failed"
TEMPLATE_EXPANDED: Final = "pattern.template.expanded"
VALIDATION_STARTED: Final = "pattern.validation.started"
VALIDATION_COMPLETED: Final = "pattern.validation.completed"
VALIDATION_FAILED: Final = "pattern.validation.failed"
EXECUTION_STARTED: Final = "pattern.execution.started"
EXECUTION_COMPLETED: Final = "pattern.execution.completed"
EXECUTION_FAILED: Final = "pattern.execution.failed"

EVENT_TYPES: Final = (
    SELECTION_STARTED,
    SELECTION_RESOLVED,
    SELECTION_FAILED,
    TEMPLATE_EXPANDED,
    VALIDATION_STARTED,
    VALIDATION_COMPLETED,
    VALIDATION_FAILED,
    EXECUTION_STARTED,
    EXECUTION_COMPLETED,
    EXECUTION_FAILED,
)
TERMINAL_EVENT_TYPES: Final = frozenset({SELECTION_FAILED, VALIDATION_FAILED, EXECUTION_COMPLETED, EXECUTION_FAILED})
FAILED_EVENT_TYPES: Final = frozenset({SELECTION_FAILED, VALIDATION_FAILED, EXECUTION_FAILED})
LIFECYCLE_RANK: Final = {event_type: rank for rank, event_type in enumerate(EVENT_TYPES)}
UNKNOWN_RANK: Final = len(EVENT_TYPES)

SELECTION: Final = "selection"
TEMPLATE: Final = "template"
VALIDATION: Final = "validation"
EXECUTION: Final = "execution"
STAGES: Final = (SELECTION, TEMPLATE, VALIDATION, EXECUTION)

# Statuses.
PENDING: Final = "pending"
IN_PROGRESS: Final = "in_progress"
SUCCESS: Final = "success"
FAILED: Final = "failed"
WARNING: Final = "warning"
SKIPPED: Final = "skipped"
EVENT_STATUSES: Final = (IN_PROGRESS, SUCCESS, FAILED, WARNING, SKIPPED)
RUN_STATUSES: Final = (PENDING, *EVENT_STATUSES)

UNKNOWN_OPERATION: Final = "unknown"

# The key of `details` that is ours: what a projection needs beside the events.
OTEL: Final = "otel"
OTEL_VERSION: Final = 1

# A longer line is none.
MAX_LINE_BYTES: Final = 1024 * 1024

# The nine keys of an event, in the order in which they are written.
EVENT_KEYS: Final = (
    "event_id",
    "event_type",
    "timestamp",
    "job_id",
    "pattern_run_id",
    "pattern_id",
    "status",
    "details",
    "step_id",
)

# Members of a run's objects that have a type of their own.
RUN_METRICS: Final = (
    "selection_ms",
    "template_expansion_ms",
    "validation_ms",
    "execution_ms",
    "artifact_generation_ms",
    "total_ms",
)
TOOL_METADATA: Final = ("tool_name", "tool_version", "command", "executor")
ERROR_TEXTS: Final = ("type", "message", "stdout", "stderr")

# Trace attributes of our own namespace.
ATTR_RUN_ID: Final = "pattern.run.id"
ATTR_PATTERN_ID: Final = "pattern.id"
ATTR_PATTERN_VERSION: Final = "pattern.version"
ATTR_OPERATION_KIND: Final = "pattern.operation_kind"
ATTR_JOB_ID: Final = "pattern.job.id"
ATTR_STEP_ID: Final = "pattern.step.id"
ATTR_STATUS: Final = "pattern.status"
ATTR_DURATION_SECONDS: Final = "pattern.duration_seconds"
ATTR_ARTIFACTS: Final = "pattern.artifacts"
ATTR_INPUT: Final = "pattern.input."
ATTR_OUTPUT: Final = "pattern.output."
ATTR_EVENTS_EMITTED: Final = "pattern.events.emitted"
ATTR_STAGE: Final = "pattern.stage"
ATTR_EVENT_ID: Final = "pattern.event.id"
ATTR_EVENT_INDEX: Final = "pattern.event.index"
ATTR_EVENT_STATUS: Final = "pattern.event.status"
ATTR_DETAIL: Final = "pattern.detail."
ATTR_DETAILS: Final = "pattern.details"
ATTR_DETAILS_SHA256: Final = "pattern.details.sha256"
ATTR_DETAILS_BYTES: Final = "pattern.details.bytes"
ATTR_DETAILS_TRUNCATED: Final = "pattern.details.truncated"
ATTR_CALLER_TRACE_ID: Final = "pattern.caller.trace_id"
ATTR_CALLER_SPAN_ID: Final = "pattern.caller.span_id"

# Semantic conventions 1.44 (CI/CD spans, process, exceptions, errors, code).
ATTR_CICD_PIPELINE_NAME: Final = "cicd.pipeline.name"
ATTR_CICD_RUN_ID: Final = "cicd.pipeline.run.id"
ATTR_CICD_RESULT: Final = "cicd.pipeline.result"
ATTR_CICD_RUN_URL: Final = "cicd.pipeline.run.url.full"
ATTR_CICD_TASK_NAME: Final = "cicd.pipeline.task.name"
ATTR_CICD_TASK_RUN_ID: Final = "cicd.pipeline.task.run.id"
ATTR_CICD_TASK_RESULT: Final = "cicd.pipeline.task.run.result"
ATTR_ERROR_TYPE: Final = "error.type"
ATTR_EXECUTABLE_NAME: Final = "process.executable.name"
ATTR_PID: Final = "process.pid"
ATTR_EXIT_CODE: Final = "process.exit.code"
ATTR_EXCEPTION_TYPE: Final = "exception.type"
ATTR_EXCEPTION_MESSAGE: Final = "exception.message"
ATTR_EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
ATTR_CODE_FUNCTION: Final = "code.function.name"
ATTR_CODE_FILE: Final = "code.file.path"
ATTR_CODE_LINE: Final = "code.line.number"
ATTR_SERVICE_NAME: Final = "service.name"
EVENT_EXCEPTION: Final = "exception"

RESULT_SUCCESS: Final = "success"
RESULT_FAILURE: Final = "failure"
RESULT_ERROR: Final = "error"
RESULT_TIMEOUT: Final = "timeout"
RESULT_CANCELLATION: Final = "cancellation"
RESULT_SKIP: Final = "skip"

# Metrics of our own namespace.
METRIC_EVENTS: Final = "otel_patterns.journal.events"
METRIC_BYTES: Final = "otel_patterns.journal.io"
METRIC_SYNC_TIME: Final = "otel_patterns.journal.sync.time"
METRIC_SPOOLED: Final = "otel_patterns.journal.spooled"
METRIC_SPANS: Final = "otel_patterns.delivery.spans"
METRIC_WAITING: Final = "otel_patterns.delivery.waiting"
METRIC_LEFT_OUT: Final = "otel_patterns.delivery.left_out"
METRIC_LAG: Final = "otel_patterns.delivery.lag"
METRIC_RUNS: Final = "otel_patterns.delivery.runs"
METRIC_OWED: Final = "otel_patterns.delivery.owed"
METRIC_BAD_LINES: Final = "otel_patterns.journal.bad_lines"
METRIC_OUTCOME: Final = "otel_patterns.outcome"

MARKER_SPAN_NAME: Final = "run started"
SCOPE_NAME: Final = "otel_patterns"
# Version of the projection, not of the package: an upgrade of the package must project the same bytes.
SCOPE_VERSION: Final = "1"
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
UNKNOWN_SERVICE: Final = "unknown_service"


_STAGE_OF: Final = {event_type: event_type.split(".")[1] for event_type in EVENT_TYPES}


def stage_of(event_type: str) -> str:
    """Return the stage of an event type (`pattern.<stage>.<what>`), or the whole type when it has no such form."""
    if (stage := _STAGE_OF.get(event_type)) is not None:
        return stage
    parts = event_type.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == "pattern" else event_type  # noqa: PLR2004  # pattern.stage.what

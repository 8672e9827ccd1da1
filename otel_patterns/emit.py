"""Emitting: validate, append to the journal, and only then tell the delivery thread (design section 2, invariant 1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .channel import Channel, channel_of, configure_channel
from .clock import SYSTEM_CLOCK, Clock
from .errors import ConfigurationError, InvalidEventError, Problem
from .journal.append import Receipt
from .journal.read import Filter, read_events
from .model.envelope import check_event, is_event, new_event_document
from .model.events import PatternEvent, event_of
from .model.names import EVENT_KEYS
from .model.values import to_json_object
from .settings import EXIT_SECONDS, Settings
from .tracing.endpoint import Endpoint, exports_traces


class PatternEventEmitter:
    """Writes events to one journal, and has their runs delivered as traces when an endpoint is configured.

    Emitters of one journal share its descriptors and its delivery thread, so creating one for a call is cheap.
    Thread-safe, fork-safe.

    Args:
        events_dir: Directory of the journal `pattern_events.jsonl`; None means the `journal` setting.
        channel: Where events go instead; `configure` gives it.
    """

    def __init__(self, events_dir: str | os.PathLike[str] | None = None, *, channel: Channel | None = None) -> None:
        journal = None if events_dir is None else Path(events_dir) / "pattern_events.jsonl"
        self.channel = channel or channel_of(journal)
        self.global_log = Path(self.channel.journal.path)
        self.events_dir = self.global_log.parent

    @property
    def counts(self) -> Mapping[str, int]:
        """How often something went wrong, by kind: `spooled`, `lost`, `owed`, `delivery` and others."""
        return self.channel.guard.counts

    @property
    def clock(self) -> Clock:
        """Where times and ids come from."""
        return self.channel.clock

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.channel.settings

    @property
    def destination(self) -> str | None:
        """Where runs are sent, without secrets; None when they are not."""
        delivery = self.channel.delivery
        return None if delivery is None else delivery.destination

    def emit(self, event: PatternEvent, job_scoped: bool = False) -> Receipt:  # noqa: FBT001, FBT002  # the guide's signature
        """Append an event to the journal and return where it is now.

        When this returns `journaled`, the line is in the kernel and survives the death of any process. Nothing is
        raised: what cannot be written is kept in memory (`spooled`) or, when that is full, `lost`; both are counted.

        Args:
            event: The event.
            job_scoped: Also append to `jobs/<job_id>/pattern_events.jsonl` beside the journal.

        Raises:
            InvalidEventError: The `validation` setting is `strict`, and required details are missing.
        """
        return self.channel.emit(_document_of(event), job_scoped=job_scoped)

    def get_events(self, job_id: str | None = None, pattern_run_id: str | None = None) -> list[PatternEvent]:
        """Return the journal's events of a job, of a run, or all, in journal order.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        return list(read_events(self.global_log, Filter(job_id=job_id, pattern_run_id=pattern_run_id)))

    def flush(self, timeout_seconds: float = EXIT_SECONDS) -> bool:
        """Wait until what was emitted was tried, and tell whether all of it is journaled and acknowledged.

        False does not mean lost: what the journal has is owed, and `otel-patterns replay` pays it.
        """
        delivery = self.channel.delivery
        return self.channel.journal.flush() == 0 and (delivery is None or delivery.flush(timeout_seconds))


def configure(
    *,
    journal: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    export: str | None = None,
    validation: str | None = None,
    job_scoped: bool | None = None,
    join: str | None = None,
    run_url: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> PatternEventEmitter:
    """Set up the process's emitter and return it. Every argument is optional; see the settings reference.

    Runs are sent to the OTLP endpoint of the standard `OTEL_EXPORTER_OTLP_*` variables, or to
    `http://localhost:4318`, unless `export` is `off` or `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER` says no.
    Calling it again replaces the former configuration, whose runs are flushed first.

    Args:
        journal: Path of the journal.
        endpoint: URL that spans are posted to, like `http://localhost:4318/v1/traces`, before the environment's.
        export: `auto`, `otlp` or `off`.
        validation: `lenient` or `strict`.
        job_scoped: Write per-job logs as well.
        join: `child` or `link`.
        run_url: URL of a run's page with `{run_id}` and `{job_id}`.
        clock: Time and ids, for tests.

    Raises:
        ConfigurationError: A value cannot be used.
    """
    settings = Settings.load(
        journal=journal, export=export, validation=validation, job_scoped=job_scoped, join=join, run_url=run_url
    )
    if os.path.lexists(settings.journal) and (os.path.islink(settings.journal) or not os.path.isfile(settings.journal)):
        raise ConfigurationError("journal", str(settings.journal), "name a file; links are not followed when writing")
    receiver: Endpoint | None = None
    exporting = settings.export != "off" and exports_traces()
    if exporting:
        receiver = Endpoint.from_environment(
            None if endpoint is None else {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}
        )
    channel = Channel(settings, exporting=exporting, clock=clock, endpoint=receiver)
    configure_channel(channel)
    return PatternEventEmitter(channel=channel)


def emit_pattern_event(
    event_type: str,
    job_id: str,
    pattern_run_id: str,
    pattern_id: str,
    status: str,
    details: Mapping[str, Any] | None = None,
    step_id: str | None = None,
    emitter: PatternEventEmitter | None = None,
) -> PatternEvent:
    """Make an event of the present time, append it to the journal, and return it (integration guide, step 1).

    Args:
        event_type: One of the ten types, like `pattern.execution.started`.
        job_id: `JOB-…`.
        pattern_run_id: `PRUN-…`, the same for all events of a run.
        pattern_id: `PAT-…`.
        status: in_progress, success, failed, warning or skipped.
        details: What belongs to the event type. Any Python values; they are converted, never refused.
        step_id: `STEP-…` or None.
        emitter: Another journal than the process's own.

    Raises:
        InvalidEventError: An argument breaks its rule: the caller's own mistake, and the only error there is.
    """
    channel = channel_of(None) if emitter is None else emitter.channel
    clock = channel.clock
    document = new_event_document(
        f"EVT-{clock.new_monotonic_ulid()}",
        clock.now_unix_nano(),
        event_type,
        job_id,
        pattern_run_id,
        pattern_id,
        status,
        details,
        step_id,
    )
    channel.emit(document)
    return event_of(document)


def _document_of(event: PatternEvent) -> dict[str, Any]:
    """Return an event as a document to write: an object may have been built or copied around its own checks."""
    if not isinstance(event, PatternEvent):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise InvalidEventError([Problem("", event, "it must be a PatternEvent", "Use PatternEvent.create.")])
    fields = event.__dict__
    document = {key: fields[key] for key in EVENT_KEYS if key in fields}
    if not is_event(document) and (problems := list(check_event(document, known_types_only=False))):
        raise InvalidEventError(problems)
    document["details"] = to_json_object(document["details"])
    return document

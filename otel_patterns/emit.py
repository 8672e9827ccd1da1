"""Emitting: validate, append to the journal, and only then tell the delivery thread (design section 2, invariant 1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .channel import REJECTED, Channel, channel_of, configure_channel
from .clock import SYSTEM_CLOCK, Clock
from .errors import ConfigurationError, InvalidEventError, Problem
from .journal.append import JOURNAL_NAME
from .journal.read import Filter, read_events
from .journal.receipt import Receipt
from .model.envelope import checked_event_document
from .model.events import PatternEvent, event_of
from .model.names import EVENT_KEYS
from .settings import EXIT_SECONDS, Durability, Settings, checked_path
from .tracing.route import find_route


class PatternEventEmitter:
    """Writes events to one journal, and has their runs delivered as traces when an endpoint is configured.

    Emitters of one journal share its descriptors and its delivery thread, so creating one for a call is cheap.
    Thread-safe, fork-safe.

    Args:
        events_dir: Directory of the journal `pattern_events.jsonl`. None means the process's own journal: that of
            `configure`, else the one of the settings.
        channel: For the package itself: where events go instead.

    Attributes:
        global_log (Path): Path of the journal.
        events_dir (Path): The journal's directory.
        channel (Channel): For the package itself.

    Raises:
        ConfigurationError: `events_dir` is no path.
    """

    def __init__(self, events_dir: str | os.PathLike[str] | None = None, *, channel: Channel | None = None) -> None:
        journal = None if events_dir is None else os.path.join(checked_path("events_dir", events_dir), JOURNAL_NAME)
        self.channel = channel or channel_of(journal)
        self.global_log = Path(self.channel.journal.path)
        self.events_dir = self.global_log.parent

    @property
    def counts(self) -> Mapping[str, int]:
        """How often something went wrong in this process, by kind: `rejected`, `spooled`, `lost`, `owed` and others.

        One kind is no failure: `handed_over`, the spans that the application's own span processors took.
        """
        return self.channel.guard.counts

    @property
    def clock(self) -> Clock:
        """Where times and ids come from: the system, outside of tests."""
        return self.channel.clock

    @property
    def settings(self) -> Settings:
        """The settings in force; `OTEL_PATTERNS_JOIN` is the attribute `join`."""
        return self.channel.settings

    @property
    def destination(self) -> str | None:
        """Where runs are sent: a URL without secrets, or `tracer provider`; None when they are not."""
        delivery = self.channel.delivery
        return None if delivery is None else delivery.destination

    def emit(
        self,
        event: PatternEvent,
        job_scoped: bool = False,  # noqa: FBT001, FBT002  # the guide's signature
        *,
        durability: Durability | None = None,
    ) -> Receipt:
        """Append an event to the journal and return where it is now.

        When this returns `journaled`, the line is in the kernel and survives the death of any process. A journal that
        cannot be written raises nothing: the line is kept in a file or in memory (`spooled`) or, when both are full,
        `lost`; both are counted.

        Args:
            event: The event.
            job_scoped: Also append to `jobs/<job_id>/pattern_events.jsonl` beside the journal.
            durability: Another level than that of the `durability` setting: `os`, `group` or `each`.

        Raises:
            InvalidEventError: The object is no valid event, or the `validation` setting is `strict` and required
                details are missing.
        """
        try:
            document = _document_of(event)
        except InvalidEventError:
            self.channel.guard.count(REJECTED, 1)
            raise
        return self.channel.emit(document, job_scoped=job_scoped, durability=durability)

    def get_events(self, job_id: str | None = None, pattern_run_id: str | None = None) -> list[PatternEvent]:
        """Return the journal's events of a job, of a run, or all, in journal order.

        A journal that does not exist is an empty one. Lines that are no event are left out.

        Args:
            job_id: Only those of this job.
            pattern_run_id: Only those of this run.

        Raises:
            JournalError: The journal exists and cannot be read.
        """
        return list(read_events(self.global_log, Filter(job_id=job_id, pattern_run_id=pattern_run_id)))

    def flush(self, timeout_seconds: float = EXIT_SECONDS) -> bool:
        """Wait until what was emitted was tried, and tell whether all of it is journaled and acknowledged.

        Runs that go through a tracer provider are never acknowledged: True then means that all were handed over and
        that the provider's `force_flush` said true, which the SDK's also does when its exporter failed.

        False does not mean lost: what the journal has is owed, and `otel-patterns replay` pays it.

        Args:
            timeout_seconds: How long to wait for the delivery.
        """
        delivery = self.channel.delivery
        return self.channel.journal.flush() == 0 and (delivery is None or delivery.flush(timeout_seconds))


def configure(  # noqa: PLR0913  # all by keyword, all optional
    *,
    journal: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    tracer_provider: object | None = None,
    export: str | None = None,
    delivery: str | None = None,
    durability: str | None = None,
    validation: str | None = None,
    job_scoped: bool | None = None,
    join: str | None = None,
    run_url: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> PatternEventEmitter:
    """Set up the process's emitter and return it.

    Every argument is optional. One that is given comes before its environment variable, and that before the default.

    Runs are sent to the OTLP endpoint of the standard `OTEL_EXPORTER_OTLP_*` variables, or to
    `http://localhost:4318/v1/traces`, unless `export` is `off` or `OTEL_SDK_DISABLED` or `OTEL_TRACES_EXPORTER` says
    no. When the application has an SDK `TracerProvider` that exports to somewhere else, they are played through that
    instead. In a process that never calls this, runs are sent only when the environment names an endpoint, or when
    `OTEL_PATTERNS_EXPORT` is `otlp` or `tracer`.

    Calling it again replaces the former configuration; runs of the same journal are sent first.

    Args:
        journal: Path of the journal.
        endpoint: The whole URL that spans are sent to, like `http://localhost:4318/v1/traces`; on port 4317, like
            `http://localhost:4317`, by gRPC.
        tracer_provider: Provider that runs are played through, so that its span processors see them.
        export: `auto`, `otlp`, `tracer` or `off`.
        delivery: `inline`: this process delivers its runs; `ship`: `otel-patterns ship` does, and neither endpoint nor
            provider is needed here; `off`: nobody does.
        durability: `os`, `group` or `each`: when lines are on disk.
        validation: `lenient` or `strict`.
        job_scoped: Whether to write per-job logs as well.
        join: `child` or `link`.
        run_url: URL of a run's page with `{run_id}` and `{job_id}`.
        clock: Where times and ids come from, for tests.

    Raises:
        ConfigurationError: A value cannot be used, or not together with another.
    """
    settings = Settings.load(
        journal=journal,
        export=export,
        delivery=delivery,
        durability=durability,
        validation=validation,
        job_scoped=job_scoped,
        join=join,
        run_url=run_url,
    )
    if os.path.lexists(settings.journal) and (os.path.islink(settings.journal) or not os.path.isfile(settings.journal)):
        raise ConfigurationError("journal", settings.journal, "name a file; links are not followed when writing")
    route = None
    if settings.delivery == "inline":
        route = find_route(settings.export, endpoint=endpoint, tracer_provider=tracer_provider)
    elif endpoint is not None or tracer_provider is not None:
        raise ConfigurationError("delivery", settings.delivery, "leave out endpoint and tracer_provider, or set inline")
    channel = Channel(settings, route=route, clock=clock)
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

    Without `emitter` it goes to the journal of `configure`, else to the one of the settings; a variable that cannot be
    used is logged, and its default is taken. It sets no OpenTelemetry context: spans that the engine makes between two
    calls do not nest under the run. `pattern_run` does that.

    Args:
        event_type: One of the ten types, like `pattern.execution.started`.
        job_id: `JOB-…`.
        pattern_run_id: `PRUN-…`, the same for all events of a run.
        pattern_id: `PAT-…`.
        status: `in_progress`, `success`, `failed`, `warning` or `skipped`.
        details: What belongs to the event type. Any Python values; they are converted, never refused.
        step_id: `STEP-…` or None.
        emitter: Another journal than the process's own.

    Raises:
        InvalidEventError: An argument breaks its rule, or the `validation` setting is `strict` and required details are
            missing: the caller's own mistake, and the only error there is.
    """
    channel = channel_of(None) if emitter is None else emitter.channel
    document = channel.new_document(None, event_type, job_id, pattern_run_id, pattern_id, status, details, step_id)
    channel.emit(document)
    return event_of(document)


def _document_of(event: PatternEvent) -> dict[str, Any]:
    """Return an event as a document to write: an object may have been built or copied around its own checks."""
    if not isinstance(event, PatternEvent):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
        raise InvalidEventError([Problem("", event, "it must be a PatternEvent", "Use PatternEvent.create.")])
    fields = event.__dict__
    return checked_event_document({key: fields[key] for key in EVENT_KEYS if key in fields})

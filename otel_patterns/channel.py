"""What emitters of one journal share in a process: the journal, the origin of its runs, and their delivery."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .clock import SYSTEM_CLOCK, Clock
from .errors import ConfigurationError, Guard, InvalidEventError
from .journal.append import Receipt, append_once, open_journal
from .journal.read import MAX_LINE_BYTES
from .model import names
from .model.details import check_details
from .model.events import PatternEvent, encode_json
from .settings import Settings
from .tracing.endpoint import Endpoint, exports_traces, names_endpoint
from .tracing.origin import Origin

if TYPE_CHECKING:
    from .tracing.delivery import Delivery

# What a dead collector may cost at exit, all in all.
EXIT_SECONDS: Final = 2.0
# Room for the envelope and `details.otel` beside the details.
_MAX_DETAILS_BYTES: Final = MAX_LINE_BYTES - 64 * 1024
_PREVIEW_CHARACTERS: Final = 2000


class Channel:
    """The way from an event to the journal and, when an endpoint is configured, to a trace backend."""

    def __init__(self, settings: Settings, *, exporting: bool, clock: Clock, endpoint: Endpoint | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.guard = Guard()
        self.journal = open_journal(settings.journal, self.guard)
        self.delivery: Delivery | None = None
        if exporting:
            self._start_delivery(endpoint)
        self.origin = Origin(settings, exporting=self.delivery is not None, clock=clock)
        self._lock = threading.Lock()

    def adopt_after_fork(self) -> None:
        """Replace locks that a thread of the parent may have held."""
        self._lock = threading.Lock()
        self.guard.adopt_after_fork()

    def _start_delivery(self, endpoint: Endpoint | None) -> None:
        # A journal without an endpoint needs no protobuf and no HTTP client.
        from .tracing.delivery import Delivery  # noqa: PLC0415
        from .tracing.sink import OtlpSink  # noqa: PLC0415

        sink = OtlpSink(endpoint or Endpoint.from_environment())
        self.delivery = Delivery(self.journal.path, sink, clock=self.clock, guard=self.guard)

    def emit(
        self, event: PatternEvent, *, job_scoped: bool = False, recorded: Mapping[str, Any] | None = None
    ) -> Receipt:
        """Journal first: append the event, and only then tell the delivery thread."""
        self._check(event)
        is_first = False
        line = b""
        with self.guard.protect("emit"):
            details, is_first = self._details(event, recorded or {})
            written = event if details is event.details else event.model_copy(update={"details": details})
            line = written.to_line()
        if not line:
            # Recording the origin failed; the event itself must not be lost with it.
            line = event.to_line()
        receipt = self.journal.append(line)
        with self.guard.protect("emit"):
            if job_scoped or self.settings.job_scoped:
                path = os.path.join(os.path.dirname(self.journal.path), "jobs", event.job_id, "pattern_events.jsonl")
                append_once(path, line, lock_path=f"{self.journal.path}.lock", guard=self.guard)
            if self.delivery is not None and receipt.start is not None and receipt.end is not None:
                self.delivery.notify(event, receipt.start, receipt.end, is_first=is_first)
            if event.is_terminal:
                self.origin.forget(event.pattern_run_id)
        return receipt

    def _check(self, event: PatternEvent) -> None:
        problems = list(check_details(event.event_type, event.details))
        if not problems:
            return
        if self.settings.validation == "strict":
            raise InvalidEventError(problems)
        self.guard.report(f"details of {event.event_type}", f"event {event.event_id} was kept although {problems[0]}")

    def _details(self, event: PatternEvent, recorded: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the details to write and whether this is the run's first event here.

        The one seam between validation and encoding: whatever must neither reach the disk nor the trace is taken
        out here, and what a projection needs is added.
        """
        details = _fit(event.details)
        with self._lock:
            is_first = self.origin.is_first(event.pattern_run_id)
        if names.OTEL in details:
            # Re-emitted from another log: it already says where it came from.
            return details, is_first
        if is_first:
            otel = self.origin.record(event.pattern_run_id, event.job_id, recorded)
            return {**details, names.OTEL: otel}, True
        if "span" in recorded:
            return {**details, names.OTEL: {"span": recorded["span"]}}, False
        return details, False


def _fit(details: dict[str, Any]) -> dict[str, Any]:
    """Return details that fit a line of 1 MiB: the largest members are replaced by a preview and their size."""
    if len(encoded := encode_json(details)) <= _MAX_DETAILS_BYTES:
        return details
    fitted = dict(details)
    sizes = sorted(((len(encode_json(value)), key) for key, value in details.items()), reverse=True)
    excess = len(encoded) - _MAX_DETAILS_BYTES
    for size, key in sizes:
        if excess <= 0:
            break
        value = details[key]
        text = value if isinstance(value, str) else encode_json(value).decode()
        fitted[key] = {"truncated": True, "bytes": size, "preview": text[:_PREVIEW_CHARACTERS]}
        excess -= size - len(encode_json(fitted[key]))
    if excess > 0:
        # Thousands of small members: even their previews are too much.
        return {
            "truncated": True,
            "bytes": len(encoded),
            "preview": encoded[:_PREVIEW_CHARACTERS].decode("utf-8", "ignore"),
        }
    return fitted


_channels: dict[str, Channel] = {}
_channels_lock = threading.Lock()
_configured: list[Channel] = []


def channel_of(journal: Path | None) -> Channel:
    """Return the channel of a journal: the configured one, or one made from the environment."""
    if journal is None and _configured:
        return _configured[-1]
    problems: list[ConfigurationError] = []
    settings = Settings.load(problems=problems, journal=journal)
    path = os.path.abspath(settings.journal)
    channel = _channels.get(path)
    if channel is None:
        with _channels_lock:
            channel = _channels.get(path)
            if channel is None:
                channel = _channels[path] = _from_environment(settings, problems)
    return channel


def _from_environment(settings: Settings, problems: Sequence[ConfigurationError]) -> Channel:
    """Return a channel whatever the variables say: nobody called configure(), and the engine must not fail."""
    exporting = settings.export == "otlp" or (settings.export == "auto" and names_endpoint())
    try:
        channel = Channel(settings, exporting=exporting and exports_traces(), clock=SYSTEM_CLOCK)
    except ConfigurationError as error:
        channel = Channel(settings, exporting=False, clock=SYSTEM_CLOCK)
        channel.guard.report("configuration", f"runs are not sent: {error}")
    for problem in problems:
        channel.guard.report(f"configuration {problem.setting}", f"the default is used: {problem}")
    return channel


def configure_channel(channel: Channel) -> None:
    """Make a channel the process's own. The former one of its journal is flushed and stopped."""
    with _channels_lock:
        former = _channels.get(channel.journal.path)
        _channels[channel.journal.path] = channel
        _configured[:] = [channel]
    if former is not None and former.delivery is not None:
        former.delivery.close(EXIT_SECONDS)


def shutdown(timeout_seconds: float = EXIT_SECONDS) -> None:
    """Send what can be sent within the time, stop the delivery threads, and forget what `configure` set.

    Runs by itself at exit. Emitting afterwards works, as in a process that has configured nothing.
    """
    deadline = SYSTEM_CLOCK.monotonic() + timeout_seconds
    with _channels_lock:
        channels = list(_channels.values())
        _channels.clear()
        _configured.clear()
    for channel in channels:
        if channel.delivery is not None:
            channel.delivery.close(max(0.0, deadline - SYSTEM_CLOCK.monotonic()))


def _after_fork() -> None:
    global _channels_lock  # noqa: PLW0603  # the parent's lock may be held by a thread that does not exist here
    _channels_lock = threading.Lock()
    for channel in _channels.values():
        channel.adopt_after_fork()


atexit.register(shutdown)
os.register_at_fork(after_in_child=_after_fork)

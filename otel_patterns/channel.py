"""What emitters of one journal share in a process: the journal, the origin of its runs, and their delivery."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from .clock import SYSTEM_CLOCK, Clock
from .compiled import compiled
from .errors import ConfigurationError, InvalidEventError
from .journal.append import forget_journal, open_journal
from .journal.appended import AppendedIds
from .journal.job_log import append_to_job
from .journal.receipt import Receipt
from .model import names
from .model.details import check_details, fits_details
from .model.encoding import encode_converted, encode_json
from .model.envelope import new_event_document
from .model.values import as_object
from .process import loading
from .settings import EXIT_SECONDS, Durability, Settings
from .tracing.origin import Origin

if TYPE_CHECKING:
    from .tracing.delivery import Delivery
    from .tracing.route import Route

_MAX_OTEL_BYTES: Final = 32 * 1024
# Room for the envelope and `details.otel` beside the details.
_MAX_DETAILS_BYTES: Final = names.MAX_LINE_BYTES - 64 * 1024
_PREVIEW_CHARACTERS: Final = 2000
# An event of thousands of large details must not make thousands of files: it is cut.
_MOVED_DETAILS: Final = 20
# A process may write a journal for each job: of more than these the idle ones are forgotten, with their counts.
_REMEMBERED_CHANNELS: Final = 1000
_new_event_document: Final = compiled("model._emitted", "new_event_document", new_event_document)
_fits_details: Final = compiled("model._emitted", "fits_details", fits_details)
# As the guard counts events that were refused with an `InvalidEventError`.
REJECTED: Final = "rejected"


class Channel:
    """The way from an event to the journal and, when there is a route, to a trace backend."""

    def __init__(self, settings: Settings, *, route: Route | None, clock: Clock) -> None:
        self.settings = settings
        self._is_job_scoped = settings.job_scoped
        self.clock = clock
        self.journal = open_journal(settings.journal)
        self.journal.rotate(settings.rotate_bytes, settings.rotate_seconds)
        self.journal.durability = settings.durability
        self.journal.spools_to_file = True
        # The journal's: channels of one journal that follow each other count in one place.
        self.guard = self.journal.guard
        self.delivery: Delivery | None = None
        if route is not None:
            self._start_delivery(route)
        provider = None if route is None else route.tracer_provider
        self.origin = Origin(
            settings, exporting=route is not None or settings.delivery == "ship", clock=clock, tracer_provider=provider
        )
        # Re-entrant: a signal handler may emit while this thread does.
        self._lock = threading.RLock()

        _alive.add(self)

    def adopt_after_fork(self) -> None:
        """Replace locks that a thread of the parent may have held."""
        self._lock = threading.RLock()
        self.guard.adopt_after_fork()
        self.origin.adopt_after_fork()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way here that would be lost with this object."""
        return not self.journal.spooled and (self.delivery is None or self.delivery.is_idle)

    def _start_delivery(self, route: Route) -> None:
        # A journal whose runs go nowhere needs no protobuf and no HTTP client.
        with loading():
            from .tracing.choice import sink_of  # noqa: PLC0415
            from .tracing.delivery import Delivery  # noqa: PLC0415

        self.delivery = Delivery(self.journal.path, sink_of(route), clock=self.clock, guard=self.guard)

    def new_document(
        self,
        time_unix_nano: int | None,
        event_type: str,
        job_id: str,
        pattern_run_id: str,
        pattern_id: str,
        status: str,
        details: Mapping[str, Any] | None,
        step_id: str | None,
    ) -> dict[str, Any]:
        """Return the document of a new event, with an id of this channel's clock; a time of None means now.

        Raises:
            InvalidEventError: A part breaks its rule; it is counted.
        """
        clock = self.clock
        event_id = f"EVT-{clock.new_monotonic_ulid()}"
        time = clock.now_unix_nano() if time_unix_nano is None else time_unix_nano
        try:
            return _new_event_document(
                event_id, time, event_type, job_id, pattern_run_id, pattern_id, status, details, step_id
            )
        except InvalidEventError:
            self.guard.count(REJECTED, 1)
            raise

    def emit(
        self,
        document: dict[str, Any],
        *,
        job_scoped: bool = False,
        durability: Durability | None = None,
        recorded: Mapping[str, Any] | None = None,
        waits: bool = True,
    ) -> Receipt:
        """Journal first: append an event, and only then tell the delivery thread.

        Args:
            document: The nine keys of the event in order, checked and converted.
            job_scoped: Append it to the job's own log as well.
            durability: Another level than the journal's.
            recorded: What joins `details.otel`.
            waits: False leaves it to the caller to wait until the event is on disk.

        Raises:
            InvalidEventError: The `validation` setting is `strict`, and required details are missing.
        """
        run_id, event_type, details = document["pattern_run_id"], document["event_type"], document["details"]
        if not _fits_details(event_type, details):
            self._report_details(document)
        is_first, line = False, b""
        # Written out instead of guard.protect: this runs for every event.
        try:
            if not self.origin.knows(run_id):
                with self._lock:
                    is_first = self.origin.is_first(run_id)
            if is_first or recorded or names.OTEL in details:
                line = self._line(document, recorded or {}, is_first=is_first)
            else:
                line = encode_converted(document)
                if len(line) > names.MAX_LINE_BYTES:
                    line = self._fitting_line(document, {})
        except Exception as error:  # noqa: BLE001  # what we wanted to add failed: the event must not be lost with it
            self.guard.report("emit", f"emit: {type(error).__name__}: {error}", error=error)
            line = self._fitting_line(document, {})
        is_terminal = event_type in names.TERMINAL_EVENT_TYPES
        receipt = self.journal.append(line, durability=durability, is_terminal=is_terminal, waits=waits)
        if AppendedIds.wanted and receipt.state != "lost":
            self.journal.appended.add(document["event_id"])
        try:
            if (job_scoped or self._is_job_scoped) and receipt.state == "journaled":
                append_to_job(self.journal, document["job_id"], line)
            if self.delivery is not None:
                self._notify(self.delivery, document, receipt, is_first=is_first)
            if is_terminal:
                self.origin.forget(run_id)
        except Exception as error:  # noqa: BLE001  # the event is journaled, whatever becomes of the rest
            self.guard.report("emit", f"emit: {type(error).__name__}: {error}", error=error)
        return receipt

    def _notify(self, delivery: Delivery, document: Mapping[str, Any], receipt: Receipt, *, is_first: bool) -> None:
        event_id, start, end = document["event_id"], receipt.start, receipt.end
        if start is None or end is None:
            delivery.leave_out(event_id)
        else:
            run_id, event_type = document["pattern_run_id"], document["event_type"]
            delivery.notify(run_id, event_id, event_type, start, end, is_first=is_first)

    def _report_details(self, document: Mapping[str, Any]) -> None:
        event_type = document["event_type"]
        problems = list(check_details(event_type, document["details"]))
        if problems and self.settings.validation == "strict":
            self.guard.count(REJECTED, 1)
            raise InvalidEventError(problems)
        for problem in problems[:1]:
            self.guard.report(f"details of {event_type}", f"event {document['event_id']} was kept although {problem}")

    def _line(self, document: dict[str, Any], recorded: Mapping[str, Any], *, is_first: bool) -> bytes:
        """Return the line to write.

        The one seam between validation and encoding: whatever must neither reach the disk nor the trace is taken
        out here, and what a projection needs is added.
        """
        given = as_object(document["details"].get(names.OTEL))
        if given is not None and "v" in given:
            # Emitted again from another log: it already says where it came from.
            return self._fitting_line(document, {})
        otel: dict[str, Any] = {}
        if is_first:
            run_id: str = document["pattern_run_id"]
            try:
                otel = self.origin.record(run_id, document["job_id"], recorded)
            except Exception as error:  # noqa: BLE001  # a provider's sampler or resource may do anything
                self.guard.report("origin", f"run {run_id} has no resource: {error}", error=error)
                otel = self.origin.without_provider(recorded)
        elif "span" in recorded:
            otel = {"span": recorded["span"]}
        return self._fitting_line(document, otel)

    def _fitting_line(self, document: dict[str, Any], otel: dict[str, Any]) -> bytes:
        """Return the line of an event, shrunk when no reader would take it."""
        details = dict(document["details"])
        if otel:
            if names.OTEL in details:
                # The caller's own detail of that name, kept like any repeated key.
                details[f"{names.OTEL}#2"] = details[names.OTEL]
            details[names.OTEL] = otel
        line = encode_converted({**document, "details": details})
        if len(line) <= names.MAX_LINE_BYTES:
            return line
        # Escapes may make a line six times as long as its text.
        for budget in (_MAX_DETAILS_BYTES, _MAX_DETAILS_BYTES // 8):
            moved = self._with_artifacts(document["event_id"], details, budget)
            line = encode_converted({**document, "details": moved})
            if len(line) <= names.MAX_LINE_BYTES:
                return line
        self.guard.report("shrunk", f"event {document['event_id']} is larger than a line may be: details were cut")
        # What an event brought along stays too: without it a native run would be projected.
        otel = otel or as_object(details.get(names.OTEL)) or {}
        otel = {key: value for key, value in otel.items() if key != "span"}
        if len(encode_json(otel)) > _MAX_OTEL_BYTES:
            otel = {}
        for budget in (_MAX_DETAILS_BYTES, _MAX_DETAILS_BYTES // 8):
            fitted = _fit({key: value for key, value in details.items() if key != names.OTEL}, budget)
            line = encode_converted({**document, "details": {**fitted, **({names.OTEL: otel} if otel else {})}})
            if len(line) <= names.MAX_LINE_BYTES:
                break
        return line

    def _with_artifacts(self, event_id: str, details: dict[str, Any], budget: int) -> dict[str, Any]:
        """Return details of which the largest are in files beside the journal; as they are when that does not work."""
        from .journal.artifacts import write_artifact  # noqa: PLC0415  # rare

        encoded = {name: encode_json(value) for name, value in details.items() if name != names.OTEL}
        excess = sum(map(len, encoded.values())) - budget
        moved = dict(details)
        largest = sorted(encoded.items(), key=lambda item: len(item[1]), reverse=True)
        with self.guard.protect("artifact"):
            for number, (name, data) in enumerate(largest[:_MOVED_DETAILS], start=1):
                if excess <= 0:
                    break
                moved[name] = write_artifact(self.journal.path, event_id, number, name, data)
                excess -= len(data)
        return moved


def _fit(details: dict[str, Any], budget: int) -> dict[str, Any]:
    """Return details of at most `budget` bytes: the largest members are replaced by a preview and their size."""
    if len(encoded := encode_json(details)) <= budget:
        return details
    fitted = dict(details)
    sizes = sorted(((len(encode_json(value)), key) for key, value in details.items()), reverse=True)
    excess = len(encoded) - budget
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


# Those asked for last are the last.
_channels: OrderedDict[str, Channel] = OrderedDict()
_channels_lock = threading.RLock()
_configured: list[Channel] = []
_in_making: set[str] = set()
_alive: weakref.WeakSet[Channel] = weakref.WeakSet()


def channel_of(journal: str | os.PathLike[str] | None) -> Channel:
    """Return the channel of a journal: the configured one, or one made from the environment."""
    if journal is None and _configured:
        return _configured[-1]
    named = Settings.load_journal(journal)
    try:
        path = os.path.abspath(named)
    except OSError:
        # The working directory is gone: writing there will fail, be counted, and say so.
        path = os.path.join("/proc/self/cwd", named)
    channel = _channels.get(path)
    if channel is None:
        # Now only: each event that is emitted without an emitter passes here.
        problems: list[ConfigurationError] = []
        settings = Settings.load(problems=problems, journal=journal)._replace(journal=path)
        with _channels_lock:
            channel = _channels.get(path)
            if channel is None:
                channel = _make(path, settings, problems)
                _forget_idle()
    with suppress(KeyError):
        # Forgotten meanwhile.
        _channels.move_to_end(path)
    return channel


def _forget_idle() -> None:
    """Forget channels that nobody has asked for in a long time, under the lock. Who has one may go on with it."""
    for path, channel in list(_channels.items())[: max(0, len(_channels) - _REMEMBERED_CHANNELS)]:
        if channel not in _configured and channel.is_idle:
            del _channels[path]
            forget_journal(path)


def _make(path: str, settings: Settings, problems: Sequence[ConfigurationError]) -> Channel:
    """Make and remember the channel of a journal, under the lock."""
    if path in _in_making:
        # A signal handler came in while this thread was importing what delivery needs: its event is journaled.
        return Channel(settings, route=None, clock=SYSTEM_CLOCK)
    _in_making.add(path)
    try:
        channel = _channels[path] = _from_environment(settings, problems)
    finally:
        _in_making.discard(path)
    return channel


def _from_environment(settings: Settings, problems: Sequence[ConfigurationError]) -> Channel:
    """Return a channel whatever the variables say: nobody called configure(), and the engine must not fail."""
    try:
        route = _route_of_environment(settings)
        channel = Channel(settings, route=route, clock=SYSTEM_CLOCK)
    except ConfigurationError as error:
        channel = Channel(settings, route=None, clock=SYSTEM_CLOCK)
        channel.guard.report("configuration", f"runs are not sent: {error}")
    for problem in problems:
        channel.guard.report(f"configuration {problem.setting}", f"the default is used: {problem}")
    return channel


def _route_of_environment(settings: Settings) -> Route | None:
    if settings.delivery != "inline":
        return None
    if settings.export == "auto" and not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        # Most short-lived processes: what reads endpoints takes longer to load than they have to write.
        return None
    with loading():
        from .tracing.endpoint import names_endpoint  # noqa: PLC0415  # see above
        from .tracing.route import find_route  # noqa: PLC0415  # see above

    return find_route(settings.export) if settings.export != "auto" or names_endpoint() else None


def configure_channel(channel: Channel) -> None:
    """Make a channel the process's own. The former one of its journal is flushed and stopped."""
    with _channels_lock:
        former = _channels.get(channel.journal.path)
        _channels[channel.journal.path] = channel
        _configured[:] = [channel]
    if former is not None and former.delivery is not None:
        former.delivery.close(EXIT_SECONDS)


@contextmanager
def only_channel(channel: Channel) -> Generator[None, None, None]:
    """Make a channel the process's own for a block, and afterwards those of before, as they were.

    Channels that are made inside the block are flushed and forgotten at its end.
    """
    with _channels_lock:
        former, configured = dict(_channels), list(_configured)
        _channels[channel.journal.path] = channel
        _configured[:] = [channel]
    try:
        yield
    finally:
        with _channels_lock:
            made = set(_channels.values()).difference(former.values())
            _channels.clear()
            _channels.update(former)
            _configured[:] = configured
        for each in made:
            if each.delivery is not None:
                each.delivery.close(EXIT_SECONDS)


def shutdown(timeout_seconds: float = EXIT_SECONDS) -> None:
    """Send what can be sent within the time, stop the delivery threads, and forget what `configure` set.

    Sending and stopping happen by themselves at exit. Emitting afterwards works, as in a process that has configured
    nothing; an emitter that was kept goes on as it was configured.

    Args:
        timeout_seconds: How long it may take, for all journals together.
    """
    with _channels_lock:
        _channels.clear()
        _configured.clear()
    delivery = sys.modules.get("otel_patterns.tracing.delivery")
    if delivery is not None:
        delivery.close_all(timeout_seconds)


def _after_fork() -> None:
    global _channels_lock  # noqa: PLW0603  # the parent's lock may be held by a thread that does not exist here
    _channels_lock = threading.RLock()
    for channel in list(_alive):
        channel.adopt_after_fork()


os.register_at_fork(after_in_child=_after_fork)

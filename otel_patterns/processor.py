"""`JsonlSpanProcessor`: the journal of a program that only speaks OpenTelemetry (design section 5.1)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .channel import Channel, channel_of
from .errors import ConfigurationError, InvalidEventError
from .journal.appended import AppendedIds
from .model import names
from .model.envelope import checked_event_document
from .settings import checked_path
from .tracing.native import CORRECTED, DROPPED, FAULT, REFUSED, NativeEvent, NativeSpan, NativeSpanProcessor

if TYPE_CHECKING:
    from .emit import PatternEventEmitter


class JsonlSpanProcessor(NativeSpanProcessor):
    """A span processor that appends the pattern events of every ended span to the journal.

    For any `TracerProvider`, beside whatever exports its spans. Nothing is opened before the first event. Events are
    written when their span ends, with their own times; spans that are not recorded, and events that the SDK drops, are
    not seen. Runs that it writes are marked as native and are never sent by this package. Spans of the package itself
    are left out, and so are events with an id that this process has appended to the same journal lately. Hooks never
    raise and wait for nothing but the journal's append. Thread-safe, fork-safe.

    It counts in `PatternEventEmitter().counts`: `native corrected` for values that broke a rule, `native dropped` for
    spans from which the SDK dropped events, `native refused` for events that strict validation did not take.

    Args:
        journal: Path of the journal; None means the process's own, as for `emit_pattern_event`.
        emitter: Whose journal to write to instead.

    Raises:
        ConfigurationError: Both were given, or `journal` is no path.
    """

    def __init__(
        self, journal: str | os.PathLike[str] | None = None, *, emitter: PatternEventEmitter | None = None
    ) -> None:
        if journal is not None and emitter is not None:
            raise ConfigurationError("journal", journal, "give either a journal or an emitter, which has one")
        super().__init__(self._append_span, self._flush_journals)
        self._journal = None if journal is None else checked_path("journal", journal)
        self._emitter = emitter
        self._native: WeakKeyDictionary[Channel, Channel] = WeakKeyDictionary()
        AppendedIds.wanted = True

    def _append_span(self, found: NativeSpan) -> None:
        # Asked each time, as emitting does: the program may call configure() after it has set up its provider.
        channel = channel_of(self._journal) if self._emitter is None else self._emitter.channel
        if found.dropped:
            channel.guard.report(DROPPED, found.dropped)
        begun: set[str] = set()
        for event in found.events:
            with channel.guard.protect(FAULT):
                self._append_event(channel, event, found.recorded, begun)

    def _append_event(self, channel: Channel, event: NativeEvent, recorded: dict[str, Any], begun: set[str]) -> None:
        document = event.document
        run_id, event_id = document["pattern_run_id"], document["event_id"]
        if event_id in channel.journal.appended:
            return
        for fault in event.faults:
            channel.guard.report(CORRECTED, fault)
        if run_id not in begun:
            document = {**document, "details": {**document["details"], names.OTEL: recorded}}
        native = self._native_channel(channel)
        # A run that the program also emits events of is the package's to send.
        target = channel if channel.origin.knows(run_id) else native
        try:
            receipt = target.emit(checked_event_document(document))
        except InvalidEventError as error:
            channel.guard.report(REFUSED, f"event {event_id} was not written: {error}")
            return
        if document["event_type"] in names.TERMINAL_EVENT_TYPES:
            # As emitting does: what follows the end of a run says again where it comes from.
            begun.discard(run_id)
        elif receipt.state != "lost":
            begun.add(run_id)

    def _native_channel(self, channel: Channel) -> Channel:
        """Return the way to the same journal that has no delivery: the program sends its spans itself."""
        native = self._native.get(channel)
        if native is None:
            settings = channel.settings._replace(journal=channel.journal.path)
            native = self._native[channel] = Channel(settings, route=None, clock=channel.clock)
        return native

    def _flush_journals(self) -> bool:
        journals = {channel.journal for channel in list(self._native.values())}
        return sum(journal.flush() for journal in journals) == 0

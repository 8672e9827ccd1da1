"""The delivery thread: projects and sends what this process's events completed. Never in `emit`, never under a lock.

`emit` only puts a small note into a queue. The thread reads the run's prefix from the journal, projects it and sends
each span once, when it is final. What could not be sent stays in the journal and is owed: `replay` pays it.
"""

from __future__ import annotations

import os
import queue
import random
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..clock import Clock
from ..errors import Guard
from ..journal.cursor import Cursor
from ..journal.tail import RunTail
from ..model.stages import is_stage_closing
from .delivered import DeliveryRecord
from .otlp import encode
from .projection import prefix_of, project
from .sink import Sink

if TYPE_CHECKING:
    from ..model.events import PatternEvent
    from .trace import RunTrace, Span

MARKER_SECONDS: Final = 1.0
# Spans that end close together share a request; a watcher still sees a stage well within a second.
LINGER_SECONDS: Final = 0.1
MAX_BATCH_BYTES: Final = 3 * 1024 * 1024
MAX_OUTBOX_BYTES: Final = 64 * 1024 * 1024
_MAX_NOTES: Final = 100_000
_FIRST_BACKOFF_SECONDS: Final = 0.5
_LONGEST_BACKOFF_SECONDS: Final = 30.0
_LONGEST_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class _Note:
    """One event this process appended, as far as the thread needs it."""

    run_id: str
    event_id: str
    start: Cursor
    end: Cursor
    is_first: bool
    is_closing: bool
    is_terminal: bool


@dataclass
class _LiveRun:
    start: Cursor
    end: Cursor
    first_event_id: str
    marker_due: float


@dataclass(frozen=True)
class _Parcel:
    """Encoded spans of one run, waiting to be sent."""

    run_id: str
    span_ids: tuple[str, ...]
    body: bytes


class Delivery:
    """Delivers this process's runs of one journal to one sink. Thread-safe; a forked child starts its own thread."""

    def __init__(self, journal_path: str, sink: Sink, *, clock: Clock, guard: Guard) -> None:
        self._journal_path = journal_path
        self._sink = sink
        self._clock = clock
        self._guard = guard
        self._record = DeliveryRecord(journal_path, sink.destination, guard=guard)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._notes: queue.SimpleQueue[_Note | None] = queue.SimpleQueue()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing_at: float | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._tail: RunTail | None = None
        self._live: dict[str, _LiveRun] = {}
        self._outbox: deque[_Parcel] = deque()
        self._outbox_bytes = 0
        # Spans this process will not send again: refused, or more than it could keep. They are owed.
        self._left_out = 0
        self._backoff = 0.0
        self._retry_at = 0.0

    @property
    def destination(self) -> str:
        """Where runs are sent, without secrets."""
        return self._sink.destination

    def notify(self, event: PatternEvent, start: Cursor, end: Cursor, *, is_first: bool) -> None:
        """Note an event that this process appended. Costs a queue's put; never blocks, never raises."""
        is_closing = is_stage_closing(event.event_type)
        if not (is_first or is_closing or event.is_terminal):
            return
        if self._pid != os.getpid():
            self._reset()
        if self._notes.qsize() >= _MAX_NOTES:
            self._left_out += 1
            self._guard.report("owed", "delivery cannot keep up: spans are left to `otel-patterns replay`")
            return
        self._idle.clear()
        self._notes.put(
            _Note(event.pattern_run_id, event.event_id, start, end, is_first, is_closing, event.is_terminal)
        )
        if self._thread is None:
            self._start()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until everything noted so far was tried, and tell whether all of it was acknowledged."""
        if self._pid != os.getpid():
            return True
        is_idle = self._thread is None or self._idle.wait(timeout_seconds)
        return is_idle and not self._outbox and not self._left_out

    def close(self, timeout_seconds: float) -> None:
        """Send what can be sent within the time, and stop. What is left stays owed."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return
        self._closing_at = self._clock.monotonic() + timeout_seconds
        self._notes.put(None)
        # A request under way may take longer than we have: the thread is a daemon and is left behind.
        thread.join(timeout_seconds)
        self._thread = None

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._closing_at = None
                thread = threading.Thread(target=self._run, name="otel-patterns-delivery", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            with self._guard.protect("delivery"):
                if not self._turn():
                    break
        with self._guard.protect("delivery"):
            self._sink.close()
            self._record.close()
            if self._tail is not None:
                self._tail.close()
                self._tail = None

    def _turn(self) -> bool:
        """Take notes, project, send; False when closed."""
        note = self._take(self._wait_seconds())
        # Linger a little, so that what ends together travels together; but send in time when notes never pause.
        linger_until = self._clock.monotonic() + LINGER_SECONDS
        while note is not None:
            self._handle(note)
            remaining = 0.0 if self._closing_at is not None else linger_until - self._clock.monotonic()
            note = self._take(remaining) if remaining > 0 or self._closing_at is not None else None
        self._send_markers()
        self._send()
        if self._notes.empty() and (not self._outbox or self._backoff):
            self._idle.set()
        return self._closing_at is None

    def _take(self, seconds: float) -> _Note | None:
        try:
            return self._notes.get(timeout=seconds) if seconds > 0 else self._notes.get_nowait()
        except queue.Empty:
            return None

    def _wait_seconds(self) -> float:
        if self._closing_at is not None:
            return 0.0
        now = self._clock.monotonic()
        due = [run.marker_due for run in self._live.values() if run.marker_due]
        if self._outbox:
            due.append(self._retry_at)
        return min(max(0.001, min(due, default=now + _LONGEST_WAIT_SECONDS) - now), _LONGEST_WAIT_SECONDS)

    def _handle(self, note: _Note) -> None:
        with self._guard.protect("projection"):
            run = self._live.get(note.run_id)
            if run is None:
                due = self._clock.monotonic() + MARKER_SECONDS
                run = self._live[note.run_id] = _LiveRun(note.start, note.end, note.event_id, due)
            events = self._events(note.run_id, note.start, note.end)
            if note.is_terminal:
                self._forget(note.run_id)
            if not note.is_closing and not note.is_terminal:
                return
            position = next((i for i, event in enumerate(events) if event.event_id == note.event_id), None)
            if position is None:
                return
            prefix = prefix_of(events[: position + 1])
            if prefix[-1].event_id != note.event_id:
                # The run had ended before this line: it changes the fold, never the trace.
                return
            trace = project(prefix)
            if trace is not None:
                self._pack(trace, [span for span in trace.spans if _is_made_by(span, note.event_id, trace)])

    def _events(self, run_id: str, start: Cursor, end: Cursor) -> list[PatternEvent]:
        if self._tail is None:
            self._tail = RunTail(self._journal_path, clock=self._clock)
        made_here = self._clock.made(run_id.removeprefix("PRUN-"))
        return self._tail.events(run_id, start, end, made_here=made_here)

    def _forget(self, run_id: str) -> None:
        self._live.pop(run_id, None)
        if self._tail is not None:
            self._tail.forget(run_id)

    def _send_markers(self) -> None:
        if self._closing_at is not None:
            return
        now = self._clock.monotonic()
        for run_id, run in list(self._live.items()):
            if not run.marker_due or run.marker_due > now:
                continue
            run.marker_due = 0.0
            with self._guard.protect("projection"):
                if self._tail is not None:
                    self._tail.catch_up()
                events = self._events(run_id, run.start, run.end)
                trace = project(events)
                if trace is None or trace.marker is None:
                    # Another process ended the run.
                    self._forget(run_id)
                elif trace.marker.closing_event_id == run.first_event_id:
                    # Only the process that began the run sends its marker.
                    self._pack(trace, [trace.marker])

    def _pack(self, trace: RunTrace, spans: list[Span]) -> None:
        if not spans or not trace.sampled or trace.native:
            return
        body = encode(trace.resource, spans)
        if self._outbox_bytes + len(body) > MAX_OUTBOX_BYTES:
            self._left_out += len(spans)
            self._guard.report("owed", "too much waits for the collector: spans are left to `otel-patterns replay`")
            return
        self._outbox.append(_Parcel(trace.run_id, tuple(span.span_id for span in spans), body))
        self._outbox_bytes += len(body)

    def _send(self) -> None:
        while self._outbox:
            now = self._clock.monotonic()
            remaining = None if self._closing_at is None else self._closing_at - now
            if remaining is not None and (remaining <= 0 or self._backoff):
                return
            if remaining is None and now < self._retry_at:
                return
            batch = self._next_batch()
            answer = self._sink.send(b"".join(parcel.body for parcel in batch), timeout_seconds=remaining)
            if answer.kind == "retry":
                self._back_off(answer.retry_after_seconds)
                self._guard.report("delivery", f"not delivered, will try again: {answer.message}")
                continue
            self._backoff = 0.0
            for parcel in batch:
                self._outbox.popleft()
                self._outbox_bytes -= len(parcel.body)
            if answer.kind == "acknowledged":
                spans_by_run: dict[str, list[str]] = {}
                for parcel in batch:
                    spans_by_run.setdefault(parcel.run_id, []).extend(parcel.span_ids)
                self._record.add(spans_by_run)
            else:
                self._left_out += sum(len(parcel.span_ids) for parcel in batch)
                self._guard.report(answer.kind, f"not delivered, `otel-patterns replay` can: {answer.message}")

    def _next_batch(self) -> list[_Parcel]:
        batch: list[_Parcel] = []
        size = 0
        for parcel in self._outbox:
            if batch and size + len(parcel.body) > MAX_BATCH_BYTES:
                break
            batch.append(parcel)
            size += len(parcel.body)
        return batch

    def _back_off(self, retry_after_seconds: float | None) -> None:
        self._backoff = min(max(self._backoff * 2, _FIRST_BACKOFF_SECONDS), _LONGEST_BACKOFF_SECONDS)
        seconds = max(self._backoff * random.uniform(0.8, 1.2), retry_after_seconds or 0.0)  # noqa: S311  # jitter
        self._retry_at = self._clock.monotonic() + seconds


def _is_made_by(span: Span, event_id: str, trace: RunTrace) -> bool:
    return span.closing_event_id == event_id and span is not trace.marker

"""The delivery thread: reads a run's prefix from the journal, projects it, and sends each span once, when final."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..background import BackgroundThread
from ..clock import Clock
from ..errors import Guard
from ..journal.cursor import Cursor
from .answers import Answer
from .backoff import Backoff
from .delivered import DeliveryRecord
from .parcels import Parcel, batch_of
from .sink import Sink

if TYPE_CHECKING:
    from ..journal.tail import RunTail
    from ..model.record import EventRecord

MARKER_SECONDS: Final = 1.0
# Spans that end close together share a request; a watcher still sees a stage well within a second.
LINGER_SECONDS: Final = 0.1
MAX_OUTBOX_BYTES: Final = 64 * 1024 * 1024
MAX_NOTES: Final = 100_000
# What is projected before anything is sent: at the end of a process the first runs are delivered, and not none.
MAX_RUNS_A_TURN: Final = 200
_PAUSE_AFTER_FAULT_SECONDS: Final = 0.5
# After that the thread ends.
IDLE_SECONDS: Final = 10.0
_FLUSH_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Note:
    """One event this process appended, as far as the thread needs it."""

    run_id: str
    event_id: str
    start: Cursor
    end: Cursor
    is_first: bool
    is_closing: bool
    is_terminal: bool


@dataclass(frozen=True)
class _Newborn:
    """A run that began here less than a second ago: its marker is due if it is still going on then."""

    note: Note
    marker_due: float


class _Flush:
    """Somebody who waits until everything noted so far was tried."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self.tried = threading.Event()
        # Set before `tried` is: what was handed over was pushed on as well.
        self.is_pushed_on = False


class Worker:
    """One delivery thread with all its state: one that was left behind at a shutdown shares nothing with the next."""

    def __init__(
        self, journal_path: str, sink: Sink, *, clock: Clock, guard: Guard, spans: Counter[str] | None = None
    ) -> None:
        self._journal_path = journal_path
        self._sink = sink
        self._clock = clock
        self._guard = guard
        self._spans: Counter[str] = Counter() if spans is None else spans
        # When the receiver first did not take what it takes no part of since; zero: it takes spans.
        self._failing_since = 0.0
        # The one thing that `put` shares with the thread: a SimpleQueue may be re-entered from a signal handler, an
        # Event or a Condition may not. A `_Flush` in it waits; None only wakes the thread.
        self._notes: queue.SimpleQueue[Note | _Flush | None] = queue.SimpleQueue()
        self._background = BackgroundThread(self._run, "otel-patterns-delivery")
        self._closing_at: float | None = None
        self._closing = threading.Event()
        # Whether nothing came for as long as the thread waits at most.
        self._was_quiet = False
        self._flushes: list[_Flush] = []
        self._tail: RunTail | None = None
        self._record: DeliveryRecord | None = None
        # In the order of their markers, because dicts keep the order of insertion.
        self._newborn: dict[str, _Newborn] = {}
        self._outbox: deque[Parcel] = deque()
        self._outbox_bytes = 0
        self._backoff = Backoff()
        self._retry_at = 0.0
        # What was said to be wrong with the configuration: it is said once, and not at every try.
        self._said: set[str] = set()
        # Spans that this process will not send: parked, failed, or more than could be kept.
        self.left_out = 0

    def put(self, note: Note) -> None:
        """Hand a note to the thread. Never blocks, also inside a signal handler."""
        if self._notes.qsize() >= MAX_NOTES:
            self.leave_out(1, "delivery cannot keep up")
            return
        self._notes.put(note)
        self._background.wake()

    @property
    def waiting(self) -> int:
        """How many spans and notes of events wait for their delivery."""
        return self._notes.qsize() + sum(len(parcel.span_ids) for parcel in self._outbox.copy())

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, and there is no thread."""
        return self._background.thread is None and self._notes.empty()

    @property
    def lag_seconds(self) -> float:
        """For how long the receiver has not taken what waits for it."""
        return self._clock.monotonic() - self._failing_since if self._failing_since else 0.0

    def leave_out(self, spans: int, reason: str) -> None:
        """Count spans that this process will not send."""
        self.left_out += spans
        self._guard.report("owed", f"{reason}: left to `otel-patterns replay`")

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until every note was tried, and tell whether all was acknowledged, or handed over and pushed on."""
        if self._background.thread is not None:
            flush = _Flush(timeout_seconds)
            self._notes.put(flush)
            # It may end just now. Where none can be started, the time runs out.
            with suppress(RuntimeError):
                self._background.wake()
            deadline = self._clock.monotonic() + timeout_seconds
            while not flush.tried.wait(_FLUSH_POLL_SECONDS):
                if self._backoff.is_on or self._clock.monotonic() > deadline:
                    return False
            if not flush.is_pushed_on:
                return False
        return self._notes.empty() and not self._outbox and not self.left_out

    def close(self, timeout_seconds: float) -> None:
        """Send what can be sent within the time, and stop."""
        thread = self._background.thread
        self._closing_at = self._clock.monotonic() + timeout_seconds
        if thread is not None:
            self._closing.set()
            self._notes.put(None)
            # A request under way may take longer than we have: the thread is a daemon and is left behind.
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                if not self._turn():
                    break
                if self._may_end() and self._has_ended():
                    return
            except Exception as error:  # noqa: BLE001  # a fault of ours must not end delivery, nor spin
                self._guard.report("delivery", f"delivery: {type(error).__name__}: {error}", error=error)
                if self._closing_at is not None:
                    break
                time.sleep(_PAUSE_AFTER_FAULT_SECONDS)
        with self._guard.protect("delivery"):
            self._leave_rest()
            self._close_files()

    def _close_files(self) -> None:
        if self._record is not None:
            self._record.close()
        if self._tail is not None:
            self._tail.close()
        self._record = self._tail = None
        # Last, because the application's processors may take their time.
        self._sink.close()

    def _may_end(self) -> bool:
        """Tell whether the last turn had nothing to do, and no run is going on."""
        return (
            self._was_quiet
            and self._closing_at is None
            and not (self._newborn or self._outbox)
            and not (self._tail is not None and self._tail.is_following)
        )

    def _has_ended(self) -> bool:
        """Let go of everything until there is another note; False when a note came meanwhile."""
        with self._guard.protect("delivery"):
            self._close_files()
        return self._background.gives_up(self._notes.empty)

    def _leave_rest(self) -> None:
        """Count what is left when the thread ends."""
        rest = sum(len(parcel.span_ids) for parcel in self._outbox)
        while not self._notes.empty():
            rest += isinstance(self._notes.get_nowait(), Note)
        if rest:
            self.leave_out(rest, f"{self._sink.destination} has not acknowledged {rest} spans at the end")

    def _turn(self) -> bool:
        """Take notes, project, send; False when closed."""
        if self._backoff.is_on and not self._reaches_receiver():
            return self._closing_at is None
        notes = self._gather()
        with self._guard.protect("projection"):
            self._look_ahead(notes)
        for run_id, run_notes in notes.items():
            with self._guard.protect("projection"):
                self._handle(run_id, run_notes)
        self._send_markers()
        self._send()
        self._answer_flushes()
        return self._closing_at is None or self._has_time_for_more()

    def _has_time_for_more(self) -> bool:
        remaining = self._remaining_seconds()
        return remaining is not None and remaining > 0 and not self._backoff.is_on and not self._notes.empty()

    def _answer_flushes(self) -> None:
        if not self._flushes:
            return
        is_pushed_on = False
        with self._guard.protect("delivery"):
            is_pushed_on = self._sink.flush(max(flush.timeout_seconds for flush in self._flushes))
        for flush in self._flushes:
            flush.is_pushed_on = is_pushed_on
            flush.tried.set()
        self._flushes.clear()

    def _reaches_receiver(self) -> bool:
        """Wait until the receiver is due, and try with what is packed already.

        Nothing is projected for a receiver that does not answer: it would only take time from the engine. Notes wait
        in their queue; when the process ends first, they are left to a replay.
        """
        self._closing.wait(max(0.0, self._retry_at - self._clock.monotonic()))
        if self._closing_at is None:
            self._send()
        return self._closing_at is None and not self._backoff.is_on

    def _gather(self) -> dict[str, list[Note]]:
        """Return the notes of a moment by run: what ends together is projected once and travels together."""
        notes: dict[str, list[Note]] = {}
        note = self._take(self._wait_seconds())
        self._was_quiet = note is None
        linger_until = self._clock.monotonic() + LINGER_SECONDS
        while note is not None:
            if isinstance(note, _Flush):
                # Somebody waits: no lingering.
                self._flushes.append(note)
                note = self._take(0)
                continue
            notes.setdefault(note.run_id, []).append(note)
            if len(notes) == MAX_RUNS_A_TURN:
                break
            remaining = 0.0 if self._closing_at is not None else linger_until - self._clock.monotonic()
            note = self._take(remaining) if remaining > 0 or self._closing_at is not None else None
        return notes

    def _take(self, seconds: float) -> Note | _Flush | None:
        try:
            return self._notes.get(timeout=seconds) if seconds > 0 else self._notes.get_nowait()
        except queue.Empty:
            return None

    def _wait_seconds(self) -> float:
        if self._closing_at is not None:
            return 0.0
        now = self._clock.monotonic()
        due = now + IDLE_SECONDS
        if self._newborn:
            due = min(due, next(iter(self._newborn.values())).marker_due)
        if self._outbox:
            due = min(due, self._retry_at)
        return max(0.001, due - now)

    def _look_ahead(self, notes: Mapping[str, Sequence[Note]]) -> None:
        """Have the lines of all runs that have ended or gone on read together."""
        if len(notes) > 1:
            self._tail_of_journal().look_ahead(
                (run_id, *_ranges(run_notes)[0], self._made_here(run_id)) for run_id, run_notes in notes.items()
            )

    def _handle(self, run_id: str, notes: Sequence[Note]) -> None:
        first = notes[0]
        if first.is_first:
            self._newborn[run_id] = _Newborn(first, self._clock.monotonic() + MARKER_SECONDS)
        events: list[EventRecord] = []
        # One note for each file that the run's lines stand in: the journal may have been rotated between them.
        for start, end in _ranges(notes):
            events = self._tail_of_journal().events(run_id, start, end, made_here=self._made_here(run_id))
        if any(note.is_terminal for note in notes):
            self._newborn.pop(run_id, None)
            self._tail_of_journal().forget(run_id)
        closing = {note.event_id for note in notes if note.is_closing or note.is_terminal}
        if not closing:
            return
        if missing := closing - {event.event_id for event in events}:
            self.leave_out(len(missing), f"run {run_id} is not in the journal any more")
        # A stage depends only on the events before its end, so one projection serves all that closed. What stands
        # behind the first terminal line changes the fold, never the trace.
        self._put_out(self._sink.pack(events, closing))

    def _made_here(self, run_id: str) -> bool:
        return self._clock.made(run_id.removeprefix("PRUN-"))

    def _tail_of_journal(self) -> RunTail:
        if self._tail is None:
            # Loaded in this thread: what reads events takes longer to load than the engine should wait.
            from ..journal.tail import RunTail  # noqa: PLC0415

            self._tail = RunTail(self._journal_path, clock=self._clock)
        return self._tail

    def _record_of_destination(self) -> DeliveryRecord:
        # Not before something was acknowledged: only then the destination is known for good.
        if self._record is None:
            self._record = DeliveryRecord(self._journal_path, self._sink.destination, guard=self._guard)
        return self._record

    def _send_markers(self) -> None:
        if self._closing_at is not None:
            return
        now = self._clock.monotonic()
        while self._newborn:
            run_id, newborn = next(iter(self._newborn.items()))
            if newborn.marker_due > now:
                break
            del self._newborn[run_id]
            with self._guard.protect("projection"):
                self._send_marker(newborn.note)

    def _send_marker(self, note: Note) -> None:
        tail = self._tail_of_journal()
        tail.catch_up()
        events = tail.events(note.run_id, note.start, note.end, made_here=self._made_here(note.run_id))
        if not events or any(event.is_terminal for event in events):
            # Another process ended the run.
            tail.forget(note.run_id)
        elif events[0].event_id == note.event_id:
            # Only the process that began the run sends its marker.
            self._put_out(self._sink.pack_marker(events))

    def _put_out(self, parcel: Parcel | None) -> None:
        if parcel is None:
            return
        if self._outbox_bytes + parcel.size > MAX_OUTBOX_BYTES:
            self.leave_out(len(parcel.span_ids), "too much waits for the collector")
            return
        self._outbox.append(parcel)
        self._outbox_bytes += parcel.size

    def _send(self) -> None:
        while self._outbox:
            remaining = self._remaining_seconds()
            if remaining is None:
                if self._clock.monotonic() < self._retry_at:
                    return
            elif remaining <= 0 or self._backoff.is_on:
                return
            batch = batch_of(self._outbox)
            for _ in batch:
                self._outbox_bytes -= self._outbox.popleft().size
            self._deliver(batch)

    def _deliver(self, batch: Sequence[Parcel]) -> None:
        for parcels, answer in self._sink.deliver(batch, self._remaining_seconds):
            spans = sum(len(parcel.span_ids) for parcel in parcels)
            self._spans[answer.kind] += spans
            if answer.kind in ("retry", "misconfigured"):
                self._failing_since = self._failing_since or self._clock.monotonic()
                self._outbox.extendleft(reversed(parcels))
                self._outbox_bytes += sum(parcel.size for parcel in parcels)
                self._report_failure(answer)
                # Last: whoever waits for a flush gives up as soon as this shows, and looks at what was counted.
                self._retry_at = self._clock.monotonic() + self._backoff.next_pause(answer)
                continue
            self._backoff.reset()
            self._failing_since = 0.0
            if answer.kind == "acknowledged":
                self._record_of_destination().settle(parcels, answer)
                if answer.message:
                    self._guard.report("warning", f"{self._sink.destination} took all, and says: {answer.message}")
            elif answer.kind == "handed_over":
                # Not on record: nobody has said that it arrived, so a replay still owes it.
                self._guard.count("handed_over", spans)
            elif answer.is_final:
                self._record_of_destination().settle(parcels, answer)
                self._guard.count("rejected_spans", answer.rejected_spans)
                self._guard.count("parked", spans)
                self._leave_unwanted(answer, spans, "parked, `otel-patterns replay --parked` sends them again")
            else:
                self._leave_unwanted(answer, spans, "owed, `otel-patterns replay` sends them again")

    def _leave_unwanted(self, answer: Answer, spans: int, fate: str) -> None:
        self.left_out += spans
        said = f"{answer.rejected_spans} rejected: {answer.message}" if answer.rejected_spans else answer.message
        self._guard.report(answer.kind, f"{self._sink.destination}: {said}: {spans} spans {fate}")

    def _remaining_seconds(self) -> float | None:
        return None if self._closing_at is None else self._closing_at - self._clock.monotonic()

    def _report_failure(self, answer: Answer) -> None:
        message = f"{self._sink.destination}: {answer.message}"
        if answer.kind == "retry":
            self._guard.report("delivery", f"not delivered, will try again: {message}")
        elif message in self._said:
            self._guard.count("misconfigured", 1)
        else:
            self._said.add(message)
            self._guard.report("misconfigured", f"runs stay owed until this is repaired: {message}")


def _ranges(notes: Sequence[Note]) -> list[tuple[Cursor, Cursor]]:
    """Return from where to where the notes' lines stand, in each file one after the other."""
    ranges: dict[str, tuple[Cursor, Cursor]] = {}
    for note in notes:
        start, end = ranges.get(note.start.segment, (note.start, note.end))
        ranges[note.start.segment] = start, max(end, note.end)
    return list(ranges.values())

"""Shipping: one process follows a journal and delivers its runs, so that engines need no exporter (design section 2.4).

What is new is sent within a second, also while hours of older runs are being paid. Memory is bounded by what is open or
on its way: nothing is read for a receiver that does not answer, because the journal keeps it.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from .clock import Clock
from .errors import Guard, JournalError
from .finalize import abandoned, append_end
from .journal.lines import Line
from .journal.quarantine import Quarantine
from .tracing.answers import Answer
from .tracing.backlog import Backlog, Run
from .tracing.backoff import Backoff
from .tracing.delivered import Checkpoint, DeliveryRecord, Fate
from .tracing.otlp import encode_run
from .tracing.parcels import MAX_BATCH_BYTES, Parcel, Sender, batch_of, pack, send
from .tracing.trace import EncodedRun, EncodedSpan

# Lines are read so many blocks at a time, and then projected: what was decoded is still in the processor's cache.
_BLOCKS: Final = 4
_POLL_SECONDS: Final = 0.2
_MARKER_SECONDS: Final = 1.0
_CHECKPOINT_SECONDS: Final = 2.0
_FINALIZE_SECONDS: Final = 60.0
# What failed for a reason that may pass is read again after this time.
_AGAIN_SECONDS: Final = 300.0


class Shipper:
    """Delivers the runs of one journal to one destination, in the thread that calls `run`.

    Args:
        journal_path: The journal.
        sink: Where to send.
        clock: The time.
        silent_seconds: How long a run must be silent to count as abandoned when its writers cannot be looked at.
        guard: Where failures are counted, and logged at most once a minute.

    Attributes:
        counts: Runs by what became of them: `delivered`, `parked`, `unsampled`, `native`; and those it ended, as
            `abandoned`.
        spans: Spans by the kind of answer to them; `retry` and `misconfigured` count each try.
        waiting: Spans that are read and not settled.
        owed: Runs that have ended, are read, and are not settled.
        lag_seconds: For how long the one of them that is sent next has ended by now.
        bad_lines: Lines of the journal that were no events.
        refusal: What the destination said last, unless it took everything.
    """

    def __init__(
        self,
        journal_path: str | os.PathLike[str],
        sink: Sender,
        *,
        clock: Clock,
        silent_seconds: float,
        guard: Guard | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.spans: Counter[str] = Counter()
        # Plain numbers: whoever collects them does so in another thread.
        self.waiting = self.owed = self.bad_lines = 0
        self.lag_seconds = 0.0
        self.refusal = ""
        self._path = journal_path
        self._sink = sink
        self._clock = clock
        self._silent_seconds = silent_seconds
        self._guard = guard or Guard()
        self._record = DeliveryRecord(journal_path, sink.destination, guard=self._guard)
        self._outbox: deque[Parcel] = deque()
        self._outbox_bytes = 0
        # One request at a time, in a thread of its own.
        self._sending = ThreadPoolExecutor(1, "otel-patterns-ship")
        self._request: Future[list[tuple[Sequence[Parcel], Answer]]] | None = None
        self._on_the_way: set[str] = set()
        # Runs that have ended, and which of their spans are on the way.
        self._ended: dict[str, tuple[Backlog, Run, set[str]]] = {}
        self._backoff = Backoff()
        self._retry_at = 0.0
        self._checkpoint_at = 0.0
        self._finalize_at = 0.0
        self._again_at = 0.0
        self._settled = self._record.load()
        self._quarantine = Quarantine(journal_path)
        self._backlog = self._open_backlog(self._record.load_checkpoint())
        self._live: Backlog | None = None

    def run(self, is_stopped: Callable[[], bool], *, once: bool = False) -> bool:
        """Deliver until told to stop, and return whether nothing is owed of what was read.

        Args:
            is_stopped: Asked a few times a second.
            once: Stop as soon as everything that was there is settled, or the receiver does not take it.

        Raises:
            BusyError: Another process delivers to the same destination.
            JournalError: The journal or the delivery record cannot be read.
        """
        with self._record.owned():
            try:
                is_done = False
                while not is_stopped() and not is_done:
                    is_done = self._turn(once=once)
            finally:
                if self._request is not None:
                    for parcels, answer in self._request.result():
                        self._take_answer(parcels, answer)
                self._sending.shutdown()
                self._save_checkpoint()
                self._measure()
                self._record.close()
                self._backlog.close()
                if self._live is not None:
                    self._live.close()
        return not self._outbox and not any(run.is_ended for run in self._backlog.runs)

    def _turn(self, *, once: bool) -> bool:
        """Read on, send, and tell whether it is done."""
        self._measure()
        if self._clock.monotonic() < self._retry_at:
            if once and self._backoff.is_on:
                return True
            self._backlog.wait(_POLL_SECONDS)
            return False
        is_more = self._read()
        self._send(wait=not is_more)
        now = self._clock.monotonic()
        if now >= self._checkpoint_at:
            self._save_checkpoint()
            self._checkpoint_at = now + _CHECKPOINT_SECONDS
        if is_more or self._backoff.is_on:
            return False
        if now >= self._finalize_at:
            self._finalize_at = now + _FINALIZE_SECONDS
            # What ends a run here is read and sent like any other event.
            if self._finalize():
                return False
        if self._again_at and now >= self._again_at:
            self._start_again()
        if once:
            return True
        self._backlog.wait(_POLL_SECONDS)
        return False

    def _measure(self) -> None:
        self.waiting, self.owed = len(self._on_the_way), len(self._ended)
        _, oldest, _ = next(iter(self._ended.values()), (None, None, None))
        ended = oldest.ended_unix_nano if oldest is not None else 0
        self.lag_seconds = max(0, self._clock.now_unix_nano() - ended) / 1e9 if ended else 0.0

    def _read(self) -> bool:
        """Read on and pack what is final, and tell whether there is more to read."""
        if self._live is not None:
            self._pack(self._live, is_at_end=not self._live.read(_BLOCKS))
        is_more = self._backlog.read(_BLOCKS)
        self._pack(self._backlog, is_at_end=not is_more)
        self.counts.update(self._backlog.passed_over)
        self._backlog.passed_over.clear()
        if is_more and self._live is None:
            # There is a lot: what begins from now on does not wait for it.
            born_after = self._clock.now_unix_nano()
            self._live = Backlog(self._path, Checkpoint(), start=None, born_after=born_after)
        elif not is_more and self._live is not None:
            self._live.close()
            self._live = None
        if not is_more:
            # Every run has been met by now.
            self._settled.whole.clear()
        return is_more

    def _pack(self, backlog: Backlog, *, is_at_end: bool) -> None:
        for run in backlog.take_ended():
            with self._guard.protect("projection"):
                self._pack_ended(backlog, run)
        if is_at_end:
            now = self._clock.monotonic()
            for run in list(backlog.runs):
                if not run.is_ended:
                    with self._guard.protect("projection"):
                        self._pack_open(run, now)

    def _pack_ended(self, backlog: Backlog, run: Run) -> None:
        encoded = encode_run(run.events)
        # Its lines are in the journal: what waits for a receiver need not be in memory too.
        run.events = []
        fate: Fate | None = _fate_without_delivery(encoded)
        if encoded is None or fate is not None:
            self._settle_run(backlog, run, fate or "delivered")
            return
        owed = self._settled.missing(run.run_id, encoded.spans)
        if not owed:
            self._settle_run(backlog, run, "parked" if self._settled.parked.get(run.run_id) else "delivered")
            return
        self._ended[run.run_id] = backlog, run, {span.span_id for span in owed}
        self._put(encoded, owed)

    def _pack_open(self, run: Run, now: float) -> None:
        run.seen_at = run.seen_at or now
        is_marker_due = not run.is_marked and now - run.seen_at >= _MARKER_SECONDS
        if not run.closed and not is_marker_due:
            return
        encoded = encode_run(run.events, closed_by=run.closed)
        run.closed = set()
        if encoded is None or _fate_without_delivery(encoded) is not None:
            run.is_marked = True
            return
        spans = list(encoded.stages)
        if is_marker_due and encoded.marker is not None:
            run.is_marked = True
            spans.append(encoded.marker)
        self._put(encoded, self._settled.missing(run.run_id, spans))

    def _put(self, encoded: EncodedRun, spans: Sequence[EncodedSpan]) -> None:
        """Put spans on the way, unless they are."""
        new = [span for span in spans if span.span_id not in self._on_the_way]
        if new:
            parcel = pack(encoded, new, are_last=len(new) == len(spans))
            self._on_the_way.update(parcel.span_ids)
            self._outbox.append(parcel)
            self._outbox_bytes += parcel.size

    def _send(self, *, wait: bool) -> None:
        """Send what is packed: while one request is under way, the runs of the next are made.

        Args:
            wait: Return when everything was tried; else as soon as no more than a request waits for the one under way.
        """
        while True:
            if self._request is not None:
                if not (wait or self._request.done() or self._outbox_bytes > MAX_BATCH_BYTES):
                    return
                answers, self._request = self._request.result(), None
                for parcels, answer in answers:
                    self._take_answer(parcels, answer)
            if not self._outbox or self._clock.monotonic() < self._retry_at:
                return
            batch = batch_of(self._outbox)
            for _ in batch:
                self._outbox_bytes -= self._outbox.popleft().size
            self._request = self._sending.submit(self._answers_to, batch)

    def _answers_to(self, batch: Sequence[Parcel]) -> list[tuple[Sequence[Parcel], Answer]]:
        return list(send(self._sink, batch, lambda: None))

    def _take_answer(self, parcels: Sequence[Parcel], answer: Answer) -> None:
        span_ids = {span_id for parcel in parcels for span_id in parcel.span_ids}
        self.spans[answer.kind] += len(span_ids)
        self.refusal = "" if answer.kind == "acknowledged" else answer.message
        if answer.kind in ("retry", "misconfigured"):
            self._outbox.extendleft(reversed(parcels))
            self._outbox_bytes += sum(parcel.size for parcel in parcels)
            self._retry_at = self._clock.monotonic() + self._backoff.next_pause(answer)
            self._guard.report(answer.kind, f"{self._sink.destination}: {answer.message}: runs stay owed")
            return
        self._backoff.reset()
        self._on_the_way -= span_ids
        if answer.kind == "acknowledged" or answer.is_final:
            self._record.settle(parcels, answer)
            self._settled.add(parcels, answer)
            if answer.is_final:
                self._guard.report(
                    "parked", f"{self._sink.destination}: {len(span_ids)} spans parked: {answer.message}"
                )
            for parcel in parcels:
                self._note_settled(parcel)
        else:
            self._again_at = self._again_at or self._clock.monotonic() + _AGAIN_SECONDS
            self._guard.report("failed", f"{self._sink.destination}: {answer.message}: tried again later")

    def _note_settled(self, parcel: Parcel) -> None:
        if parcel.run_id not in self._ended:
            return
        backlog, run, waiting = self._ended[parcel.run_id]
        waiting.difference_update(parcel.span_ids)
        if not waiting:
            del self._ended[parcel.run_id]
            self._settle_run(backlog, run, "parked" if self._settled.parked.get(run.run_id) else "delivered")

    def _settle_run(self, backlog: Backlog, run: Run, fate: Fate) -> None:
        backlog.settle(run, fate)
        if backlog is self._backlog:
            self.counts[fate] += 1
            # Only as long as the other one may come upon it.
            self._settled.acknowledged.pop(run.run_id, None)
            self._settled.whole.discard(run.run_id)

    def _save_checkpoint(self) -> Checkpoint:
        """Record how far everything is settled, and return it; what cannot be written is tried again later."""
        checkpoint, passed = self._backlog.advance()
        try:
            self._record.save_checkpoint(checkpoint, passed)
        except (OSError, JournalError) as error:
            # What is acknowledged is on record all the same: the next one reads a little more.
            self._guard.report("checkpoint", f"delivery to {self._sink.destination}: {error}")
        return checkpoint

    def _finalize(self) -> int:
        """End the runs that nobody will end, and return how many they were."""
        count = 0
        now = self._clock.now_unix_nano()
        for run in self._backlog.runs:
            if run.is_ended or run.run_id in self._ended:
                continue
            verdict = abandoned(run.events, now_unix_nano=now, silent_seconds=self._silent_seconds)
            if verdict is not None:
                with self._guard.protect("finalize"):
                    append_end(self._path, verdict)
                    count += 1
        self.counts["abandoned"] += count
        return count

    def _start_again(self) -> None:
        """Read again what is not settled, because some of it failed."""
        self._again_at = 0.0
        checkpoint = self._save_checkpoint()
        self._backlog.close()
        self._settled = self._record.load()
        self._ended.clear()
        self._backlog = self._open_backlog(checkpoint)

    def _open_backlog(self, checkpoint: Checkpoint) -> Backlog:
        return Backlog(
            self._path, checkpoint, start=checkpoint.cursor, settled=self._settled, on_bad=self._keep_bad_line
        )

    def _keep_bad_line(self, segment: str, line: Line, reason: str) -> None:
        # A counter: it must not begin anew with another backlog.
        self.bad_lines += 1
        with self._guard.protect("quarantine"):
            if self._quarantine.keep(segment, line.offset, line.data, reason):
                where = f"{segment} at byte {line.offset}"
                self._guard.report("bad_line", f"a bad line of the journal is in quarantine now, {where}: {reason}")


def _fate_without_delivery(run: EncodedRun | None) -> Fate | None:
    """Return what becomes of a run that is not delivered; None when it is."""
    if run is None:
        return None
    if run.native:
        return "native"
    return None if run.sampled else "unsampled"

"""What a test looks at: events, runs, traces and spans of one journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from ..cli.text import safe
from ..clock import Clock
from ..emit import PatternEventEmitter
from ..errors import OtelPatternsError
from ..model import names
from ..model.events import PatternEvent
from ..model.fold import fold
from ..model.runs import PatternRun
from ..tracing.projection import project
from ..tracing.trace import AttributeValue, RunTrace, Span
from .clock import FakeClock
from .tree import ordered_spans, render_tree

T = TypeVar("T")


class CaptureError(OtelPatternsError, AssertionError):
    """A test asked for the one run or span, and there is none or more than one, or for a clock that is not there.

    Attributes:
        found (tuple[str, ...]): What there is instead: run ids, names of spans, or the type of the clock.
    """

    def __init__(self, message: str, found: Sequence[str]) -> None:
        self.found = tuple(found)
        super().__init__("\n  ".join((f"{message}; there are:" if found else message, *map(safe, found))))


class CapturedRuns:
    """The events, runs and traces of a journal, read anew at each look; made by `capture_runs`.

    After the block of `capture_runs` they stay as they were at its end.

    Args:
        emitter: Whose journal to look at. A test that configures its own may give it.

    Attributes:
        emitter: The emitter that the capture has configured. `emitter.counts` says what went wrong.
    """

    def __init__(self, emitter: PatternEventEmitter) -> None:
        self.emitter = emitter
        self._kept: list[PatternEvent] | None = None

    def keep(self) -> None:
        """Look for the last time: the journal is about to vanish."""
        self._kept = self.emitter.get_events()

    @property
    def clock(self) -> FakeClock:
        """The clock of times and ids, to move it by `advance`.

        Raises:
            CaptureError: The capture was given another clock.
        """
        clock: Clock = self.emitter.clock
        if not isinstance(clock, FakeClock):
            raise CaptureError("the capture has another clock than a FakeClock", [type(clock).__name__])
        return clock

    @property
    def events(self) -> list[PatternEvent]:
        """The events in journal order, as they were emitted.

        Without `details.otel`, which the journal has beside them and which differs from machine to machine;
        `emitter.get_events()` returns both while the block goes on.

        Raises:
            JournalError: The journal cannot be read.
        """
        return [_as_emitted(event) for event in self._journal()]

    @property
    def runs(self) -> dict[str, PatternRun]:
        """The folded runs by run id, ordered by their first event's time."""
        return fold(self._journal())

    @property
    def run(self) -> PatternRun:
        """The only run.

        Raises:
            CaptureError: There is none, or more than one.
        """
        return _only_of(self.runs)

    @property
    def traces(self) -> dict[str, RunTrace]:
        """The trace of each run by run id, in the order in which the runs began, as a backend would get it.

        The spans are those that are exported by the time: a run that has not ended has no root.
        """
        events: dict[str, list[PatternEvent]] = {}
        for event in self._journal():
            events.setdefault(event.pattern_run_id, []).append(event)
        projected = {run_id: project(of_run) for run_id, of_run in events.items()}
        return {run_id: trace for run_id, trace in projected.items() if trace is not None}

    @property
    def trace(self) -> RunTrace:
        """The trace of the only run.

        Raises:
            CaptureError: There is no run, or more than one.
        """
        return _only_of(self.traces)

    @property
    def spans(self) -> list[Span]:
        """The spans of all traces: each before its children, siblings by their start."""
        return [span for _, span in ordered_spans(self.traces.values())]

    def span(self, name: str) -> Span:
        """Return the only span of a name.

        Args:
            name: `<operation_kind> <pattern_id>` of a run, `<stage> <pattern_id>` of a stage.

        Raises:
            CaptureError: There is none, or more than one.
        """
        spans = self.spans
        found = [span for span in spans if span.name == name]
        if len(found) != 1:
            raise CaptureError(f"{len(found) or 'no'} spans have the name {name!r}", [span.name for span in spans])
        return found[0]

    def attributes(self, name: str) -> dict[str, AttributeValue]:
        """Return the attributes of the only span of a name, by key.

        Args:
            name: As for `span`.

        Raises:
            CaptureError: There is none, or more than one.
        """
        return dict(self.span(name).attributes)

    def tree(self, *attributes: str) -> str:
        """Return the spans and their events as text to compare with, without ids and without what a machine is.

        A line for each span: its name, its kind unless `INTERNAL`, its start in seconds after the first span's, its
        length, `ERROR` and why when it failed. Below it its attributes, its events (`·`) and its children, indented.
        Text from events is escaped where a terminal would obey it.

        Args:
            attributes: Keys of the attributes to show, of spans and span events; a key that ends with a dot shows all
                that begin with it. None are shown without.
        """
        return render_tree(self.traces.values(), attributes)

    def _journal(self) -> list[PatternEvent]:
        return self.emitter.get_events() if self._kept is None else list(self._kept)


def _as_emitted(event: PatternEvent) -> PatternEvent:
    if names.OTEL not in event.details:
        return event
    details = {key: value for key, value in event.details.items() if key != names.OTEL}
    return event.model_copy(update={"details": details})


def _only_of(found: Mapping[str, T]) -> T:
    """Return what belongs to the only run."""
    if len(found) != 1:
        raise CaptureError("there is more than one run" if found else "there is no run", list(found))
    return next(iter(found.values()))

"""`TracerSink`: plays the trace of a run through a tracer provider, so that its processors see it like any other.

The provider's own tracers, id generator and sampler stay as they are: what decides ids, sampling and limits of the
spans that are played belongs to the tracer of our scope alone, and even that is only ours while a span is played.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits, Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, TraceState

from ..model import names
from ..settings import EXIT_SECONDS
from .answers import Answer
from .parcels import Parcel
from .provider import global_provider, sdk_tracer

if TYPE_CHECKING:
    from opentelemetry.trace import SpanKind
    from opentelemetry.util.types import Attributes

    from ..model.record import Event
    from .trace import RunTrace, Span

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = SpanLimits.UNSET
# The variables OTEL_SPAN_… and OTEL_ATTRIBUTE_… would drop the first events of a long run, and say nothing.
_NO_LIMITS: Final = SpanLimits(
    max_attributes=_UNSET,
    max_events=_UNSET,
    max_links=_UNSET,
    max_span_attributes=_UNSET,
    max_event_attributes=_UNSET,
    max_link_attributes=_UNSET,
    max_attribute_length=_UNSET,
    max_span_attribute_length=_UNSET,
)
# The span that this thread is about to start; None whenever somebody else uses our tracer.
_played: ContextVar[Span | None] = ContextVar("otel_patterns_played", default=None)


class _RecordedIds(IdGenerator):
    """Gives a played span its own ids, and any other span those of the provider."""

    def __init__(self, others: IdGenerator) -> None:
        self._others = others

    def generate_trace_id(self) -> int:
        span = _played.get()
        return self._others.generate_trace_id() if span is None else int(span.trace_id, 16)

    def generate_span_id(self) -> int:
        span = _played.get()
        return self._others.generate_span_id() if span is None else int(span.span_id, 16)

    def is_trace_id_random(self) -> bool:
        # A run id may have been given to us, so nothing is claimed of its trace id.
        return _played.get() is None and self._others.is_trace_id_random()


class _RecordedDecision(Sampler):
    """Samples every played span, because its run was when it began, and asks the provider's sampler about others."""

    def __init__(self, others: Sampler) -> None:
        self._others = others

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        span = _played.get()
        if span is None:
            return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, _trace_state(span.trace_state))

    def get_description(self) -> str:
        return f"otel_patterns{{{self._others.get_description()}}}"


class _NotPlayedError(Exception):
    """The provider made something else of a span than what was to be played."""


class TracerSink:
    """Plays runs through a tracer provider: the given one, or the global one of the moment.

    The resource is the provider's. What the provider's processors do with a span is not known here, so it is
    `handed_over` and never acknowledged.
    """

    def __init__(self, provider: object | None = None) -> None:
        self._provider = provider
        self._is_flushed = True

    @property
    def destination(self) -> str:
        """Words for people: a provider has no name."""
        return "tracer provider"

    def pack(self, events: Sequence[Event], closed_by: AbstractSet[str]) -> Parcel | None:
        """Return the spans that these events made final, as they are."""
        run = _project(events, closed_by)
        if run is None:
            return None
        return _parcel(run, run.stages if run.root is None else (run.root, *run.stages))

    def pack_marker(self, events: Sequence[Event]) -> Parcel | None:
        """Return the marker, as it is."""
        run = _project(events, frozenset())
        if run is None or run.marker is None:
            return None
        return _parcel(run, (run.marker,))

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Play parcel after parcel and yield what became of each."""
        for number, parcel in enumerate(parcels):
            seconds = timeout_seconds()
            if seconds is not None and seconds <= 0:
                yield parcels[number:], Answer("retry", "no time left")
                return
            try:
                tracer = self._own_tracer()
            except Exception as error:  # noqa: BLE001  # a provider may do anything; it must be said, not raised
                yield parcels[number:], Answer("misconfigured", _reason(error))
                return
            if tracer is None:
                yield parcels[number:], Answer("retry", "the application has not set a TracerProvider")
                return
            yield [parcel], self._play(tracer, parcel)

    def _provider_now(self) -> object | None:
        is_proxy = self._provider is None or isinstance(self._provider, trace.ProxyTracerProvider)
        return global_provider() if is_proxy else self._provider

    def _own_tracer(self) -> Tracer | None:
        """Return the tracer of our scope, prepared; None while the application has not set its provider.

        Asked at every play: what a wrapper wraps changes when the application configures it, or does so again.

        Raises:
            _NotPlayedError: It is no tracer of the SDK.
        """
        provider = self._provider_now()
        found = provider.get_tracer(names.SCOPE_NAME, names.SCOPE_VERSION, names.SCHEMA_URL)  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess, reportUnknownMemberType, reportUnknownVariableType]  # any provider of any vendor
        tracer = sdk_tracer(found)  # pyright: ignore[reportUnknownArgumentType]  # see above
        if tracer is None:
            if isinstance(found, trace.ProxyTracer):
                return None
            kind = f"{type(found).__module__}.{type(found).__qualname__}"  # pyright: ignore[reportUnknownArgumentType]  # see above
            raise _NotPlayedError(f"its tracer is a {kind}, and no tracer of the OpenTelemetry SDK")
        if not isinstance(tracer.id_generator, _RecordedIds):
            tracer.id_generator = _RecordedIds(tracer.id_generator)
        if not isinstance(tracer.sampler, _RecordedDecision):
            tracer.sampler = _RecordedDecision(tracer.sampler)
        tracer._span_limits = _NO_LIMITS  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # there is no public way
        return tracer

    def _play(self, tracer: Tracer, parcel: Parcel) -> Answer:
        """Start and end the spans in the order of their times, as they would have been live.

        A processor may raise: what it does to one span must not cost another one.
        """
        self._is_flushed = False
        failures: list[Exception] = []
        started: list[tuple[Span, trace.Span]] = []
        # Processors see the parent that a span has, and nothing of this thread.
        token = context.attach(Context())
        try:
            for span in sorted(parcel.spans, key=lambda span: span.start_unix_nano):
                try:
                    started.append((span, _start(tracer, span)))
                except Exception as error:  # noqa: BLE001, PERF203  # see above
                    failures.append(error)
            # Of spans that end together the parent is the last.
            started.reverse()
            for span, playing in sorted(started, key=lambda pair: pair[0].end_unix_nano):
                try:
                    playing.end(span.end_unix_nano)
                except Exception as error:  # noqa: BLE001, PERF203  # see above
                    failures.append(error)
        finally:
            context.detach(token)
        if not failures:
            return Answer("handed_over")
        return Answer("failed", f"run {parcel.run_id}: {_reason(failures[0])}")

    def flush(self, timeout_seconds: float) -> bool:
        """Have the provider's processors export what was played, and tell whether they say so.

        The SDK's batch processor knows no time-out, and says yes also when its exporter failed.
        """
        if self._is_flushed:
            return True
        force_flush: object = getattr(self._provider_now(), "force_flush", None)
        self._is_flushed = callable(force_flush) and bool(force_flush(max(1, int(timeout_seconds * 1000))))
        return self._is_flushed

    def close(self) -> None:
        """Push on what was played: this process may end without the provider's own shutdown."""
        self.flush(EXIT_SECONDS)


def _project(events: Sequence[Event], closed_by: AbstractSet[str]) -> RunTrace | None:
    """Return a run that is to be played; None: it is not."""
    # Loaded when the first run is delivered, in the delivery thread: it takes longer than the engine should wait.
    from .projection import project  # noqa: PLC0415

    run = project(events, closed_by=closed_by)
    return None if run is None or run.native or not run.sampled else run


def _parcel(run: RunTrace, spans: Sequence[Span]) -> Parcel | None:
    return Parcel(run.run_id, tuple([span.span_id for span in spans]), spans=tuple(spans)) if spans else None


def _start(tracer: Tracer, span: Span) -> trace.Span:
    """Start a span with its ids, attributes, links, span events and status."""
    parent = Context()
    if span.parent_span_id:
        above = SpanContext(
            int(span.trace_id, 16),
            int(span.parent_span_id, 16),
            is_remote=span.parent_is_remote,
            trace_flags=_SAMPLED,
            trace_state=_trace_state(span.trace_state),
        )
        parent = trace.set_span_in_context(NonRecordingSpan(above), parent)
    links = [
        Link(
            SpanContext(
                int(link.trace_id, 16),
                int(link.span_id, 16),
                is_remote=False,
                trace_flags=_SAMPLED,
                trace_state=_trace_state(link.trace_state),
            ),
            dict(link.attributes),
        )
        for link in span.links
    ]
    token = _played.set(span)
    try:
        playing = tracer.start_span(
            span.name,
            context=parent,
            kind=trace.SpanKind[span.kind.name],
            attributes=dict(span.attributes),
            links=links,
            start_time=span.start_unix_nano,
        )
    finally:
        _played.reset(token)
    ids = playing.get_span_context()
    if not playing.is_recording() or (ids.trace_id, ids.span_id) != (int(span.trace_id, 16), int(span.span_id, 16)):
        raise _NotPlayedError(f"it does not record spans of scope {names.SCOPE_NAME} with the ids they have")
    for event in span.events:
        playing.add_event(event.name, dict(event.attributes), event.time_unix_nano)
    if span.failed:
        playing.set_status(Status(StatusCode.ERROR, span.status_description))
    return playing


def _trace_state(header: str) -> TraceState:
    return TraceState.from_header([header]) if header else TraceState()


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _NotPlayedError) else f"{type(error).__name__}: {error}"

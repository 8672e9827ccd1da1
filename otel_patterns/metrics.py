"""How the journal and the delivery of a process are doing, as OpenTelemetry metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from .channel import REJECTED, channel_of
from .model import names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

    from .channel import Channel
    from .emit import PatternEventEmitter


class Shipping(Protocol):
    """A shipper, as far as it is measured."""

    counts: Counter[str]
    spans: Counter[str]
    waiting: int
    owed: int
    lag_seconds: float
    bad_lines: int


_Source = TypeVar("_Source")


class _Instruments(Generic[_Source]):
    """Makes instruments that ask a source for their numbers whenever they are collected."""

    def __init__(self, source: Callable[[], _Source], meter_provider: MeterProvider | None) -> None:
        from opentelemetry.metrics import Observation, get_meter  # noqa: PLC0415  # only who wants metrics loads them

        self._source = source
        self._observation = Observation
        self._meter = get_meter(names.SCOPE_NAME, names.SCOPE_VERSION, meter_provider, names.SCHEMA_URL)

    def counter(self, name: str, unit: str, description: str, measure: Measure[_Source]) -> None:
        self._meter.create_observable_counter(name, [self._callback(measure)], unit, description)

    def gauge(self, name: str, unit: str, description: str, measure: Measure[_Source]) -> None:
        self._meter.create_observable_gauge(name, [self._callback(measure)], unit, description)

    def _callback(self, measure: Measure[_Source]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            found = measure(self._source())
            if isinstance(found, Mapping):
                return [self._observation(value, {names.METRIC_OUTCOME: kind}) for kind, value in found.items()]
            return [] if found is None else [self._observation(found)]

        return observe


# A number, or one for each outcome; None when there is none.
Measure = Callable[[_Source], "Mapping[str, float] | float | None"]


def observe_metrics(emitter: PatternEventEmitter | None = None, *, meter_provider: MeterProvider | None = None) -> None:
    """Report the health of a journal and its delivery as OpenTelemetry metrics, whenever they are collected.

    Call it once, after the application has set its `MeterProvider`. These are numbers that the process has anyway:
    collecting them costs neither emit nor delivery anything.

    Args:
        emitter: Whose journal; None means the process's own, whichever that is at the time of collection.
        meter_provider: Where to report; None means the application's.
    """

    def source() -> Channel:
        return channel_of(None) if emitter is None else emitter.channel

    make = _Instruments(source, meter_provider)
    make.counter(
        names.METRIC_EVENTS,
        "{event}",
        "Events by what became of them: journaled; rejected, because they broke a rule; spooled once, because writing "
        "did not work; lost.",
        _events,
    )
    make.counter(names.METRIC_BYTES, "By", "Bytes written to the journal.", lambda found: found.journal.bytes_written)
    make.counter(
        names.METRIC_SYNC_TIME, "s", "Time spent in waiting for the disk.", lambda found: found.journal.sync_seconds
    )
    make.gauge(
        names.METRIC_SPOOLED,
        "{event}",
        "Events that wait for the journal to be writable.",
        lambda found: found.journal.spooled,
    )
    make.counter(names.METRIC_SPANS, "{span}", _SPANS, lambda found: found.delivery and dict(found.delivery.spans))
    make.gauge(
        names.METRIC_WAITING,
        "{span}",
        "Spans and events that wait for their delivery.",
        lambda found: found.delivery and found.delivery.waiting,
    )
    make.counter(
        names.METRIC_LEFT_OUT,
        "{span}",
        "Spans that this process leaves to a replay.",
        lambda found: found.delivery and found.delivery.left_out,
    )
    make.gauge(
        names.METRIC_LAG,
        "s",
        "For how long the receiver has not taken what waits for it.",
        lambda found: found.delivery and found.delivery.lag_seconds,
    )


def observe_shipper(shipper: Shipping, *, meter_provider: MeterProvider | None = None) -> None:
    """Report how the delivery of a journal goes, as OpenTelemetry metrics, whenever they are collected.

    Args:
        shipper: Who delivers.
        meter_provider: Where to report; None means the application's.
    """
    make = _Instruments(lambda: shipper, meter_provider)
    make.counter(
        names.METRIC_RUNS,
        "{run}",
        "Runs by what became of them: delivered; parked; unsampled; native; abandoned, which the shipper has ended.",
        lambda found: dict(found.counts),
    )
    make.counter(names.METRIC_SPANS, "{span}", _SPANS, lambda found: dict(found.spans))
    make.gauge(names.METRIC_WAITING, "{span}", "Spans that are read and not settled.", lambda found: found.waiting)
    make.gauge(
        names.METRIC_OWED,
        "{run}",
        "Runs that have ended, are read, and are not settled.",
        lambda found: found.owed,
    )
    make.gauge(
        names.METRIC_LAG,
        "s",
        "For how long the run that is sent next has ended.",
        lambda found: found.lag_seconds,
    )
    make.counter(
        names.METRIC_BAD_LINES,
        "{line}",
        "Lines of the journal that were no events.",
        lambda found: found.bad_lines,
    )


_SPANS: Final = (
    "Spans by the answer to them: acknowledged, handed_over, rejected, refused, too_large, failed; retry and "
    "misconfigured count each try."
)


def _events(channel: Channel) -> Mapping[str, float]:
    counts = channel.guard.counts
    refused = {kind: counts[kind] for kind in (REJECTED, "spooled", "lost")}
    return {"journaled": channel.journal.lines_written, **refused}

"""How the journal and the delivery of this process are doing, as OpenTelemetry metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .channel import channel_of
from .model import names

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

    from .channel import Channel
    from .emit import PatternEventEmitter

Measure = Callable[["Channel"], Mapping[str, float]]


def observe_metrics(emitter: PatternEventEmitter | None = None, *, meter_provider: MeterProvider | None = None) -> None:
    """Report the health of a journal and its delivery as OpenTelemetry metrics, whenever they are collected.

    Call it once, after the application has set its `MeterProvider`. These are numbers that the process has anyway:
    collecting them costs neither emit nor delivery anything.

    Args:
        emitter: Whose journal; None means the process's own, whichever that is at the time of collection.
        meter_provider: Where to report; None means the application's.
    """
    from opentelemetry.metrics import Observation, get_meter  # noqa: PLC0415  # only who wants metrics loads them

    def callback(measure: Measure, key: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            channel = channel_of(None) if emitter is None else emitter.channel
            found = measure(channel)
            return [Observation(value, {key: kind} if key else None) for kind, value in found.items()]

        return observe

    meter = get_meter(names.SCOPE_NAME, names.SCOPE_VERSION, meter_provider, names.SCHEMA_URL)
    counter, gauge = meter.create_observable_counter, meter.create_observable_gauge
    counter(
        names.METRIC_EVENTS,
        [callback(_events, names.METRIC_OUTCOME)],
        "{event}",
        "Events by what became of them: journaled; spooled once, because writing did not work; lost.",
    )
    counter(names.METRIC_BYTES, [callback(_bytes, "")], "By", "Bytes written to the journal.")
    counter(names.METRIC_SYNC_TIME, [callback(_sync_seconds, "")], "s", "Time spent in waiting for the disk.")
    gauge(names.METRIC_SPOOLED, [callback(_spooled, "")], "{event}", "Events that wait for the journal to be writable.")
    counter(
        names.METRIC_SPANS,
        [callback(_spans, names.METRIC_OUTCOME)],
        "{span}",
        "Spans by the answer to them: acknowledged, handed_over, rejected, refused, too_large, failed; retry and "
        "misconfigured count each try.",
    )
    gauge(names.METRIC_WAITING, [callback(_waiting, "")], "{span}", "Spans and events that wait for their delivery.")
    counter(names.METRIC_LEFT_OUT, [callback(_left_out, "")], "{span}", "Spans that this process leaves to a replay.")
    gauge(names.METRIC_LAG, [callback(_lag, "")], "s", "For how long the receiver has not taken what waits for it.")


def _events(channel: Channel) -> Mapping[str, float]:
    counts = channel.guard.counts
    return {"journaled": channel.journal.lines_written, "spooled": counts["spooled"], "lost": counts["lost"]}


def _bytes(channel: Channel) -> Mapping[str, float]:
    return {"": channel.journal.bytes_written}


def _sync_seconds(channel: Channel) -> Mapping[str, float]:
    return {"": channel.journal.sync_seconds}


def _spooled(channel: Channel) -> Mapping[str, float]:
    return {"": channel.journal.spooled}


def _spans(channel: Channel) -> Mapping[str, float]:
    return {} if channel.delivery is None else dict(channel.delivery.spans)


def _waiting(channel: Channel) -> Mapping[str, float]:
    return {} if channel.delivery is None else {"": channel.delivery.waiting}


def _left_out(channel: Channel) -> Mapping[str, float]:
    return {} if channel.delivery is None else {"": channel.delivery.left_out}


def _lag(channel: Channel) -> Mapping[str, float]:
    return {} if channel.delivery is None else {"": channel.delivery.lag_seconds}

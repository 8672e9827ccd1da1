"""What a sink is, and `OtlpSink`: sends encoded spans and says what the receiver made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  # the key has no public name
)

from .answers import Answer, clean, shortened
from .endpoint import Endpoint
from .grpc_sender import GrpcSender
from .http_sender import HttpSender
from .parcels import Parcel, pack, send

if TYPE_CHECKING:
    from ..model.record import Event
    from .trace import EncodedRun


class Sink(Protocol):
    """Where the spans of runs are delivered to, in parcels of its own making."""

    @property
    def destination(self) -> str:
        """Name of the receiver, without secrets."""
        ...

    def pack(self, events: Sequence[Event], closed_by: AbstractSet[str]) -> Parcel | None:
        """Return those spans of a run that these events made final, as they wait for delivery; None: nothing is sent.

        Args:
            events: The run's events in journal order.
            closed_by: Ids of those that end a stage or the run.
        """
        ...

    def pack_marker(self, events: Sequence[Event]) -> Parcel | None:
        """Return the marker of a run that has not ended, as it waits for delivery; None: nothing is sent."""
        ...

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Deliver parcels and yield what became of which, while there is time. Never raises."""
        ...

    def flush(self, timeout_seconds: float) -> bool:
        """Push on what was handed over, and tell whether that was done."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class OtlpSink:
    """Delivers by OTLP over HTTP/protobuf or gRPC, one request per `send`, without retries and without redirects."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sender = GrpcSender(endpoint) if endpoint.protocol == "grpc" else HttpSender(endpoint)

    @property
    def destination(self) -> str:
        """The URL without secrets."""
        return self._endpoint.destination

    def pack(self, events: Sequence[Event], closed_by: AbstractSet[str]) -> Parcel | None:
        """Return the spans that these events made final, encoded."""
        run = _encode_run(events, closed_by)
        if run is None:
            return None
        spans = [*run.stages] if run.root is None else [run.root, *run.stages]
        return pack(run, spans) if spans else None

    def pack_marker(self, events: Sequence[Event]) -> Parcel | None:
        """Return the marker, encoded."""
        run = _encode_run(events, frozenset())
        if run is None or run.marker is None:
            return None
        return pack(run, [run.marker])

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Send parcels in one request, or in several when it is refused, and yield what became of which."""
        return send(self, parcels, timeout_seconds)

    def flush(self, timeout_seconds: float) -> bool:  # noqa: ARG002  # every answer was read already
        """Nothing is left to push on: an acknowledged span has arrived."""
        return True

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Send one request and read the answer, within the configured time or a shorter one."""
        seconds = min(self._endpoint.timeout_seconds, timeout_seconds or self._endpoint.timeout_seconds)
        # An instrumented client would make a span of the application's of every request of ours.
        token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        try:
            answer = self._sender.post(body, seconds)
        except Exception as error:  # noqa: BLE001  # whatever a header or a certificate does: it must be said, not raised
            answer = Answer("misconfigured", f"{type(error).__name__}: {error}")
        finally:
            context.detach(token)
        return replace(answer, message=shortened(self._endpoint.masked(clean(answer.message))))

    def close(self) -> None:
        """Close connections."""
        self._sender.close()


def _encode_run(events: Sequence[Event], closed_by: AbstractSet[str]) -> EncodedRun | None:
    """Return a run that is to be sent; None: it is not."""
    # Loaded when the first run is delivered, in the delivery thread: it takes longer than the engine should wait.
    from .otlp import encode_run  # noqa: PLC0415

    run = encode_run(events, closed_by=closed_by)
    return None if run is None or run.native or not run.sampled else run

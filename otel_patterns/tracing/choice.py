"""Which sink takes the runs of a process (design section 5.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from .endpoint import Endpoint, names_endpoint
from .provider import global_provider, is_same_receiver, otlp_endpoints_of, processors_of, sdk_provider
from .sink import OtlpSink, Sink

if TYPE_CHECKING:
    from ..model.record import Event
    from .answers import Answer
    from .parcels import Parcel
    from .route import Route


def sink_of(route: Route) -> Sink:
    """Return the sink of a route."""
    if route.endpoint is not None:
        return ChosenSink(route.endpoint) if route.is_played else OtlpSink(route.endpoint)
    from .tracer_sink import TracerSink  # noqa: PLC0415  # who sends by OTLP alone needs no SDK

    return TracerSink(route.tracer_provider)


def prefers_provider(endpoint: Endpoint) -> bool:
    """Tell whether runs belong to the application's provider rather than to `endpoint`.

    They do when it exports, and not to this endpoint: what goes there is better acknowledged than handed over, and
    must not go there twice. When a provider does not show its exporters, an endpoint that somebody has named comes
    before it, and it comes before the default one, which nobody may listen on.
    """
    provider = sdk_provider(global_provider())
    if not processors_of(provider):
        return False
    try:
        shows_exporters, endpoints = otlp_endpoints_of(provider)
    except Exception:  # noqa: BLE001  # a property of a vendor's processor may do anything
        shows_exporters, endpoints = False, []
    if shows_exporters:
        return not any(is_same_receiver(theirs, endpoint.url) for theirs in endpoints)
    return not names_endpoint()


class ChosenSink:
    """One of two sinks, chosen when the first span is to be delivered, and then for good.

    By then the application has most likely set its provider. Choosing again would tear runs apart.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._chosen: Sink | None = None

    def _choice(self) -> Sink:
        if self._chosen is not None or not prefers_provider(self._endpoint):
            return self._chosen or OtlpSink(self._endpoint)
        from .tracer_sink import TracerSink  # noqa: PLC0415  # see above

        return TracerSink()

    @property
    def destination(self) -> str:
        """Where spans go; before the first one: where they would go now."""
        return self._choice().destination

    def pack(self, events: Sequence[Event], closed_by: AbstractSet[str]) -> Parcel | None:
        """Choose, and return spans as the chosen sink wants them."""
        self._chosen = self._choice()
        return self._chosen.pack(events, closed_by)

    def pack_marker(self, events: Sequence[Event]) -> Parcel | None:
        """Choose, and return the marker as the chosen sink wants it."""
        self._chosen = self._choice()
        return self._chosen.pack_marker(events)

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Deliver by the chosen sink."""
        return self._choice().deliver(parcels, timeout_seconds)

    def flush(self, timeout_seconds: float) -> bool:
        """Push on what was handed over."""
        return self._chosen is None or self._chosen.flush(timeout_seconds)

    def close(self) -> None:
        """Close what was chosen."""
        if self._chosen is not None:
            self._chosen.close()

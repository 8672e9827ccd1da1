"""How runs leave this process: what the `export` setting, arguments and the standard variables say together."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import ConfigurationError
from .endpoint import Endpoint, exports_traces, is_disabled
from .provider import global_provider, has_processors


@dataclass(frozen=True)
class Route:
    """Where runs may go. With an endpoint and `is_played`, the first delivery chooses.

    Attributes:
        endpoint: Where they are sent by OTLP; None when they are not.
        is_played: They may be played through a tracer provider.
        tracer_provider: That provider; None for the global one.
    """

    endpoint: Endpoint | None
    is_played: bool = False
    tracer_provider: object | None = None


def find_route(export: str, *, endpoint: str | None = None, tracer_provider: object | None = None) -> Route | None:
    """Return the way of runs out of this process; None when they stay here.

    Args:
        export: The setting.
        endpoint: URL that spans are sent to, before the environment's.
        tracer_provider: Provider to play runs through.

    Raises:
        ConfigurationError: A value cannot be used, or not together with another one.
    """
    _check(export, endpoint, tracer_provider)
    if export == "off" or is_disabled(os.environ):
        return None
    if export == "tracer" or tracer_provider is not None:
        return Route(None, is_played=True, tracer_provider=tracer_provider)
    may_choose = export == "auto" and endpoint is None
    # Without OTLP there is nothing to choose later on, so the provider has to be there now.
    other = Route(None, is_played=True) if may_choose and has_processors(global_provider()) else None
    if not exports_traces():
        return other
    environ = None if endpoint is None else {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}
    try:
        return Route(Endpoint.from_environment(environ), is_played=may_choose)
    except ConfigurationError:
        if other is None:
            raise
        return other


def _check(export: str, endpoint: str | None, tracer_provider: object | None) -> None:
    if endpoint is not None and export == "tracer":
        raise ConfigurationError("export", export, "leave endpoint out, or give export otlp")
    if tracer_provider is None:
        return
    if not callable(getattr(tracer_provider, "get_tracer", None)):
        raise ConfigurationError("tracer_provider", tracer_provider, "give a TracerProvider")
    if endpoint is not None:
        raise ConfigurationError("tracer_provider", tracer_provider, "leave it out, or leave endpoint out")
    if export == "otlp":
        raise ConfigurationError("export", export, "leave tracer_provider out, or give export tracer")

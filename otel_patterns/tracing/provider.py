"""The application's own tracer provider: found behind wrappers, and asked what it exports. The SDK is not imported.

Nothing here is called once and for all: an application may set its provider, or put another one into its wrapper,
after its first run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, Tracer, TracerProvider

# What the SDK's own classes have in themselves. A wrapper that only passes reads on would keep what is set on it.
_PROVIDER_PARTS: Final = ("sampler", "id_generator", "_active_span_processor")
_TRACER_PARTS: Final = ("sampler", "id_generator", "span_processor", "_span_limits")
# Where wrappers keep what they wrap: Logfire, and proxies of the API.
_WRAPPED_PROVIDERS: Final = ("provider", "_provider", "wrapped", "__wrapped__")
_WRAPPED_TRACERS: Final = ("tracer", "_tracer", "wrapped", "__wrapped__")
_MAX_WRAPPERS: Final = 8
# Processors and exporters of one provider that are looked at; more than that is no tree.
_MAX_PARTS: Final = 200


def global_provider() -> object | None:
    """Return the application's tracer provider; None when nobody can have set one."""
    trace = sys.modules.get("opentelemetry.trace")
    return trace.get_tracer_provider() if trace is not None else None


def sdk_provider(provider: object | None) -> TracerProvider | None:
    """Return the SDK's provider behind any wrappers; None when there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and type(provider) is trace.ProxyTracerProvider:
        # The API's own, which stands there as long as nobody has set one. Each run begins with this question.
        return None
    return cast("TracerProvider | None", _behind_wrappers(provider, _PROVIDER_PARTS, _WRAPPED_PROVIDERS))


def sdk_tracer(tracer: object) -> Tracer | None:
    """Return the SDK's tracer behind any wrappers; None when there is none."""
    return cast("Tracer | None", _behind_wrappers(tracer, _TRACER_PARTS, _WRAPPED_TRACERS))


def _behind_wrappers(subject: object | None, parts: tuple[str, ...], wrapped: tuple[str, ...]) -> object | None:
    for _ in range(_MAX_WRAPPERS):
        own = _members(subject)
        if all(part in own for part in parts):
            return subject
        inner = (getattr(subject, name, None) for name in wrapped)
        subject = next((value for value in inner if value is not None), None)
        if subject is None:
            break
    return None


def _members(subject: object) -> dict[str, Any]:
    members = getattr(subject, "__dict__", None)
    return cast("dict[str, Any]", members) if isinstance(members, dict) else {}


def processors_of(provider: TracerProvider | None) -> list[SpanProcessor]:
    """Return the span processors that were added to a provider of the SDK."""
    active = _members(provider).get("_active_span_processor")
    return list(_members(active).get("_span_processors", ()))


def has_processors(provider: object | None) -> bool:
    """Tell whether somebody would see a span of this provider."""
    return bool(processors_of(sdk_provider(provider)))


def otlp_endpoints_of(provider: TracerProvider | None) -> tuple[bool, list[str]]:
    """Return whether a provider shows any exporter at all, and the endpoints of those that speak OTLP.

    Processors and exporters hold each other in attributes, so their attributes are searched. What keeps its exporter
    anywhere else, like in a closure, is not found.
    """
    from opentelemetry.sdk.trace.export import SpanExporter  # noqa: PLC0415  # it is there when its provider is

    exporters = [part for part in _parts_of(provider) if isinstance(part, SpanExporter)]
    endpoints = [_members(exporter).get("_endpoint") for exporter in exporters]
    return bool(exporters), [endpoint for endpoint in endpoints if isinstance(endpoint, str)]


def _parts_of(provider: TracerProvider | None) -> Iterator[object]:
    from opentelemetry.sdk.trace import SpanProcessor  # noqa: PLC0415  # see above
    from opentelemetry.sdk.trace.export import SpanExporter  # noqa: PLC0415  # see above

    waiting: list[object] = list(processors_of(provider))
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_PARTS:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        # BatchSpanProcessor keeps its exporter one step deeper, and offers it as a property.
        members = [*_members(part).values(), getattr(part, "span_exporter", None)]
        for member in members:
            items = cast("tuple[object, ...]", tuple(member)) if isinstance(member, (tuple, list)) else (member,)  # pyright: ignore[reportUnknownArgumentType]  # anything at all
            waiting += [item for item in items if isinstance(item, (SpanProcessor, SpanExporter))]


def is_same_receiver(endpoint: str, url: str) -> bool:
    """Tell whether an exporter's endpoint (a URL, or host and port as gRPC's) is where `url` leads."""
    from urllib.parse import urlsplit  # noqa: PLC0415  # loaded when there are exporters to compare

    ours, theirs = urlsplit(url), urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        if (ours.hostname, ours.port) != (theirs.hostname, theirs.port):
            return False
    except ValueError:
        # A port that is no number.
        return False
    return theirs.path.rstrip("/") in ("", ours.path.rstrip("/"))

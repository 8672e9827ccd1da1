"""Where a command sends its metrics, by the standard variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..model import names
from .endpoint import is_disabled

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricExporter

_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
_GRPC_PORT: Final = 4317


def meter_provider_of_environment(service_name: str) -> MeterProvider | None:
    """Return a provider that exports by OTLP when `OTEL_METRICS_EXPORTER=otlp` says so; None otherwise.

    Unlike in an application the default is `none`: the endpoint may be Jaeger's, which takes no metrics.

    Args:
        service_name: What `service.name` is, unless the environment says so.

    Raises:
        ConfigurationError: The variable names another exporter.
    """
    wanted = os.environ.get(_EXPORTER, "").strip().lower()
    if wanted in ("", "none") or is_disabled(os.environ):
        return None
    if wanted != "otlp":
        raise ConfigurationError(_EXPORTER, wanted, "give otlp or none")
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415  # only who wants metrics loads them
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415  # as above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # as above

    resource = Resource.create()
    if str(resource.attributes.get(names.ATTR_SERVICE_NAME, "")).startswith(names.UNKNOWN_SERVICE):
        resource = resource.merge(Resource({names.ATTR_SERVICE_NAME: service_name}))
    return MeterProvider([PeriodicExportingMetricReader(_exporter())], resource=resource, shutdown_on_exit=False)


def _exporter() -> MetricExporter:
    """Return the stock exporter, which reads its variables itself; as for traces, port 4317 means gRPC."""
    protocol = _variable("PROTOCOL")
    if protocol == "grpc" or (not protocol and urlsplit(_variable("ENDPOINT")).port == _GRPC_PORT):
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415  # one of two
            OTLPMetricExporter as GrpcExporter,
        )

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  # one of two

    return OTLPMetricExporter()


def _variable(name: str) -> str:
    general = os.environ.get(f"{_PREFIX}{name}", "")
    return (os.environ.get(f"{_PREFIX}METRICS_{name}", "") or general).strip()

"""Where spans go: the standard `OTEL_*` variables, read as OpenTelemetry's exporters read them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
_GRPC_PORT: Final = 4317
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"


@dataclass(frozen=True)
class Endpoint:
    """An OTLP/HTTP receiver of traces. `headers` may hold secrets and are left out of the repr."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Endpoint:
        """Return the endpoint of the `OTEL_EXPORTER_OTLP_[TRACES_]*` variables, else the one on localhost.

        Raises:
            ConfigurationError: A variable has a value that cannot be used.
        """
        variables = _Variables(os.environ if environ is None else environ)
        url, name = variables.endpoint()
        port = _checked_port(url, name)
        protocol = variables.get("PROTOCOL") or ("grpc" if port == _GRPC_PORT else "http/protobuf")
        if protocol != "http/protobuf":
            raise ConfigurationError(
                name,
                f"{_without_secrets(url)} ({protocol})",
                "runs are sent by http/protobuf: name the receiver's HTTP port, often 4318",
            )
        compression = variables.get("COMPRESSION") or "none"
        if compression not in ("none", "gzip"):
            raise ConfigurationError(f"{_PREFIX}COMPRESSION", compression, "give none or gzip")
        for file in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
            path = variables.get(file)
            if path is not None and not os.path.isfile(path):
                raise ConfigurationError(f"{_PREFIX}{file}", path, "give a file that exists")
        return cls(
            url=url,
            headers=variables.headers(),
            timeout_seconds=variables.timeout_seconds(),
            gzip=compression == "gzip",
            certificate=variables.get("CERTIFICATE"),
            client_certificate=variables.get("CLIENT_CERTIFICATE"),
            client_key=variables.get("CLIENT_KEY"),
        )

    @property
    def destination(self) -> str:
        """The URL without user, password, query and fragment: what may be shown and used as a name."""
        return _without_secrets(self.url)


def names_endpoint(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether the environment names an OTLP endpoint for traces, and does not turn traces off."""
    variables = _Variables(os.environ if environ is None else environ)
    return bool(variables.get("ENDPOINT")) and exports_traces(environ)


def exports_traces(environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether the environment lets traces be sent by OTLP (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER`)."""
    environ = os.environ if environ is None else environ
    if is_disabled(environ):
        return False
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    return not exporters or any(name.strip().startswith("otlp") for name in exporters.split(","))


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Tell whether `OTEL_SDK_DISABLED` turns off whatever makes or sends spans."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _checked_port(url: str, name: str) -> int | None:
    """Return the port that a URL names."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts.port
    except ValueError:
        # A port that is no number, a bracket too many.
        pass
    raise ConfigurationError(name, _without_secrets(url), "give a URL like http://localhost:4318")


def _without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, however wrong it may be."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url.rpartition("@")[2]


class _Variables:
    """`OTEL_EXPORTER_OTLP_TRACES_X` before `OTEL_EXPORTER_OTLP_X`; an empty variable counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> str | None:
        value = self._environ.get(f"{_PREFIX}TRACES_{name}") or self._environ.get(f"{_PREFIX}{name}")
        return value.strip() if value else None

    def endpoint(self) -> tuple[str, str]:
        """Return the URL that spans are posted to, and the variable it comes from."""
        if url := self._environ.get(f"{_PREFIX}TRACES_ENDPOINT", "").strip():
            return url, f"{_PREFIX}TRACES_ENDPOINT"
        base = self._environ.get(f"{_PREFIX}ENDPOINT", "").strip() or DEFAULT_ENDPOINT
        return f"{base.rstrip('/')}/v1/traces", f"{_PREFIX}ENDPOINT"

    def headers(self) -> dict[str, str]:
        text = self.get("HEADERS")
        if not text:
            return {}
        from opentelemetry.util.re import parse_env_headers  # noqa: PLC0415  # only when there are some

        headers = dict(parse_env_headers(text, liberal=True))
        for name, value in headers.items():
            if not (name + value).isascii() or not (name + value).isprintable():
                # The value is a secret and is not shown.
                raise ConfigurationError(f"{_PREFIX}HEADERS", name, "give names and values of printable ASCII")
        return headers

    def timeout_seconds(self) -> float:
        text = self.get("TIMEOUT")
        if text is None:
            return DEFAULT_TIMEOUT_SECONDS
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise ConfigurationError(f"{_PREFIX}TIMEOUT", text, "give seconds, more than 0")
        return seconds

"""Where spans go: the standard `OTEL_*` variables, read as OpenTelemetry's exporters read them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigurationError

Protocol = Literal["http/protobuf", "grpc"]

DEFAULT_ENDPOINT: Final = "http://localhost:4318"
DEFAULT_GRPC_ENDPOINT: Final = "http://localhost:4317"
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
_PROTOCOLS: Final = ("http/protobuf", "grpc")
GRPC_PORT: Final = 4317
_PREFIX: Final = "OTEL_EXPORTER_OTLP_"
# What gRPC takes as the name of a header; HTTP takes a little more, and nobody uses it.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
# Masking what is shorter would make holes in words that are no secrets.
_SHORTEST_SECRET: Final = 4


@dataclass(frozen=True)
class Endpoint:
    """An OTLP receiver of traces. `headers` may hold secrets and are left out of the repr, and so are those in `url`.

    Attributes:
        url: Where spans are posted to; with gRPC scheme, host and port alone.
        headers: Sent with each request.
        timeout_seconds: For one request.
        gzip: Whether requests are packed.
        certificate: File with the certificates that vouch for the receiver's.
        client_certificate: File with the certificate for mutual TLS.
        client_key: File with its key.
        protocol: `http/protobuf` or `grpc`.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    protocol: Protocol = "http/protobuf"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Endpoint:
        """Return the endpoint of the `OTEL_EXPORTER_OTLP_[TRACES_]*` variables, else the one on localhost.

        An endpoint on port 4317 means gRPC, unless a protocol is named.

        Raises:
            ConfigurationError: A variable has a value that cannot be used.
        """
        variables = _Variables(os.environ if environ is None else environ)
        protocol, url = variables.protocol_and_url()
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
            protocol=protocol,
        )

    @property
    def destination(self) -> str:
        """The URL without user, password, query and fragment: what may be shown and used as a name."""
        return without_secrets(self.url)

    @property
    def is_secure(self) -> bool:
        """Whether the connection is TLS."""
        return self.url.lower().startswith("https:")

    @property
    def target(self) -> str:
        """Host and port as gRPC wants them."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def masked(self, text: str) -> str:
        """Return a text without the values of headers and the secrets of the URL: receivers quote what they refuse."""
        parts = urlsplit(self.url)
        secrets = [parts.username, parts.password, *(value for _, value in parse_qsl(parts.query)), parts.query]
        for value in self.headers.values():
            # The part behind `Bearer` is quoted alone.
            secrets += [value, *value.split()[1:]]
        for secret in sorted({secret for secret in secrets if secret}, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


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


def endpoint_variable(environ: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the variable that names the endpoint; None when none does, and it is the default one."""
    name, url = _Variables(os.environ if environ is None else environ).named("ENDPOINT")
    return name if url is not None else None


def checked_url(url: str, name: str) -> str:
    """Return a URL of HTTP as it is.

    Raises:
        ConfigurationError: It is none; the error has it without secrets.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    except ValueError:
        # A port that is no number, a bracket too many.
        pass
    raise ConfigurationError(name, without_secrets(url), "give a URL like http://localhost:4318")


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url if "://" in url else f"//{url}").port
    except ValueError:
        return None


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, however wrong it may be."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url.rpartition("@")[2]


class _Variables:
    """`OTEL_EXPORTER_OTLP_TRACES_X` before `OTEL_EXPORTER_OTLP_X`; an empty variable counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get(self, name: str) -> str | None:
        return self.named(name)[1]

    def named(self, name: str) -> tuple[str, str | None]:
        """Return the variable that counts, and its value."""
        for variable in (f"{_PREFIX}TRACES_{name}", f"{_PREFIX}{name}"):
            if value := self._environ.get(variable, "").strip():
                return variable, value
        return f"{_PREFIX}{name}", None

    def protocol_and_url(self) -> tuple[Protocol, str]:
        """Return how and to which URL spans are sent."""
        name, url = self.named("ENDPOINT")
        protocol_name, protocol = self.named("PROTOCOL")
        protocol = protocol or ("grpc" if url is not None and _port_of(url) == GRPC_PORT else "http/protobuf")
        if protocol not in _PROTOCOLS:
            raise ConfigurationError(protocol_name, protocol, f"give {' or '.join(_PROTOCOLS)}")
        if protocol == "grpc":
            return "grpc", self._grpc_url(name, url or DEFAULT_GRPC_ENDPOINT)
        if url is None or name == f"{_PREFIX}ENDPOINT":
            # The general variable is a base URL, the one for traces is taken as it is.
            return "http/protobuf", f"{checked_url(url or DEFAULT_ENDPOINT, name).rstrip('/')}/v1/traces"
        return "http/protobuf", checked_url(url, name)

    def _grpc_url(self, name: str, url: str) -> str:
        """Return scheme, host and port of a gRPC endpoint; without a scheme it is TLS unless INSECURE says no."""
        if "://" not in url:
            is_insecure = (self.get("INSECURE") or "").lower() == "true"
            url = f"{'http' if is_insecure else 'https'}://{url}"
        parts = urlsplit(checked_url(url, name))
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def headers(self) -> dict[str, str]:
        """Return the headers. Read here and not by the SDK, which logs what it cannot read with its value."""
        headers: dict[str, str] = {}
        for item in (self.get("HEADERS") or "").split(","):
            if not item.strip():
                continue
            name, equals, value = item.partition("=")
            name, value = unquote(name).strip(), unquote(value).strip()
            is_printable = value.isascii() and value.isprintable()
            if not equals or not _HEADER_NAME.fullmatch(name) or not is_printable:
                # Neither is shown: of `name: value` the name would hold the secret.
                raise ConfigurationError(
                    f"{_PREFIX}HEADERS", "***", "give name=value pairs of printable ASCII, separated by commas"
                )
            headers[name.lower()] = value
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

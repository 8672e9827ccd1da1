"""The standard `OTEL_*` variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_patterns.errors import ConfigurationError
from otel_patterns.tracing.endpoint import Endpoint, exports_traces, names_endpoint


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/base/"}, "https://c/base/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"},
            "http://c:1/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://localhost:4318/v1/traces"),
    ],
)
def test_endpoint_follows_the_specification(variables: dict[str, str], url: str) -> None:
    """The general variable is a base URL, the one for traces is taken as it is, an empty one counts as unset."""
    assert Endpoint.from_environment(variables).url == url


def test_endpoint_reads_headers_timeout_compression_and_tls(tmp_path: Path) -> None:
    """The variables for traces come before the general ones, and headers stay out of the repr."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    endpoint = Endpoint.from_environment(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:secret@c:4318",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s3cret,x=a%20b",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2.5",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority),
        }
    )
    assert endpoint.headers == {"api-key": "s3cret", "x": "a b"}
    assert (endpoint.timeout_seconds, endpoint.gzip, endpoint.certificate) == (2.5, True, str(authority))
    assert "s3cret" not in repr(endpoint)
    assert endpoint.destination == "https://c:4318/v1/traces"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "zip"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:99999"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:${PORT}"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "x-token=%D0%BA"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "x-token=a%0Ab"},
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "nowhere.pem"},
    ],
)
def test_endpoint_that_cannot_be_used_names_the_variable_and_the_fix(variables: dict[str, str]) -> None:
    """A value that cannot be used is an error that says which variable and what to set."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.from_environment(variables)
    assert caught.value.setting.startswith("OTEL_EXPORTER_OTLP_")
    assert caught.value.fix


@pytest.mark.parametrize("url", ["http://user:s3cret@localhost:4317", "user:s3cret@host", "http://u:s3cret@[::1"])
def test_endpoint_error_shows_no_secret(url: str) -> None:
    """A password in a URL that cannot be used is not printed."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variables", "named", "exported"),
    [
        ({}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "console,otlp"}, True, True),
    ],
)
def test_export_is_decided_by_the_standard_variables(variables: dict[str, str], named: bool, exported: bool) -> None:
    """Runs are exported by themselves only when an endpoint is named and nothing turns traces off."""
    assert (names_endpoint(variables), exports_traces(variables)) == (named, exported)

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


PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.mark.parametrize(
    ("variables", "protocol", "url"),
    [
        ({}, "http/protobuf", "http://localhost:4318/v1/traces"),
        ({"PROTOCOL": "grpc"}, "grpc", "http://localhost:4317"),
        ({"TRACES_PROTOCOL": "grpc", "PROTOCOL": "http/protobuf"}, "grpc", "http://localhost:4317"),
        ({"ENDPOINT": "http://c:4317"}, "grpc", "http://c:4317"),
        ({"ENDPOINT": "https://c:4317/"}, "grpc", "https://c:4317"),
        ({"TRACES_ENDPOINT": "http://c:4317/v1/traces", "ENDPOINT": "http://d:4318"}, "grpc", "http://c:4317"),
        ({"ENDPOINT": "http://c:4317", "PROTOCOL": "http/protobuf"}, "http/protobuf", "http://c:4317/v1/traces"),
        ({"ENDPOINT": "http://c:9", "PROTOCOL": "grpc"}, "grpc", "http://c:9"),
        ({"ENDPOINT": "http://u:s3cret@c:4317?k=s3cret"}, "grpc", "http://c:4317"),
        ({"ENDPOINT": "c:4317"}, "grpc", "https://c:4317"),
        ({"ENDPOINT": "c:4317", "INSECURE": "true"}, "grpc", "http://c:4317"),
        ({"ENDPOINT": "c:4317", "INSECURE": "true", "TRACES_INSECURE": "false"}, "grpc", "https://c:4317"),
        ({"ENDPOINT": "http://c:4317", "INSECURE": "false"}, "grpc", "http://c:4317"),
        ({"ENDPOINT": "https://c:4317", "INSECURE": "true"}, "grpc", "https://c:4317"),
        ({"ENDPOINT": "[::1]:4317", "INSECURE": "True"}, "grpc", "http://[::1]:4317"),
    ],
)
def test_protocol_and_url_follow_variables_scheme_and_port(variables: dict[str, str], protocol: str, url: str) -> None:
    """Port 4317 means gRPC unless a protocol is named; the scheme says TLS or not, INSECURE only without a scheme."""
    endpoint = Endpoint.from_environment({PREFIX + name: value for name, value in variables.items()})
    assert (endpoint.protocol, endpoint.url) == (protocol, url)
    assert "s3cret" not in repr(endpoint)


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("a=1,,B = 2 ,", {"a": "1", "b": "2"}),
        ("authorization=Basic%20eDp5,t=a=b", {"authorization": "Basic eDp5", "t": "a=b"}),
        ("empty=", {"empty": ""}),
    ],
)
def test_headers_are_pairs_with_names_in_lower_case(text: str, headers: dict[str, str]) -> None:
    """As the specification has them; gRPC takes lower case alone."""
    assert Endpoint.from_environment({"OTEL_EXPORTER_OTLP_HEADERS": text}).headers == headers


@pytest.mark.parametrize("text", ["Authorization: Bearer s3cret", "a=1,s3cret", "x=s3cret%0Ab", "s3 cret=s3cret"])
def test_headers_that_cannot_be_read_are_not_shown(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error nor the log has the secret, wherever it stands."""
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.from_environment({"OTEL_EXPORTER_OTLP_HEADERS": text})
    assert "cret" not in str(caught.value) + caplog.text


def test_masked_text_has_no_secret_of_headers_and_url() -> None:
    """A receiver may quote what it refuses."""
    endpoint = Endpoint(
        "http://user:p4ssword@c/v1?key=qu3ry",
        headers={"authorization": "Bearer s3cret", "x-short": "on", "x-long": "s3cret-longer"},
    )
    text = endpoint.masked("Bearer s3cret, s3cret, s3cret-longer, p4ssword, qu3ry: only on Mondays")
    assert text == "***, ***, ***, ***, ***: only on Mondays"


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "unix:///run/c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_HEADERS": "api key=x"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "x-token"},
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


@pytest.mark.parametrize("url", ["http://user:s3cret@localhost:x", "user:s3cret@host", "http://u:s3cret@[::1"])
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

"""HTTP to servers on this machine."""

import json
import urllib.error
import urllib.request
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.backends.programs import BackendError

# A proxy of the environment would be asked for loopback addresses too.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ANSWER_SECONDS = 10


def fetch(url: str, body: bytes | None = None, *, content_type: str = "application/json") -> tuple[int, bytes]:
    """Send a GET, or a POST when there is a body, and return status and body of any answer.

    Raises:
        OSError: Nobody answered.
    """
    request = urllib.request.Request(url, data=body)
    if body is not None:
        request.add_header("Content-Type", content_type)
    try:
        with _DIRECT.open(request, timeout=ANSWER_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def get_json(url: str) -> Any:
    """Return the decoded JSON answer, or None when the server says 404.

    Raises:
        BackendError: The server gave any other error.
        OSError: Nobody answered.
    """
    status, body = fetch(url)
    if status == 404:
        return None
    if status != 200:
        raise BackendError(f"{url} answered {status}: {body.decode(errors='replace')}")
    return json.loads(body)


def push_traces(otlp_http_endpoint: str, request: ExportTraceServiceRequest) -> ExportTraceServiceResponse:
    """Send spans by OTLP over HTTP and return the server's answer.

    Raises:
        BackendError: The server refused them.
        OSError: Nobody answered.
    """
    url = f"{otlp_http_endpoint}/v1/traces"
    status, body = fetch(url, request.SerializeToString(), content_type="application/x-protobuf")
    if status != 200:
        raise BackendError(f"{url} answered {status}: {body.decode(errors='replace')}")
    return ExportTraceServiceResponse.FromString(body)

"""Encoding a trace as OTLP, and reading what the receiver answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from .wire import encode_request

if TYPE_CHECKING:
    from .trace import Attributes, Span

CONTENT_TYPE: Final = "application/x-protobuf"
# Nothing, or a partial success in which nothing is set: so collectors answer when they took everything.
_FULL_SUCCESS: Final = frozenset({b"", b"\x0a\x00"})


def encode(resource: Attributes, spans: Iterable[Span]) -> bytes:
    """Return an ExportTraceServiceRequest with these spans. The same values give the same bytes.

    Requests may be joined by joining their bytes: protobuf merges repeated fields. So a run's bytes are the same in
    whatever batch they travel.
    """
    return encode_request(resource, spans)


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        kind: `acknowledged`: the receiver took every span. `rejected`: it took some and named how many it did not.
            `retry`: it could not be reached, or asked to come back. `misconfigured`: what answers there is no OTLP
            receiver, or it does not let us in. `refused`: it understood the request and does not want it.
            `handed_over`: the application's own span processors took every span; what becomes of them is not known.
        message: What it said, for people.
        rejected_spans: How many spans were rejected.
        retry_after_seconds: When to come back, if it said so.
    """

    kind: Literal["acknowledged", "handed_over", "rejected", "retry", "misconfigured", "refused"]
    message: str = ""
    rejected_spans: int = 0
    retry_after_seconds: float | None = None


_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_NOT_ALLOWED: Final = frozenset({401, 403, 404, 405, 407})
_REDIRECTS: Final = range(300, 400)
_SUCCESSES: Final = range(200, 300)


def read_answer(status: int, content_type: str, body: bytes, retry_after: str | None = None) -> Answer:
    """Return what an HTTP response means (OTLP specification, OTLP/HTTP response).

    Only a 2xx with a decodable body that rejects nothing is an acknowledgement: a redirect, a login page with
    status 200 and a partial success are reported as success by stock exporters, and the spans are gone.
    """
    if status in _SUCCESSES:
        return _read_success(status, content_type, body)
    if status in _RETRYABLE:
        return Answer("retry", f"HTTP {status}", retry_after_seconds=_seconds(retry_after))
    if status in _REDIRECTS:
        return Answer("misconfigured", f"HTTP {status}, a redirect: set the endpoint to where it leads")
    if status in _NOT_ALLOWED:
        return Answer("misconfigured", f"HTTP {status}: check the endpoint and OTEL_EXPORTER_OTLP_HEADERS")
    return Answer("refused", f"HTTP {status}")


def _read_success(status: int, content_type: str, body: bytes) -> Answer:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != CONTENT_TYPE and (body or media_type):
        return Answer("misconfigured", f"HTTP {status} with {media_type or 'no content type'}: no OTLP receiver")
    if body in _FULL_SUCCESS:
        return Answer("acknowledged")
    # Only now: importing protobuf takes longer than all else that a program does to send its runs.
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415

    try:
        response = ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return Answer("misconfigured", f"HTTP {status} with a body that is no OTLP response")
    partial = response.partial_success
    if partial.rejected_spans:
        return Answer("rejected", partial.error_message, rejected_spans=partial.rejected_spans)
    return Answer("acknowledged", partial.error_message)


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else None

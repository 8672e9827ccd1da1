"""What a receiver's answer means: OTLP over HTTP and over gRPC in the same few kinds (OTLP specification 1.x)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal["acknowledged", "handed_over", "rejected", "retry", "misconfigured", "refused", "too_large", "failed"]
CONTENT_TYPE: Final = "application/x-protobuf"
# An OTLP response is a few bytes; what is longer is none.
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_WORDS: Final = 300
# Nothing, or a partial success in which nothing is set: so collectors answer when they took everything.
_FULL_SUCCESS: Final = frozenset({b"", b"\x0a\x00"})
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31

_SUCCESSES: Final = range(200, 300)
_REDIRECTS: Final = range(300, 400)
_CLIENT_ERRORS: Final = range(400, 500)
# The only ones that OTLP lets a client try again.
_HTTP_RETRIES: Final = frozenset({429, 502, 503, 504})
# What is said of this request and not of the client: another request may be welcome.
_HTTP_KINDS: Final[Mapping[int, Kind]] = {400: "refused", 422: "refused", 413: "too_large"}
GRPC_KINDS: Final[Mapping[str, Kind]] = {
    "CANCELLED": "retry",
    "DEADLINE_EXCEEDED": "retry",
    "ABORTED": "retry",
    "OUT_OF_RANGE": "retry",
    "UNAVAILABLE": "retry",
    "DATA_LOSS": "retry",
    "UNAUTHENTICATED": "misconfigured",
    "PERMISSION_DENIED": "misconfigured",
    "UNIMPLEMENTED": "misconfigured",
    "INVALID_ARGUMENT": "refused",
}
_CREDENTIALS: Final = "check OTEL_EXPORTER_OTLP_HEADERS and the endpoint"
_SIZE_WORDS: Final = ("larger than max", "too large", "exceeds the max", "message size")
# What gRPC says when the other side is a web server.
_NO_HTTP2_WORDS: Final = ("Failed parsing HTTP/2", "http1.x server")


@dataclass(frozen=True)
class Answer:
    """What became of a request.

    Attributes:
        kind: `acknowledged`: the receiver took every span. `rejected`: it took some and named how many it did not.
            `retry`: it could not be reached, or asked to come back. `misconfigured`: what answers there is no OTLP
            receiver, or it does not let us in. `refused`: it understood the request and does not want it.
            `too_large`: the request is larger than it takes. `failed`: it broke over the request, and OTLP does not
            allow to try again. `handed_over`: the application's own span processors took every span; what becomes of
            them is not known.
        message: What it said, for people.
        rejected_spans: How many spans were rejected.
        retry_after_seconds: When to come back, if it said so.
        date: The field `Date` of an HTTP answer, as it came: the time by the receiver's clock.
    """

    kind: Kind
    message: str = ""
    rejected_spans: int = 0
    retry_after_seconds: float | None = None
    date: str = field(default="", compare=False)

    @property
    def is_of_content(self) -> bool:
        """Whether a part of the same request may fare better."""
        return self.kind in ("refused", "too_large", "failed")

    @property
    def is_final(self) -> bool:
        """Whether the receiver has seen the spans and does not want them: sending them again would not help."""
        return self.kind in ("refused", "too_large", "rejected")


def read_http_answer(status: int, headers: Mapping[str, str], body: bytes, *, now_seconds: float = 0.0) -> Answer:
    """Return what an HTTP response means (OTLP specification, OTLP/HTTP response).

    Only a 2xx with a decodable body that rejects nothing is an acknowledgement: a redirect, a login page with
    status 200 and a partial success are reported as success by stock exporters, and the spans are gone.

    Args:
        status: Status code.
        headers: Header fields with names in lower case.
        body: The body as it came, still encoded.
        now_seconds: Present time, for a `Retry-After` that is a date, when the receiver does not tell its own.
    """
    name = f"HTTP {status}"
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        return Answer("misconfigured", f"{name} in the encoding {clean(encoding)}: no OTLP receiver")
    plain = unpacked(body) if encoding == "gzip" else body
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if status in _SUCCESSES:
        if media_type != CONTENT_TYPE and (plain is None or plain or media_type):
            return Answer("misconfigured", f"{name} with {clean(media_type) or 'no content type'}: no OTLP receiver")
        return _read_success(name, plain)
    said = _said(name, _http_words(media_type, plain or b""))
    if status in _HTTP_RETRIES:
        asked = read_retry_after(headers.get("retry-after"), headers.get("date"), now_seconds=now_seconds)
        return Answer("retry", said, retry_after_seconds=asked)
    if status in _HTTP_KINDS:
        return Answer(_HTTP_KINDS[status], said)
    if status in _REDIRECTS:
        return Answer("misconfigured", f"{name}, a redirect: set the endpoint to where it leads")
    if status in _CLIENT_ERRORS:
        return Answer("misconfigured", f"{said}: {_CREDENTIALS}")
    return Answer("failed", said)


def read_grpc_answer(code: str, details: str, status_details: bytes = b"", body: bytes = b"") -> Answer:
    """Return what a gRPC status means (OTLP specification, OTLP/gRPC response).

    Args:
        code: Name of the status code.
        details: The message that came with it.
        status_details: The trailer `grpc-status-details-bin`, which may hold a RetryInfo.
        body: The response, when the code is `OK`; it may be packed with gzip.
    """
    if code == "OK":
        return _read_success("gRPC OK", unpacked(body) if body.startswith(_GZIP_MAGIC) else body)
    said = _said(f"gRPC {code}", details)
    if code == "RESOURCE_EXHAUSTED":
        if "CLIENT: Received message" in details:
            return Answer("misconfigured", f"answers with more than {MAX_ANSWER_BYTES} bytes: no OTLP receiver")
        asked = _retry_delay(status_details)
        if asked is not None:
            return Answer("retry", said, retry_after_seconds=asked)
        if any(words in details.lower() for words in _SIZE_WORDS):
            return Answer("too_large", said)
        return Answer("misconfigured", f"{said}: raise the receiver's limit or quota")
    kind: Kind = GRPC_KINDS.get(code, "failed")
    if kind == "retry":
        if any(words in details for words in _NO_HTTP2_WORDS):
            return Answer("misconfigured", f"{said}: no gRPC receiver; name its gRPC port, often 4317")
        return Answer("retry", said, retry_after_seconds=_retry_delay(status_details))
    return Answer(kind, f"{said}: {_CREDENTIALS}" if kind == "misconfigured" else said)


def read_retry_after(value: str | None, date: str | None = None, *, now_seconds: float = 0.0) -> float | None:
    """Return after how many seconds to come back: `Retry-After` as seconds or as an HTTP date; None for anything else.

    A date is compared with the receiver's own `Date`, if it sent one: its clock need not be ours.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    then = unix_seconds(text)
    if then is None:
        return None
    base = unix_seconds(date) if date else None
    return max(0.0, then - (now_seconds if base is None else base))


def unpacked(body: bytes) -> bytes | None:
    """Return what gzip packed; None when it is no gzip, or more than an answer may have."""
    try:
        stream = zlib.decompressobj(_GZIP_WINDOW)
        plain = stream.decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        return None
    return plain if stream.eof and len(plain) <= MAX_ANSWER_BYTES else None


def clean(words: str) -> str:
    """Return somebody else's words in one line, without control characters."""
    return " ".join("".join(character if character.isprintable() else " " for character in words).split())


def shortened(words: str) -> str:
    """Return words that fit a log. Only after secrets were masked: half a secret would not be found."""
    return words if len(words) <= MAX_WORDS else f"{words[: MAX_WORDS - 1]}…"


def _read_success(name: str, body: bytes | None) -> Answer:
    if body in _FULL_SUCCESS:
        return Answer("acknowledged")
    # Only now: importing protobuf takes longer than all else that a program does to send its runs.
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse  # noqa: PLC0415

    try:
        response = ExportTraceServiceResponse.FromString(body or b"\xff")
    except DecodeError:
        return Answer("misconfigured", f"{name} with a body that is no OTLP response")
    partial = response.partial_success
    if partial.rejected_spans > 0:
        return Answer("rejected", clean(partial.error_message), rejected_spans=partial.rejected_spans)
    return Answer("acknowledged", clean(partial.error_message))


def _said(name: str, words: str) -> str:
    return f"{name}: {clean(words)}" if words.strip() else name


def _http_words(media_type: str, body: bytes) -> str:
    """Return what an error response says: a `google.rpc.Status` by the specification, often plain text."""
    if not body:
        return ""
    if media_type == CONTENT_TYPE:
        return getattr(_status(body), "message", "")
    return body[: 4 * MAX_WORDS].decode("utf-8", "replace") if media_type in ("text/plain", "application/json") else ""


def _retry_delay(status_details: bytes) -> float | None:
    if not status_details:
        return None
    from google.protobuf.message import DecodeError  # noqa: PLC0415  # see above
    from google.rpc.error_details_pb2 import RetryInfo  # noqa: PLC0415  # see above

    for detail in getattr(_status(status_details), "details", ()):
        if detail.Is(RetryInfo.DESCRIPTOR):
            try:
                delay = RetryInfo.FromString(detail.value).retry_delay
            except DecodeError:
                return None
            return max(0.0, delay.seconds + delay.nanos / 1e9)
    return None


def _status(data: bytes) -> Any:
    from google.protobuf.message import DecodeError  # noqa: PLC0415  # see above
    from google.rpc.status_pb2 import Status  # noqa: PLC0415  # see above

    try:
        return Status.FromString(data)
    except DecodeError:
        return None


def unix_seconds(http_date: str) -> float | None:
    """Return the time of an HTTP date in seconds since 1970; None when it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  # loaded when there is a date

    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None

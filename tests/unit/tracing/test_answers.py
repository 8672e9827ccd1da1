"""What every answer of a receiver means."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from otel_patterns.tracing.answers import CONTENT_TYPE, MAX_WORDS, clean, read_grpc_answer, read_http_answer, shortened
from tests.receiver import partial_success, retry_info

REJECTED = partial_success(2, "too old")
WARNED = partial_success(0, "deprecated")
BOMB = gzip.compress(b"\0" * 50_000_000)
NOON = "Fri, 27 Nov 2026 12:00:00 GMT"
NOON_SECONDS = 1795780800.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (200, {"content-type": CONTENT_TYPE}, b"", "acknowledged"),
        (200, {"content-type": CONTENT_TYPE}, b"\x0a\x00", "acknowledged"),
        (200, {"content-type": "Application/X-Protobuf; charset=x"}, WARNED, "acknowledged"),
        (200, {"content-type": CONTENT_TYPE, "content-encoding": "gzip"}, gzip.compress(WARNED), "acknowledged"),
        (202, {}, b"", "acknowledged"),
        (200, {"content-type": CONTENT_TYPE}, REJECTED, "rejected"),
        (200, {"content-type": CONTENT_TYPE}, partial_success(-1, ""), "acknowledged"),
        (200, {"content-type": "text/html"}, b"<html>", "misconfigured"),
        (200, {}, b"<html>", "misconfigured"),
        (200, {"content-type": CONTENT_TYPE}, b"<html>", "misconfigured"),
        (200, {"content-type": "text/html"}, b"", "misconfigured"),
        (200, {"content-type": "application/json"}, b"{}", "misconfigured"),
        (200, {"content-type": CONTENT_TYPE, "content-encoding": "br"}, b"x", "misconfigured"),
        (200, {"content-type": CONTENT_TYPE, "content-encoding": "gzip"}, b"no gzip", "misconfigured"),
        (200, {"content-type": CONTENT_TYPE, "content-encoding": "gzip"}, BOMB, "misconfigured"),
        (307, {"content-type": CONTENT_TYPE}, b"", "misconfigured"),
        *((status, {}, b"", "misconfigured") for status in (304, 401, 403, 404, 405, 407, 408, 415)),
        *((status, {}, b"", "retry") for status in (429, 502, 503, 504)),
        (400, {}, b"", "refused"),
        (422, {}, b"", "refused"),
        (413, {}, b"", "too_large"),
        (500, {}, b"", "failed"),
        (501, {}, b"", "failed"),
    ],
)
def test_http_answer_only_a_decodable_2xx_without_rejections_acknowledges(
    status: int, headers: dict[str, str], body: bytes, kind: str
) -> None:
    """A partial success with rejected spans, a redirect, a web page and a packed bomb are no deliveries."""
    assert read_http_answer(status, headers, body).kind == kind


@pytest.mark.parametrize(
    ("code", "details", "trailer", "kind"),
    [
        *((code, "", b"", "retry") for code in ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE")),
        *((code, "", b"", "retry") for code in ("UNAVAILABLE", "DATA_LOSS")),
        ("UNAVAILABLE", "last error: Failed parsing HTTP/2 (Expected SETTINGS frame", b"", "misconfigured"),
        ("RESOURCE_EXHAUSTED", "slow down", retry_info(1), "retry"),
        ("RESOURCE_EXHAUSTED", "quota of today", b"", "misconfigured"),
        ("RESOURCE_EXHAUSTED", "quota of today", b"\xff no status", "misconfigured"),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (9 vs. 4)", b"", "too_large"),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (9 vs. 4)", b"", "too_large"),
        ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (99999 vs. 65536)", b"", "misconfigured"),
        *((code, "", b"", "misconfigured") for code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")),
        ("INVALID_ARGUMENT", "bad span", b"", "refused"),
        *((code, "", b"", "failed") for code in ("INTERNAL", "UNKNOWN", "NOT_FOUND", "FAILED_PRECONDITION")),
    ],
)
def test_grpc_answer_follows_the_specification(code: str, details: str, trailer: bytes, kind: str) -> None:
    """RESOURCE_EXHAUSTED may be tried again only with a RetryInfo; a message that is too large is halved."""
    answer = read_grpc_answer(code, details, trailer)
    assert answer.kind == kind
    assert code in answer.message or "65536" in answer.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "acknowledged"),
        (WARNED, "acknowledged"),
        (gzip.compress(WARNED), "acknowledged"),
        (REJECTED, "rejected"),
        (b"<html>", "misconfigured"),
        (BOMB, "misconfigured"),
    ],
)
def test_grpc_response_is_read_as_one_of_http(body: bytes, kind: str) -> None:
    """A partial success is one over gRPC too, packed or not."""
    assert read_grpc_answer("OK", "", body=body).kind == kind


@pytest.mark.parametrize("is_grpc", [False, True], ids=["http", "grpc"])
def test_answer_of_a_partial_success_has_number_and_words(is_grpc: bool) -> None:
    """What was rejected is counted and shown in the receiver's words, and a warning keeps its words."""
    for body, number, words in ((REJECTED, 2, "too old"), (WARNED, 0, "deprecated")):
        answer = (
            read_grpc_answer("OK", "", body=body)
            if is_grpc
            else read_http_answer(200, {"content-type": CONTENT_TYPE}, body)
        )
        assert (answer.rejected_spans, answer.message) == (number, words)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7.0),
        (" 3600 ", None, 3600.0),
        ("Fri, 27 Nov 2026 12:00:30 GMT", None, 30.0),
        ("Fri, 27 Nov 2026 12:00:30 GMT", "Fri, 27 Nov 2026 12:00:10 GMT", 20.0),
        ("Fri, 27 Nov 2026 12:00:30 GMT", "garbage", 30.0),
        ("Thu, 26 Nov 2026 12:00:00 GMT", None, 0.0),
        ("Fri, 99 Nov 2026 12:00:00 GMT", None, None),
        ("soon", None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("٣", None, None),
        ("", None, None),
        (None, None, None),
    ],
)
def test_http_answer_takes_retry_after_as_seconds_or_date(
    value: str | None, date: str | None, seconds: float | None
) -> None:
    """A receiver says when to come back in seconds or by the clock, its own if it shows it; the past means at once."""
    headers = {name: text for name, text in (("retry-after", value), ("date", date)) if text is not None}
    assert read_http_answer(429, headers, b"", now_seconds=NOON_SECONDS).retry_after_seconds == seconds


def test_grpc_answer_takes_the_delay_of_a_retry_info() -> None:
    """RetryInfo is the Retry-After of gRPC; a negative one means at once."""
    assert read_grpc_answer("UNAVAILABLE", "", retry_info(2.5)).retry_after_seconds == 2.5
    assert read_grpc_answer("UNAVAILABLE", "", retry_info(-3)).retry_after_seconds == 0.0
    assert read_grpc_answer("UNAVAILABLE", "").retry_after_seconds is None


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        (CONTENT_TYPE, b"\x12\x08bad span", "HTTP 400: bad span"),
        (CONTENT_TYPE, b"\xff", "HTTP 400"),
        ("text/plain; charset=utf-8", b"bad\n  span\x1b[31m\xff", "HTTP 400: bad span [31m\ufffd"),
        ("text/html", b"<html>", "HTTP 400"),
    ],
)
def test_http_answer_of_an_error_has_the_receivers_words(content_type: str, body: bytes, words: str) -> None:
    """By the specification an error is a `google.rpc.Status`, often it is text; it cannot control a terminal."""
    assert read_http_answer(400, {"content-type": content_type}, body).message == words


def test_words_of_a_receiver_are_one_short_line() -> None:
    """They stand in logs and records."""
    assert clean("a\r\n\tb\u2028c\x9bd") == "a b c d"
    assert len(shortened("x" * 5000)) == MAX_WORDS
    assert shortened("x" * MAX_WORDS) == "x" * MAX_WORDS


def test_packed_bomb_is_not_unpacked() -> None:
    """An answer of a few kilobytes must not take fifty megabytes."""
    tracemalloc.start()
    try:
        read_http_answer(200, {"content-type": CONTENT_TYPE, "content-encoding": "gzip"}, BOMB)
        read_grpc_answer("OK", "", body=BOMB)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()

"""`OtlpSink`: posts encoded spans and reads the answer."""

from __future__ import annotations

import gzip
import os
from typing import Final, Protocol

import urllib3

from .endpoint import Endpoint
from .otlp import CONTENT_TYPE, Answer, read_answer

# An OTLP response is a few bytes; what is longer is none.
_MAX_ANSWER_BYTES: Final = 64 * 1024


class Sink(Protocol):
    """Where encoded spans are delivered to."""

    @property
    def destination(self) -> str:
        """Name of the receiver, without secrets."""
        ...

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Deliver one ExportTraceServiceRequest and return what became of it. Never raises."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...


class OtlpSink:
    """Delivers by OTLP over HTTP/protobuf, one request per `send`, without retries and without redirects."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._headers = {"user-agent": "otel-patterns", **endpoint.headers, "content-type": CONTENT_TYPE}
        if endpoint.gzip:
            self._headers["content-encoding"] = "gzip"
        self._pid = 0
        self._pool: urllib3.PoolManager | None = None

    def _connections(self) -> urllib3.PoolManager:
        """Return this process's connections: a forked child must not write into its parent's."""
        if self._pool is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._pool = urllib3.PoolManager(
                retries=False,
                ca_certs=self._endpoint.certificate,
                cert_file=self._endpoint.client_certificate,
                key_file=self._endpoint.client_key,
            )
        return self._pool

    @property
    def destination(self) -> str:
        """The URL without secrets."""
        return self._endpoint.destination

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Post one request. The time-out holds for connecting and for each read; it is never longer than configured."""
        seconds = min(self._endpoint.timeout_seconds, timeout_seconds or self._endpoint.timeout_seconds)
        data = gzip.compress(body, compresslevel=1, mtime=0) if self._endpoint.gzip else body
        try:
            response = self._connections().request(
                "POST",
                self._endpoint.url,
                body=data,
                headers=self._headers,
                timeout=urllib3.Timeout(total=seconds),
                redirect=False,
                preload_content=False,
            )
            try:
                answer = response.read(_MAX_ANSWER_BYTES + 1, decode_content=True)
                response.drain_conn()
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer("retry", f"{self.destination}: {_reason(error)}")
        if len(answer) > _MAX_ANSWER_BYTES:
            return Answer("misconfigured", f"{self.destination} answers with more than {_MAX_ANSWER_BYTES} bytes")
        read = read_answer(
            response.status, response.headers.get("content-type", ""), answer, response.headers.get("retry-after")
        )
        if read.kind == "acknowledged":
            return read
        return Answer(read.kind, f"{self.destination}: {read.message}", read.rejected_spans, read.retry_after_seconds)

    def close(self) -> None:
        """Close connections."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {cause}" if cause is not error else f"{type(error).__name__}: {error}"

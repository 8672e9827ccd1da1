"""What a sink is, and `OtlpSink`: posts encoded spans and reads the answer."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  # the key has no public name
)

from .endpoint import Endpoint
from .otlp import CONTENT_TYPE, Answer, read_answer
from .parcels import Parcel, pack, send
from .trace import RunTrace, Span

if TYPE_CHECKING:
    import urllib3

# An OTLP response is a few bytes; what is longer is none.
_MAX_ANSWER_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 4096


class Sink(Protocol):
    """Where the spans of runs are delivered to, in parcels of its own making."""

    @property
    def destination(self) -> str:
        """Name of the receiver, without secrets."""
        ...

    def pack(self, trace: RunTrace, spans: Sequence[Span]) -> Parcel:
        """Return spans of a run as they wait for delivery."""
        ...

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Deliver parcels and yield what became of which, while there is time. Never raises."""
        ...

    def flush(self, timeout_seconds: float) -> bool:
        """Push on what was handed over, and tell whether that was done."""
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
        import urllib3  # noqa: PLC0415  # loaded in the delivery thread: it takes longer than the engine should wait

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

    def pack(self, trace: RunTrace, spans: Sequence[Span]) -> Parcel:
        """Return spans of a run, encoded."""
        return pack(trace, spans)

    def deliver(
        self, parcels: Sequence[Parcel], timeout_seconds: Callable[[], float | None]
    ) -> Iterator[tuple[Sequence[Parcel], Answer]]:
        """Send parcels in one request, or in several when it is refused, and yield what became of which."""
        return send(self, parcels, timeout_seconds)

    def flush(self, timeout_seconds: float) -> bool:  # noqa: ARG002  # every answer was read already
        """Nothing is left to push on: an acknowledged span has arrived."""
        return True

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Post one request and read the answer, within the configured time or a shorter one."""
        import urllib3  # noqa: PLC0415  # as above

        seconds = min(self._endpoint.timeout_seconds, timeout_seconds or self._endpoint.timeout_seconds)
        # An instrumented HTTP client would make a span of the application's of every request of ours.
        token = context.attach(context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
        try:
            answer = self._post(gzip.compress(body, compresslevel=1, mtime=0) if self._endpoint.gzip else body, seconds)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Answer("retry", f"{self.destination}: {_reason(error)}")
        except Exception as error:  # noqa: BLE001  # whatever a header or a certificate does: it must be said, not raised
            return Answer("misconfigured", f"{self.destination}: {_reason(error)}")
        finally:
            context.detach(token)
        if answer.kind == "acknowledged":
            return answer
        return replace(answer, message=f"{self.destination}: {answer.message}")

    def _post(self, data: bytes, seconds: float) -> Answer:
        import urllib3  # noqa: PLC0415  # as above

        deadline = time.monotonic() + seconds
        response = self._connections().request(
            "POST",
            self._endpoint.url,
            body=data,
            headers=self._headers,
            timeout=urllib3.Timeout(total=seconds),
            redirect=False,
            preload_content=False,
        )
        body, is_whole = b"", False
        try:
            # As it comes: the time-out holds for each read of the socket, and a body may never end.
            while piece := response.read1(_PIECE_BYTES, decode_content=True):
                body += piece
                if len(body) > _MAX_ANSWER_BYTES:
                    return Answer(
                        "misconfigured", f"answers with more than {_MAX_ANSWER_BYTES} bytes: no OTLP receiver"
                    )
                if time.monotonic() > deadline:
                    return Answer("retry", f"did not finish its answer within {seconds:g} s")
            is_whole = True
            headers = response.headers
            content_type = headers.get("content-type", "")
            return read_answer(response.status, content_type, body, headers.get("retry-after"))
        finally:
            if not is_whole:
                # What is still to come would be taken for the next answer.
                response.close()
            response.release_conn()

    def close(self) -> None:
        """Close connections."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {cause}" if cause is not error else f"{type(error).__name__}: {error}"

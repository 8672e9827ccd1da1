"""OTLP receivers on loopback, over HTTP and over gRPC, that answer as they are told and keep what they were sent."""

from __future__ import annotations

import gzip
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

if TYPE_CHECKING:
    from typing_extensions import Self

PROTOBUF = "application/x-protobuf"
SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass(frozen=True)
class Tls:
    """Certificates of a receiver: its own with the key, and those that a client must have one of."""

    certificate: bytes
    key: bytes
    clients: bytes | None = None


@dataclass
class Reply:
    """What to answer over HTTP.

    `hang` never does, `drop` closes the connection, `trickle` sends a body that never ends, `cut` only half of it.
    """

    status: int = 200
    content_type: str = PROTOBUF
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hang: bool = False
    drop: bool = False
    trickle: bool = False
    cut: bool = False


@dataclass
class GrpcReply:
    """What to answer over gRPC: a response, or a status; `hang` never does, `drop` resets the stream."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""
    body: bytes = b""
    retry_seconds: float | None = None
    hang: bool = False
    drop: bool = False


def partial_success(rejected_spans: int, message: str) -> bytes:
    """Return the response of a receiver that did not take all, or has something to say."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected_spans, error_message=message)
    return ExportTraceServiceResponse(partial_success=partial).SerializeToString()


def retry_info(seconds: float) -> bytes:
    """Return the trailer `grpc-status-details-bin` of a receiver that says when to come back."""
    status = Status()
    delay = Duration()
    delay.FromNanoseconds(round(seconds * 1e9))
    status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status.SerializeToString()


class AnyReceiver(ABC):
    """A context manager that keeps every request, whatever it answers."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._changed = threading.Condition()
        self._release = threading.Event()

    @property
    @abstractmethod
    def url(self) -> str:
        """Return where spans are sent to, as `configure` takes it."""

    @property
    @abstractmethod
    def base_url(self) -> str:
        """Return the URL without the path of the signal."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def wait_for(self, requests: int, *, timeout_seconds: float = 10.0) -> bool:
        """Return whether so many requests came within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= requests, timeout_seconds)

    def wait_for_span(self, name_part: str, *, timeout_seconds: float = 10.0) -> bool:
        """Return whether a span whose name holds `name_part` came within the time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(name_part in span.name for _, span in self.spans), timeout_seconds
            )

    @property
    def spans(self) -> list[tuple[ResourceSpans, Span]]:
        """Return every span that was sent, with the group it came in."""
        return [pair for body in list(self.requests) for pair in spans_of(body)]

    def keep(self, body: bytes, headers: dict[str, str]) -> int:
        """Keep a request and return its number."""
        with self._changed:
            self.requests.append(body)
            self.headers.append(headers)
            number = len(self.requests)
            self._changed.notify_all()
        return number


def spans_of(body: bytes) -> list[tuple[ResourceSpans, Span]]:
    """Return the spans of a request, each with the group it came in."""
    return [
        (group, span)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


class Receiver(AnyReceiver):
    """An OTLP/HTTP receiver; `url` is where spans are posted to."""

    def __init__(self, reply: Callable[[int], Reply] = lambda _number: Reply(), *, tls: ssl.SSLContext | None = None):
        super().__init__()
        self._reply = reply
        self._scheme = "http" if tls is None else "https"
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                del format, args

        self._server = _QuietServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Return the URL of the traces endpoint."""
        return f"{self.base_url}/v1/traces"

    @property
    def base_url(self) -> str:
        """Return the URL without the path of the signal."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        reply = self._reply(self.keep(body, {key.lower(): value for key, value in handler.headers.items()}))
        if reply.hang:
            self._release.wait(60)
        if reply.hang or reply.drop:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for key, value in {"content-type": reply.content_type, **reply.headers}.items():
            if value:
                handler.send_header(key, value)
        size = 1_000 if reply.trickle else len(reply.body)
        handler.send_header("content-length", str(2 * size if reply.cut else size))
        handler.end_headers()
        try:
            while reply.trickle and not self._release.wait(0.1):
                handler.wfile.write(b" ")
            handler.wfile.write(reply.body)
        except OSError:
            # The client has given up.
            handler.close_connection = True
        handler.close_connection |= reply.cut


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that break off, as those do that do not trust the certificate."""


class GrpcReceiver(AnyReceiver):
    """An OTLP/gRPC receiver made of gRPC's own server."""

    def __init__(
        self,
        reply: Callable[[int], GrpcReply] = lambda _number: GrpcReply(),
        *,
        tls: Tls | None = None,
        max_request_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        super().__init__()
        self._reply = reply
        self._scheme = "http" if tls is None else "https"
        self._server = grpc.server(
            futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", max_request_bytes)]
        )
        method: Any = grpc.unary_unary_rpc_method_handler(self._export)  # pyright: ignore[reportUnknownVariableType]
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": method}),))
        if tls is None:
            self._port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            credentials = grpc.ssl_server_credentials(
                [(tls.key, tls.certificate)], tls.clients, require_client_auth=tls.clients is not None
            )
            self._port = self._server.add_secure_port("127.0.0.1:0", credentials)

    @property
    def url(self) -> str:
        """Return the URL of the receiver; gRPC has no path."""
        return self.base_url

    @property
    def base_url(self) -> str:
        """Return scheme, host and port."""
        return f"{self._scheme}://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release.set()
        self._server.stop(0).wait(10)

    def _export(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        metadata: Any = context.invocation_metadata()
        reply = self._reply(self.keep(body, dict(metadata)))
        if reply.hang:
            self._release.wait(60)
        if reply.drop:
            context.cancel()
        if reply.retry_seconds is not None:
            context.set_trailing_metadata((("grpc-status-details-bin", retry_info(reply.retry_seconds)),))
        if reply.code is not grpc.StatusCode.OK:
            context.abort(reply.code, reply.details)
        return reply.body

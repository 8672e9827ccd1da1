"""An OTLP/HTTP receiver on loopback that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

if TYPE_CHECKING:
    from typing_extensions import Self

PROTOBUF = "application/x-protobuf"


@dataclass
class Reply:
    """What to answer: `hang` never does, `drop` closes the connection, `trickle` sends a body that never ends."""

    status: int = 200
    content_type: str = PROTOBUF
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hang: bool = False
    drop: bool = False
    trickle: bool = False


class Receiver:
    """A context manager; `url` is where spans are posted to."""

    def __init__(self, reply: Callable[[int], Reply] = lambda _number: Reply()) -> None:
        self.requests: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._reply = reply
        self._changed = threading.Condition()
        self._release = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._handle(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """Return the URL of the traces endpoint."""
        return f"{self.base_url}/v1/traces"

    @property
    def base_url(self) -> str:
        """Return the URL without the path of the signal."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

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
        return [
            (group, span)
            for body in list(self.requests)
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._changed:
            self.requests.append(body)
            self.headers.append({key.lower(): value for key, value in handler.headers.items()})
            number = len(self.requests)
            self._changed.notify_all()
        reply = self._reply(number)
        if reply.hang:
            self._release.wait(60)
        if reply.hang or reply.drop:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for key, value in {"content-type": reply.content_type, **reply.headers}.items():
            if value:
                handler.send_header(key, value)
        handler.send_header("content-length", str(1_000 if reply.trickle else len(reply.body)))
        handler.end_headers()
        try:
            while reply.trickle and not self._release.wait(0.1):
                handler.wfile.write(b" ")
            handler.wfile.write(reply.body)
        except OSError:
            # The client has given up.
            handler.close_connection = True

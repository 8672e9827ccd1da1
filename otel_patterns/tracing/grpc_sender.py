"""Sending by OTLP over gRPC: the same bytes as over HTTP, one request, no retries, no waiting for a server."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from .answers import MAX_ANSWER_BYTES, Answer, read_grpc_answer
from .endpoint import Endpoint

if TYPE_CHECKING:
    import grpc

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_STATUS_DETAILS: Final = "grpc-status-details-bin"
_CORE: Final = "grpc._cython.cygrpc"
_OPTIONS: Final = (
    ("grpc.primary_user_agent", "otel-patterns"),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    # A few packed bytes may unpack to gigabytes: we unpack ourselves, with a limit.
    ("grpc.per_message_decompression", 0),
    # A request that gRPC repeats by itself is one that we do not count.
    ("grpc.enable_retries", 0),
    # Otherwise a pause of the application's own channel to the same receiver would be ours.
    ("grpc.use_local_subchannel_pool", 1),
)
_is_forked_from_grpc = False


class GrpcSender:
    """Calls the trace service of one endpoint and reads the answers. For one thread at a time.

    A process has a channel of its own. gRPC itself does not survive a fork: in the child of a process that had loaded
    it, calls hang and know no deadline (seen with grpcio 1.85). Such a child sends nothing, and its runs stay owed,
    unless gRPC's own support of forks is on.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # gRPC takes bytes for names that end so, and lower case for all.
        self._metadata = tuple(
            (name.lower(), value.encode() if name.lower().endswith("-bin") else value)
            for name, value in endpoint.headers.items()
        )
        self._pid = 0
        self._channel: grpc.Channel | None = None
        # The parent's, kept: gRPC may abort a child that lets go of it.
        self._inherited: grpc.Channel | None = None

    def post(self, body: bytes, seconds: float) -> Answer:
        """Send one request and read the answer.

        Raises:
            Exception: A header or a certificate cannot be used.
        """
        if _is_forked_from_grpc:
            return Answer(
                "misconfigured",
                "gRPC does not survive a fork: start child processes by spawn, send by http/protobuf, or set "
                "GRPC_ENABLE_FORK_SUPPORT=1",
            )
        import grpc  # noqa: PLC0415  # loaded in the delivery thread: it takes longer than the engine should wait

        # Without serializers: the request is encoded already.
        call: Any = self._open_channel().unary_unary(_METHOD)  # pyright: ignore[reportUnknownVariableType]
        compression = grpc.Compression.Gzip if self._endpoint.gzip else grpc.Compression.NoCompression
        try:
            response = call(body, timeout=seconds, metadata=self._metadata, compression=compression)
        except grpc.RpcError as error:
            # The next call begins with a new connection: a channel that failed keeps pauses of its own, and we have
            # ours.
            self.close()
            return _read(error)
        return read_grpc_answer("OK", "", body=response)

    def _open_channel(self) -> grpc.Channel:
        import grpc  # noqa: PLC0415  # as above

        if self._channel is None or self._pid != os.getpid():
            self._pid, self._inherited = os.getpid(), self._channel
            target = self._endpoint.target
            if self._endpoint.is_secure:
                credentials = grpc.ssl_channel_credentials(
                    root_certificates=_content(self._endpoint.certificate),
                    private_key=_content(self._endpoint.client_key),
                    certificate_chain=_content(self._endpoint.client_certificate),
                )
                self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)
            else:
                self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        return self._channel

    def close(self) -> None:
        """Close the channel; one of the parent's is left alone."""
        if self._channel is not None and self._pid == os.getpid():
            self._channel.close()
            self._channel = None


def _read(error: Any) -> Answer:
    trailers: dict[str, str | bytes] = dict(error.trailing_metadata() or ())
    details = trailers.get(_STATUS_DETAILS, b"")
    return read_grpc_answer(error.code().name, error.details() or "", details if isinstance(details, bytes) else b"")


def _content(path: str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()


def _after_fork() -> None:
    global _is_forked_from_grpc  # noqa: PLW0603  # a property of this process
    supported = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").strip().lower() in ("1", "true", "yes")
    _is_forked_from_grpc = _CORE in sys.modules and not supported


os.register_at_fork(after_in_child=_after_fork)

"""Sending by OTLP over HTTP/protobuf: one request, no retries, no redirects."""

from __future__ import annotations

import gzip
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from .answers import CONTENT_TYPE, MAX_ANSWER_BYTES, Answer, read_http_answer
from .endpoint import Endpoint

if TYPE_CHECKING:
    import urllib3

_PIECE_BYTES: Final = 4096


class HttpSender:
    """Posts requests to one endpoint and reads the answers. For one thread at a time."""

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

    def post(self, body: bytes, seconds: float) -> Answer:
        """Post one request and read the answer.

        Raises:
            Exception: A header or a certificate cannot be used.
        """
        import urllib3  # noqa: PLC0415  # as above

        data = gzip.compress(body, compresslevel=1, mtime=0) if self._endpoint.gzip else body
        try:
            return self._post(data, seconds)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            cause = error.__cause__ or error.__context__ or error
            return Answer("retry", f"{type(error).__name__}: {cause}")

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
            # As it comes: the time-out holds for each read of the socket, and a body may never end. Packed as it
            # comes, too: a few bytes may unpack to gigabytes.
            while piece := response.read1(_PIECE_BYTES, decode_content=False):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    return Answer("misconfigured", f"answers with more than {MAX_ANSWER_BYTES} bytes: no OTLP receiver")
                if time.monotonic() > deadline:
                    return Answer("retry", f"did not finish its answer within {seconds:g} s")
            is_whole = True
            headers = {name.lower(): value for name, value in response.headers.items()}
            answer = read_http_answer(response.status, headers, body, now_seconds=time.time())
            return replace(answer, date=headers.get("date", ""))
        finally:
            if not is_whole:
                # What is still to come would be taken for the next answer.
                response.close()
            response.release_conn()

    def close(self) -> None:
        """Close connections."""
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()

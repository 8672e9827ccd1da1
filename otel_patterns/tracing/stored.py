"""Reading back by id what a trace backend has: the query APIs of Jaeger and Tempo."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import ConfigurationError, InvalidTraceError, QueryError
from ..model.values import as_object
from .answers import clean, shortened
from .decode import ReadTrace, read_trace
from .endpoint import checked_url, without_secrets

if TYPE_CHECKING:
    import urllib3

Backend = Literal["jaeger", "tempo"]
BACKENDS: Final[tuple[str, ...]] = get_args(Backend)
# By id alone: Jaeger 2.13 ignores the attributes of a search by its third API.
_PATHS: Final = {"jaeger": "/api/v3/traces/", "tempo": "/api/v2/traces/"}
# Tempo's default limit of a trace is 5 MB of protobuf, which are several times as much in JSON.
MAX_TRACE_BYTES: Final = 64 * 1024 * 1024
TIMEOUT_SECONDS: Final = 10.0
# All in all: a body may come in drops.
_LONGEST_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 64 * 1024
_FOUND: Final = 200
_NOT_FOUND: Final = 404
# What a server says that is overloaded, or broke over one trace.
_OF_TRACE: Final = frozenset({413, 422, 429, 500, 502, 503, 504})


class StoredTraces:
    """The traces of one backend. For one thread at a time.

    Args:
        backend: Which API to speak.
        url: Base URL of the query API; user and password in it are sent, and never shown.
        headers: Sent with each request, and never shown, like `X-Scope-OrgID` for a tenant of Tempo.

    Raises:
        ConfigurationError: There is no such backend, or it is no URL.
    """

    def __init__(self, backend: str, url: str, *, headers: Mapping[str, str] | None = None) -> None:
        if backend not in BACKENDS:
            raise ConfigurationError("--reconcile", backend, f"give {' or '.join(BACKENDS)}, and a URL")
        parts = urlsplit(checked_url(url, "--reconcile"))
        self.backend = backend
        self.url = without_secrets(url).rstrip("/")
        host = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + _PATHS[backend], "", ""))
        self._credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
        self._headers = dict(headers or {})
        self._pool: urllib3.PoolManager | None = None

    def read(self, trace_id: str) -> ReadTrace:
        """Return the spans of a trace; none when the backend does not have it.

        Raises:
            QueryError: The backend cannot be asked, or does not answer with a trace.
        """
        url = f"{self._base}{trace_id}"
        status, media_type, body = self._get(url)
        if status == _FOUND:
            try:
                return read_trace(_parsed(url, body, media_type))
            except InvalidTraceError as error:
                raise QueryError(url, f"is no trace: {error}", is_of_trace=True) from error
        if status == _NOT_FOUND and self.backend == "jaeger" and _is_jaeger_error(body):
            return ReadTrace()
        words = (
            clean(body[:1000].decode("utf-8", "replace")) if media_type in ("text/plain", "application/json") else ""
        )
        said = shortened(f"HTTP {status}{f': {words}' if words else ''}")
        if status not in _OF_TRACE:
            said = f"{said}: this is no query API of {self.backend.capitalize()} that lets us in"
        raise QueryError(url, said, is_of_trace=status in _OF_TRACE)

    def _get(self, url: str) -> tuple[int, str, bytes]:
        import urllib3  # noqa: PLC0415  # takes long to load

        if self._pool is None:
            headers = {"user-agent": "otel-patterns", "accept": "application/json"}
            if self._credentials is not None:
                headers |= urllib3.make_headers(basic_auth=self._credentials)
            headers |= self._headers
            self._pool = urllib3.PoolManager(retries=False, headers=headers)
        try:
            return self._read_answer(url, self._pool)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            cause = error.__cause__ or error.__context__ or error
            raise QueryError(url, f"{type(error).__name__}: {cause}") from error

    def _read_answer(self, url: str, pool: urllib3.PoolManager) -> tuple[int, str, bytes]:
        import urllib3  # noqa: PLC0415  # see above

        deadline = time.monotonic() + _LONGEST_SECONDS
        # Redirects are not followed: credentials are not for whom one leads to.
        response = pool.request(
            "GET", url, timeout=urllib3.Timeout(TIMEOUT_SECONDS), redirect=False, preload_content=False
        )
        body, is_whole = bytearray(), False
        try:
            while piece := response.read1(_PIECE_BYTES, decode_content=False):
                body += piece
                if len(body) > MAX_TRACE_BYTES:
                    raise QueryError(url, f"answers with more than {MAX_TRACE_BYTES} bytes", is_of_trace=True)
                if time.monotonic() > deadline:
                    raise QueryError(url, f"did not finish within {_LONGEST_SECONDS:g} s", is_of_trace=True)
            is_whole = True
        finally:
            if not is_whole:
                # What is still to come would be taken for the next answer.
                response.close()
            response.release_conn()
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return response.status, media_type, bytes(body)

    def close(self) -> None:
        """Close connections."""
        if self._pool is not None:
            self._pool.clear()


def _parsed(url: str, body: bytes, media_type: str) -> dict[str, Any]:
    """Return the JSON object of an answer. Anything else, like a login page, comes from something else."""
    try:
        document = as_object(json.loads(body))
    except (ValueError, RecursionError):
        document = None
    if document is None:
        raise QueryError(url, f"HTTP 200 with {clean(media_type) or 'no content type'} that is no JSON object")
    return document


def _is_jaeger_error(body: bytes) -> bool:
    """Tell whether Jaeger itself says that there is no such trace, and not a server that has no such page."""
    try:
        document = as_object(json.loads(body))
    except (ValueError, RecursionError):
        return False
    return document is not None and "error" in document

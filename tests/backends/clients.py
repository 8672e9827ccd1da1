"""Ask the back ends for what they stored."""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from tests.backends.programs import BackendError
from tests.backends.spans import (
    Attributes,
    BackendSpan,
    attributes_from_otlp,
    hex_id,
    spans_from_jaeger_v1,
    spans_from_otlp,
)
from tests.backends.wire import get_json

RUN_ID_KEY = "pattern.run.id"
# More traces than any test makes: a search that stops at a page would look like missing data.
SEARCH_LIMIT = 1000
# The most that Tempo accepts.
MATCHES_PER_TRACE = 100
DAY_SECONDS = 86_400


class JaegerClient:
    """HTTP query APIs of Jaeger."""

    def __init__(self, query_url: str) -> None:
        self.query_url = query_url

    def trace(self, trace_id: str) -> list[BackendSpan]:
        """Return the spans of a trace by the v3 API; empty when there is no such trace."""
        answer = self.get(f"/api/v3/traces/{trace_id}")
        return [] if answer is None else spans_from_otlp(answer["result"].get("resourceSpans", []))

    def trace_v1(self, trace_id: str) -> list[BackendSpan]:
        """Return the spans of a trace by the v1 API, with times in whole microseconds; empty when there is none."""
        answer = self.get(f"/api/traces/{trace_id}")
        return [] if answer is None else spans_from_jaeger_v1(answer["data"])

    def find_by_run_id(self, service: str, run_id: str) -> list[BackendSpan]:
        """Return all spans of every trace of a service in which some span has this run id, whatever its age.

        By the v1 API: v3 of Jaeger 2.13 ignores the attributes of a search and returns every trace of the service.
        """
        answer = self.get(
            "/api/traces",
            service=service,
            tags=json.dumps({RUN_ID_KEY: run_id}),
            start=1,
            end=(int(time.time()) + DAY_SECONDS) * 1_000_000,
            limit=SEARCH_LIMIT,
        )
        return [] if answer is None else spans_from_jaeger_v1(answer["data"])

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return the decoded answer of any query, or None for 404."""
        return get_json(_with_query(self.query_url + path, parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSpan:
    """A span that matched a TraceQL query, with the attributes that the query names."""

    span_id: str
    start_unix_nano: int
    duration_nano: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTrace:
    """A trace that matched a TraceQL query.

    Attributes:
        root_name: Empty as long as the root span has not been received.
        spans: The first hundred spans that matched, not all of the trace.
    """

    trace_id: str
    root_service: str
    root_name: str
    start_unix_nano: int
    spans: list[FoundSpan]


class TempoClient:
    """HTTP query API of Tempo."""

    def __init__(self, query_url: str) -> None:
        self.query_url = query_url

    def trace(self, trace_id: str) -> list[BackendSpan]:
        """Return the spans of a trace; empty when there is no such trace.

        Raises:
            BackendError: Tempo returned only a part of the trace.
        """
        answer = self.get(f"/api/v2/traces/{trace_id}")
        if answer is None:
            return []
        if answer.get("status") == "PARTIAL":
            raise BackendError(f"Tempo returned a part of trace {trace_id}: {answer.get('message')}")
        # An unknown id is answered with 200 and an empty trace.
        return spans_from_otlp(answer.get("trace", {}).get("resourceSpans", []))

    def search(self, traceql: str, start_unix_seconds: int, end_unix_seconds: int) -> list[FoundTrace]:
        """Return the traces that match a TraceQL query; a trace can be searched a few seconds after it came in.

        The window has to cover the time of the trace and the time at which Tempo received it.
        """
        answer = self.get(
            "/api/search",
            q=traceql,
            start=start_unix_seconds,
            end=end_unix_seconds,
            limit=SEARCH_LIMIT,
            spss=MATCHES_PER_TRACE,
        )
        return [] if answer is None else [_found_trace(trace) for trace in answer.get("traces", [])]

    def find_by_run_id(self, run_id: str, start_unix_seconds: int, end_unix_seconds: int) -> list[FoundTrace]:
        """Return the traces in which some span has this run id."""
        return self.search(f"{{ .{RUN_ID_KEY} = {json.dumps(run_id)} }}", start_unix_seconds, end_unix_seconds)

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return the decoded answer of any query, or None for 404."""
        return get_json(_with_query(self.query_url + path, parameters))


def _found_trace(trace: dict[str, Any]) -> FoundTrace:
    return FoundTrace(
        trace_id=hex_id(trace["traceID"], 16),
        root_service=trace.get("rootServiceName", ""),
        root_name=trace.get("rootTraceName", ""),
        start_unix_nano=int(trace.get("startTimeUnixNano", 0)),
        spans=[
            FoundSpan(
                span_id=hex_id(span["spanID"], 8),
                start_unix_nano=int(span["startTimeUnixNano"]),
                duration_nano=int(span.get("durationNanos", 0)),
                attributes=attributes_from_otlp(span.get("attributes", [])),
            )
            for found in trace.get("spanSets", [])
            for span in found.get("spans", [])
        ],
    )


def _with_query(url: str, parameters: dict[str, str | int]) -> str:
    return f"{url}?{urlencode(parameters, quote_via=quote)}" if parameters else url

"""`OtlpSink`: what a request looks like from inside the process."""

from __future__ import annotations

import pytest
import urllib3
from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  # the key has no public name
)

from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.sink import OtlpSink


def test_send_is_hidden_from_instrumentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrumented HTTP client makes no span of our requests, and is instrumented again afterwards."""
    seen: list[object] = []

    def request(*_arguments: object, **_named: object) -> object:
        seen.append(context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        raise OSError("nobody there")

    monkeypatch.setattr(urllib3.PoolManager, "request", request)
    assert OtlpSink(Endpoint("http://127.0.0.1:1/v1/traces")).send(b"").kind == "retry"
    assert seen == [True]
    assert context.get_value(_SUPPRESS_INSTRUMENTATION_KEY) is None

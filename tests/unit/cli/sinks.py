"""A receiver that commands send to in tests."""

from __future__ import annotations

from types import ModuleType

import pytest

from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.endpoint import Endpoint


class FakeSink:
    """Answers as it was told, and keeps what the last one of its kind got."""

    answer = Answer("acknowledged")
    bodies: list[bytes]

    def __init__(self, endpoint: Endpoint) -> None:
        self.destination = endpoint.destination
        type(self).bodies = []

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Keep the request."""
        del timeout_seconds
        self.bodies.append(body)
        return self.answer

    def close(self) -> None:
        """Nothing to close."""


def send_to_fake(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> type[FakeSink]:
    """Let what a module sends go to a fake of this test alone, and return its kind."""

    class Sink(FakeSink):
        bodies: list[bytes] = []  # noqa: RUF012  # of this test

    monkeypatch.setattr(module, "OtlpSink", Sink)
    return Sink

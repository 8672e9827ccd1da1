"""`OtlpSink` and its senders: what a request looks like from inside the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import urllib3
from opentelemetry import context
from opentelemetry.context import (
    _SUPPRESS_INSTRUMENTATION_KEY,  # pyright: ignore[reportPrivateUsage]  # the key has no public name
)

from otel_patterns.tracing import grpc_sender
from otel_patterns.tracing.answers import MAX_WORDS, Answer
from otel_patterns.tracing.endpoint import Endpoint
from otel_patterns.tracing.grpc_sender import GrpcSender
from otel_patterns.tracing.http_sender import HttpSender
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


def test_call_is_hidden_from_instrumentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrumented gRPC channel is opened, and called, with the same key."""
    seen: list[object] = []

    def insecure_channel(*_arguments: object, **_named: object) -> object:
        seen.append(context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))
        raise OSError("nobody there")

    monkeypatch.setattr(grpc, "insecure_channel", insecure_channel)
    assert OtlpSink(Endpoint("http://127.0.0.1:1", protocol="grpc")).send(b"").kind == "misconfigured"
    assert seen == [True]


@pytest.mark.parametrize(("protocol", "sender"), [("http/protobuf", HttpSender), ("grpc", GrpcSender)])
def test_answer_shows_no_secret_and_is_one_short_line(
    monkeypatch: pytest.MonkeyPatch, protocol: str, sender: type
) -> None:
    """Whatever a receiver or a library quotes is masked before it is cut, and cannot control a terminal."""
    secret = "s3cret-" * 20
    words = f"bad\ntoken \x1b[31m{'x' * (MAX_WORDS - 60)} {secret} and more"
    for outcome in (Answer("refused", words), ValueError(words)):

        def post(*_arguments: object, outcome: Answer | Exception = outcome) -> Answer:
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        monkeypatch.setattr(sender, "post", post)
        endpoint = Endpoint("http://127.0.0.1:1", headers={"token": secret}, protocol=protocol)  # pyright: ignore[reportArgumentType]
        answer = OtlpSink(endpoint).send(b"")
        assert answer.kind == ("refused" if isinstance(outcome, Answer) else "misconfigured")
        assert "s3cret" not in answer.message
        assert answer.message.isprintable()
        assert len(answer.message) <= MAX_WORDS


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_certificate_that_is_none_is_said(tmp_path: Path, protocol: str) -> None:
    """A file that went away after it was configured, or holds no certificate, is no reason to raise."""
    endpoint = Endpoint("https://127.0.0.1:1", certificate=str(tmp_path / "gone.pem"), protocol=protocol)  # pyright: ignore[reportArgumentType]
    answer = OtlpSink(endpoint).send(b"", timeout_seconds=2)
    assert answer.kind in ("misconfigured", "retry")
    assert answer.message


def test_grpc_is_not_called_in_the_child_of_a_process_that_had_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call would hang there and know no deadline; nothing is even opened."""

    def insecure_channel(*_arguments: object, **_named: object) -> object:
        raise AssertionError

    monkeypatch.setattr(grpc, "insecure_channel", insecure_channel)
    for supported, kind in (("0", True), ("no", True), ("1", False), ("True", False)):
        monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", supported)
        monkeypatch.setattr(grpc_sender, "_is_forked_from_grpc", False)
        grpc_sender.__dict__["_after_fork"]()
        assert grpc_sender.__dict__["_is_forked_from_grpc"] is kind
    monkeypatch.setattr(grpc_sender, "_is_forked_from_grpc", True)
    answer = OtlpSink(Endpoint("http://127.0.0.1:1", protocol="grpc")).send(b"")
    assert (answer.kind, "spawn" in answer.message) == ("misconfigured", True)


def test_program_that_configures_grpc_does_not_load_it_before_it_sends(tmp_path: Path) -> None:
    """GRPC takes longer to load than an engine should wait; the delivery thread does it."""
    code = (
        "import sys; from otel_patterns import configure;"
        "configure(journal=sys.argv[1], endpoint='http://127.0.0.1:4317');"
        "print([name for name in sys.modules if name in ('grpc', 'urllib3', 'google.protobuf')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "j.jsonl")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

"""What a run and its stages put into the OpenTelemetry context while their blocks run."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..model import ids, names
from ..process import loading
from ..tracing.origin import Joined

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context

    from ..channel import Channel
    from ..tracing.run_span import RunSpan


class OpenSpan:
    """A `RunSpan` that is current between `enter` and `leave`, which may be called again and again."""

    def __init__(self, span: RunSpan) -> None:
        self.span = span
        self._tokens: list[Token[Context]] = []

    def enter(self) -> None:
        """Make the span current."""
        from opentelemetry import context, trace  # noqa: PLC0415  # a run without spans in the context starts without

        self._tokens.append(context.attach(trace.set_span_in_context(self.span)))

    def leave(self) -> None:
        """Make current again what was current before."""
        from opentelemetry import context  # noqa: PLC0415  # as above

        if self._tokens:
            context.detach(self._tokens.pop())

    def close(self) -> None:
        """Take nothing more."""
        self.span.close()


def open_root(channel: Channel, joined: Joined, *, run_id: str, name: str, attributes: dict[str, Any]) -> OpenSpan:
    """Return the span of a run that has begun."""
    if _RUN_SPAN not in sys.modules:
        with loading():
            import_module(_RUN_SPAN)
    from opentelemetry.trace import SpanKind  # noqa: PLC0415  # as above

    is_local = joined.parent is not None and not joined.parent.is_remote
    kind = SpanKind.INTERNAL if is_local else SpanKind.SERVER
    return _open(channel, joined, name, ids.span_id(run_id, "root"), joined.parent, kind, attributes)


def open_stage(channel: Channel, joined: Joined, root: OpenSpan, *, span_id: str, name: str, stage: str) -> OpenSpan:
    """Return the span of a stage that has begun."""
    from opentelemetry.trace import SpanKind  # noqa: PLC0415  # as above

    of_run = {key: root.span.attributes[key] for key in _IDENTITY}
    attributes = {**of_run, names.ATTR_STAGE: stage}
    return _open(channel, joined, name, span_id, root.span.get_span_context(), SpanKind.INTERNAL, attributes)


_RUN_SPAN = "otel_patterns.tracing.run_span"
_IDENTITY = (names.ATTR_RUN_ID, names.ATTR_PATTERN_ID, names.ATTR_JOB_ID)


def _open(  # the parts of a span
    channel: Channel, joined: Joined, name: str, span_id: str, parent: Any, kind: Any, attributes: dict[str, Any]
) -> OpenSpan:
    from ..tracing.run_span import RunSpan, span_context  # noqa: PLC0415  # as above

    context = span_context(joined.trace_id, span_id, sampled=joined.sampled, trace_state=joined.trace_state)
    guard = channel.guard

    def on_loss(what: str) -> None:
        guard.report("span", f"not recorded: {what}")

    return OpenSpan(
        RunSpan(name, context, parent, kind=kind, attributes=attributes, clock=channel.clock, on_loss=on_loss)
    )


def environment_of(joined: Joined, span_id: str) -> dict[str, str]:
    """Return the variables that hand a span to a child process (OpenTelemetry, environment variables as carriers).

    `TRACEPARENT`, `TRACESTATE` when there is one, and `BAGGAGE` when the present context has some.
    """
    variables = {"TRACEPARENT": f"00-{joined.trace_id}-{span_id}-{'01' if joined.sampled else '00'}"}
    if joined.trace_state:
        variables["TRACESTATE"] = joined.trace_state
    if "opentelemetry.baggage" in sys.modules:
        from opentelemetry.baggage.propagation import W3CBaggagePropagator  # noqa: PLC0415  # only when there may be one

        carrier: dict[str, str] = {}
        W3CBaggagePropagator().inject(carrier)
        if "baggage" in carrier:
            variables["BAGGAGE"] = carrier["baggage"]
    return variables

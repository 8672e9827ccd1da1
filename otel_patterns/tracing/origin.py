"""What this process records with its first event of a run: everything a projection needs beside the events.

The resource, the sampling decision and the caller's context are taken once, when the run begins here, and written
down, so that a replay on another machine needs nothing else. The SDK is imported only when it has a say.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..clock import Clock
from ..model import ids, names
from ..model.values import to_json_object
from ..process import loading, writer_of
from ..settings import Settings
from .provider import global_provider, sdk_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Span as TraceSpan
    from opentelemetry.trace import SpanContext

_REMEMBERED_RUNS: Final = 20_000
_SDK_VARIABLES: Final = (
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
)


class Joined(NamedTuple):
    """The trace that a run is part of.

    Attributes:
        trace_id: 32 hex digits.
        parent: The caller's span when the run is its child; None when the run has a trace of its own.
        trace_state: W3C tracestate of the trace.
        sampled: What the sampler has decided.
    """

    trace_id: str
    parent: SpanContext | None
    trace_state: str
    sampled: bool


class Origin:
    """Makes `details.otel`. One per journal and process; a forked child makes its own identity."""

    def __init__(
        self, settings: Settings, *, exporting: bool, clock: Clock, tracer_provider: object | None = None
    ) -> None:
        self._settings = settings
        self._exporting = exporting
        self._clock = clock
        self._seen: OrderedDict[str, Joined | None] = OrderedDict()
        self._provider = tracer_provider
        # Zero: what this process is has to be asked.
        self._pid = 0
        self._writer: dict[str, Any] = {}
        self._resource: Resource | None = None
        # The resource as it is recorded, and what that was made from.
        self._converted: dict[str, Any] = {}
        self._converted_from: Resource | None = None
        self._sampler: Sampler | None = None
        self._has_asked = False

    def knows(self, run_id: str) -> bool:
        """Tell whether this process has emitted an event of the run, and it has not ended."""
        return self._pid != 0 and run_id in self._seen

    def adopt_after_fork(self) -> None:
        """Know no run any more: the parent has recorded itself, and the child must record what it is."""
        self._pid = 0

    def is_first(self, run_id: str) -> bool:
        """Tell whether this is the first event of the run in this process, and remember that there was one."""
        if not self._pid:
            self._pid = os.getpid()
            self._seen = OrderedDict()
            self._writer = writer_of(self._pid)
            self._resource = None
            self._has_asked = False
        if run_id in self._seen:
            return False
        self._seen[run_id] = None
        if len(self._seen) > _REMEMBERED_RUNS:
            self._seen.popitem(last=False)
        return True

    def forget(self, run_id: str) -> None:
        """Drop a run that has ended. A later event of it records its origin again, which does no harm."""
        self._seen.pop(run_id, None)

    def joined(self, run_id: str, job_id: str) -> Joined:
        """Return the trace that a run is part of, as it was recorded with its first event here."""
        return self._seen.get(run_id) or self._alone(run_id, job_id, sampled=True)

    @staticmethod
    def _alone(run_id: str, job_id: str, *, sampled: bool) -> Joined:
        return Joined(ids.trace_id(job_id, run_id), None, "", sampled=sampled)

    def record(self, run_id: str, job_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return `details.otel` for a run's first event here; `given` is what the caller wants recorded in it."""
        join, span = self._settings.join, _current_span()
        context = None if span is None else span.get_span_context()
        if span is not None and _is_ours(span):
            # A run inside a run belongs to it, whatever the relation to the services around may be.
            join = "child"
        parent = span if join == "child" else None
        resource, sampled = self._resource_and_decision(run_id, job_id, given, parent)
        recorded: dict[str, Any] = {"v": names.OTEL_VERSION}
        joined: Joined | None = None
        if context is not None:
            flags = f"{int(context.trace_flags):02x}"
            recorded["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}"
            if state := context.trace_state.to_header():
                recorded["tracestate"] = state
            recorded["join"] = join
            recorded["remote"] = context.is_remote
            if parent is not None:
                joined = Joined(f"{context.trace_id:032x}", context, recorded.get("tracestate", ""), sampled=sampled)
        recorded["sampled"] = sampled
        # None stands for a trace of its own that is sampled.
        self._seen[run_id] = joined or (None if sampled else self._alone(run_id, job_id, sampled=False))
        recorded.update(given)
        recorded["resource"] = resource
        recorded["writer"] = self._writer
        if self._settings.run_url:
            self._add_run_url(recorded, run_id, job_id)
        return recorded

    def without_provider(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return what can be recorded when the provider fails."""
        resource = {names.ATTR_SERVICE_NAME: names.UNKNOWN_SERVICE}
        return {"v": names.OTEL_VERSION, "sampled": True, **given, "resource": resource, "writer": self._writer}

    def _add_run_url(self, recorded: dict[str, Any], run_id: str, job_id: str) -> None:
        url = self._settings.run_url.replace("{run_id}", run_id).replace("{job_id}", job_id)
        span = recorded.setdefault("span", {}).setdefault("run", {})
        span["attributes"] = {names.ATTR_CICD_RUN_URL: url, **span.get("attributes", {})}

    def _resource_and_decision(
        self, run_id: str, job_id: str, given: Mapping[str, Any], parent: TraceSpan | None
    ) -> tuple[Mapping[str, Any], bool]:
        resource, sampler = self._provider_parts()
        if resource is None or sampler is None:
            # As the default sampler decides.
            return {names.ATTR_SERVICE_NAME: names.UNKNOWN_SERVICE}, _is_sampled(parent)
        if resource is not self._converted_from:
            self._converted, self._converted_from = to_json_object(dict(resource.attributes)), resource
        # Loaded, because the sampler is one of it. An import statement in each run takes longer than to ask for it.
        if sampler is sys.modules["opentelemetry.sdk.trace.sampling"].DEFAULT_ON:
            # What it would say: it asks nobody, and asking it takes longer than writing the event.
            return self._converted, _is_sampled(parent)
        from opentelemetry.context import Context  # noqa: PLC0415  # see the module's docstring
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        if parent is None:
            context, trace_id = Context(), int(ids.trace_id(job_id, run_id), 16)
        else:
            context, trace_id = set_span_in_context(parent), parent.get_span_context().trace_id
        name = str(given.get("operation_kind") or names.UNKNOWN_OPERATION)
        result = sampler.should_sample(context, trace_id, name, SpanKind.SERVER, {names.ATTR_RUN_ID: run_id}, ())
        return self._converted, result.decision.is_sampled()

    def _provider_parts(self) -> tuple[Resource | None, Sampler | None]:
        """Return resource and sampler of the application's own provider, else those of the environment."""
        # Asked at every run: the application may set its provider after its first run.
        provider = sdk_provider(self._provider or global_provider())
        if provider is not None:
            return provider.resource, provider.sampler
        if not self._has_asked and (self._exporting or any(os.environ.get(name) for name in _SDK_VARIABLES)):
            with loading():
                from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # see the module's docstring

                # Never set as the global one: it only reads the standard variables for us.
                own = TracerProvider(shutdown_on_exit=False)
                self._resource, self._sampler = own.resource, own.sampler
        # The environment is read once: reading it costs as much as writing the event.
        self._has_asked = True
        return self._resource, self._sampler


def _current_span() -> TraceSpan | None:
    """Return the span of the application, or of a run around this one, in which the run begins."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span: TraceSpan = trace.get_current_span()
    return span if span is not trace.INVALID_SPAN and span.get_span_context().is_valid else None


def _is_ours(span: TraceSpan) -> bool:
    run_span = sys.modules.get(f"{__package__}.run_span")
    return run_span is not None and isinstance(span, run_span.RunSpan)


def _is_sampled(parent: TraceSpan | None) -> bool:
    return parent is None or parent.get_span_context().trace_flags.sampled

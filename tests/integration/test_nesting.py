"""Runs, runs inside runs, and spans of instrumented libraries, as one trace in real backends.

A program of its own with an OpenTelemetry SDK as applications set it up: the global provider and its tools would
otherwise be those of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_patterns.model.names import MARKER_SPAN_NAME
from tests.backends.polling import wait_for
from tests.backends.spans import BackendSpan
from tests.integration.test_traces import Backend, jaeger_backend, tempo_backend
from tests.pages import ROOT

PROGRAM = """\
import asyncio, json, os, subprocess, sys
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_patterns import configure, current_run, pattern_run

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
emitter = configure(journal=sys.argv[1])
library = trace.get_tracer("library")

TOOL = '''
import os
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
context = TraceContextTextMapPropagator().extract({"traceparent": os.environ["TRACEPARENT"]})
provider.get_tracer("tool").start_span("inside the tool", context=context).end()
'''

@pattern_run("PAT-INNER", job_id="JOB-1", operation_kind="inner")
async def inner():
    with library.start_as_current_span("query"):
        trace.get_current_span().set_attribute("app.rows", 3)
        await asyncio.sleep(0)
    trace.get_current_span().set_attribute("app.of.run", "inner")
    current_run().result_summary["rows"] = 3

async def main():
    with library.start_as_current_span("POST /jobs"):
        async with pattern_run("PAT-OUTER", job_id="JOB-1", operation_kind="outer") as run:
            async with run.execution("tool") as execution:
                await inner()
                try:
                    raise ValueError("tried again")
                except ValueError as error:
                    trace.get_current_span().record_exception(error)
                environment = {**os.environ, **execution.environment()}
                subprocess.run([sys.executable, "-c", TOOL], env=environment, check=True)
    return run.trace_id

trace_id = asyncio.run(main())
emitter.flush(10)
provider.force_flush()
print(json.dumps({"trace_id": trace_id, "counts": emitter.counts}))
"""

# Each span, and the one above it.
ABOVE = {
    "POST /jobs": None,
    "outer PAT-OUTER": "POST /jobs",
    "execution PAT-OUTER": "outer PAT-OUTER",
    "inner PAT-INNER": "execution PAT-OUTER",
    "query": "inner PAT-INNER",
    "execution PAT-INNER": "inner PAT-INNER",
    "inside the tool": "execution PAT-OUTER",
}


@pytest.fixture(params=["jaeger", "tempo"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Yield each backend that is on this machine."""
    server = request.getfixturevalue(str(request.param))
    return jaeger_backend(server) if request.param == "jaeger" else tempo_backend(server)


def test_service_runs_libraries_and_tools_are_one_trace(backend: Backend, tmp_path: Path) -> None:
    """Each span is below the one around it, whoever made it; what was set on the current span is where it belongs."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": backend.endpoint,
        "OTEL_SERVICE_NAME": "engine",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "journal.jsonl")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["counts"] == {}

    spans = wait_for(lambda: spans_by_name(backend, said["trace_id"]), lambda found: len(found) == len(ABOVE))
    names = {span.span_id: name for name, span in spans.items()}
    above = {name: names.get(span.parent_span_id) for name, span in spans.items()}
    assert above == ABOVE
    assert {span.kind for name, span in spans.items() if name.startswith(("outer", "inner"))} == {"INTERNAL"}
    assert spans["inner PAT-INNER"].attributes["app.of.run"] == "inner"
    assert spans["inner PAT-INNER"].attributes["pattern.output.rows"] == 3
    assert spans["query"].attributes["app.rows"] == 3
    (exception,) = [event for event in spans["execution PAT-OUTER"].events if event.name == "exception"]
    assert exception.attributes["exception.message"] == "tried again"
    assert "exception" in [event.name for event in spans["outer PAT-OUTER"].events]
    assert spans["outer PAT-OUTER"].status_code == "UNSET"


def spans_by_name(backend: Backend, trace_id: str) -> dict[str, BackendSpan]:
    """Return what the backend has of a trace by now, without the mark that a run is going on."""
    return {span.name: span for span in backend.trace(trace_id) if span.name != MARKER_SPAN_NAME}

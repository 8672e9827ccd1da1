"""Reading a trace in the forms in which people have one."""

from __future__ import annotations

import gzip
import json
import math
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_patterns import InvalidTraceError
from otel_patterns.tracing.decode import read_trace
from otel_patterns.tracing.reading import Node
from tests.otlp_json import as_lines, request_of, with_base64_ids, with_hex_ids
from tests.streams import TRACE_ID, semgrep_run

REQUEST = request_of(semgrep_run(traceparent=f"00-{'1' * 32}-{'2' * 16}-01", tracestate="a=b", join="link"))
HEX, BASE64 = with_hex_ids(REQUEST), with_base64_ids(REQUEST)
SPANS = read_trace(REQUEST).spans
FORMS: dict[str, Any] = {
    "mapping": HEX,
    "base64 ids": BASE64,
    "text": json.dumps(HEX),
    "bytes with a mark": b"\xef\xbb\xbf" + json.dumps(HEX).encode(),
    "text after a newline": b"\n" + json.dumps(HEX).encode(),
    "lines": as_lines(HEX).encode(),
    "array": json.dumps([HEX]),
    "Jaeger v3": {"result": HEX},
    "Tempo v2": {"trace": BASE64, "metrics": {}},
    "Tempo v1": {"batches": BASE64["resourceSpans"]},
    "with other signals": json.dumps({"resourceLogs": []}) + "\n" + json.dumps(HEX),
    "old names": json.loads(json.dumps(HEX).replace("scopeSpans", "instrumentationLibrarySpans")),
}


def one_span(**changes: Any) -> dict[str, Any]:
    """Return a document of one span with some members changed."""
    span = {"traceId": TRACE_ID, "spanId": "1" * 16, "name": "a", **changes}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


@pytest.mark.parametrize("form", FORMS)
def test_trace_reads_the_same_in_every_form(form: str) -> None:
    """The form that a trace comes in changes nothing of it."""
    assert read_trace(FORMS[form]).spans == SPANS


def test_span_is_read_with_all_its_parts() -> None:
    """Ids are hex, times integers, and links, resource and trace state are there."""
    root = SPANS[0]
    assert (root.trace_id, root.parent_span_id, root.is_internal, root.dropped) == (TRACE_ID, "", False, 0)
    assert root.resource == {"service.name": "engine", "service.instance.id": "i-1"}
    assert [(link.trace_id, link.span_id, link.trace_state) for link in root.links] == [("1" * 32, "2" * 16, "a=b")]
    assert root.attributes["pattern.artifacts"] == ("state/report.json",)
    assert (root.events[0].name, root.events[0].attributes["pattern.event.index"]) == ("pattern.selection.started", 0)
    assert SPANS[1].parent_span_id == root.span_id
    assert SPANS[1].is_internal


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({"code": 2}, "ERROR"),
        ({"code": "STATUS_CODE_ERROR", "message": "x"}, "ERROR"),
        ({"code": 1}, "OK"),
        ({"code": "STATUS_CODE_OK"}, "OK"),
        ({"code": 0}, "UNSET"),
        ({"code": [2]}, "UNSET"),
        ({}, "UNSET"),
        (None, "UNSET"),
    ],
)
def test_status_is_read_as_number_and_as_name(status: object, read: str) -> None:
    """OTLP writes numbers, protobuf's own JSON names; a status that is not there is not set."""
    assert read_trace(one_span(status=status)).spans[0].status == read


def test_request_in_protobuf_that_begins_like_text_is_read() -> None:
    """A request begins with a newline and the size of its first part, which may be that of `{`."""
    for size in range(100):
        request = TracesData()
        span = request.resource_spans.add().scope_spans.add().spans.add(name="x" * size)
        span.trace_id, span.span_id = bytes.fromhex(TRACE_ID), b"12345678"
        data = request.SerializeToString()
        assert [read.name for read in read_trace(data).spans] == ["x" * size]
        if data.startswith(b"\n{"):
            return
    pytest.fail("no request began so")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"stringValue": "x"}, "x"),
        ({"stringValue": "\ud800"}, "\ufffd"),
        ({"boolValue": False}, False),
        ({"intValue": "-9223372036854775808"}, -(2**63)),
        ({"intValue": 7}, 7),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "-Infinity"}, -math.inf),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"intValue": "2"}]}}, (1, 2)),
        ({"arrayValue": {}}, ()),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "2"}]}}, None),
        ({"kvlistValue": {"values": []}}, None),
        ({"bytesValue": "AA=="}, None),
        ({}, None),
        (None, None),
    ],
)
def test_attribute_is_read_as_the_projection_made_it(value: object, read: object) -> None:
    """Scalars and arrays of one type have their type; what no projection makes is left out."""
    (span,) = read_trace(one_span(attributes=[{"key": "k", "value": value}])).spans
    assert repr(span.attributes.get("k")) == repr(read)


def test_attributes_of_jaegers_query_are_left_out() -> None:
    """What Jaeger has to say about a span is no attribute of it."""
    attributes = [{"key": "@jaeger@warnings", "value": {"arrayValue": {"values": [{"stringValue": "no parent"}]}}}]
    (span,) = read_trace(one_span(attributes=attributes)).spans
    assert span.attributes == {}


def test_partial_trace_of_tempo_is_noted() -> None:
    """Tempo says when it gives only a part."""
    read = read_trace({"trace": HEX, "status": "PARTIAL", "message": "too large"})
    assert read.notes == ["Tempo returned only a part of the trace: too large"]


@pytest.mark.parametrize("empty", ['{"trace": {}}', '{"resourceSpans": []}', '{"data": []}', '{"resourceLogs": [{}]}'])
def test_trace_without_spans_is_empty(empty: str) -> None:
    """An id that Tempo does not know is an empty trace and no error."""
    assert read_trace(empty).spans == []


@pytest.mark.parametrize(
    ("trace", "field", "rule"),
    [
        ({"a": 1}, "document", "resourceSpans, batches, result, trace or data"),
        ({"result": 1}, "result", "an object"),
        ({"resourceSpans": {}}, "resourceSpans", "an array"),
        ({"resourceSpans": [1]}, "resourceSpans.0", "an object"),
        ({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}, "errors", "hold a trace"),
        (one_span(traceId="xyz"), "resourceSpans.0.scopeSpans.0.spans.0.traceId", "an id of 16 bytes"),
        (one_span(spanId="AAA=="), "resourceSpans.0.scopeSpans.0.spans.0.spanId", "an id of 8 bytes"),
        (one_span(name=1), "resourceSpans.0.scopeSpans.0.spans.0.name", "a string"),
        (one_span(startTimeUnixNano="now"), "resourceSpans.0.scopeSpans.0.spans.0.startTimeUnixNano", "an integer"),
        (one_span(startTimeUnixNano=0.5), "resourceSpans.0.scopeSpans.0.spans.0.startTimeUnixNano", "an integer"),
        (one_span(startTimeUnixNano=True), "resourceSpans.0.scopeSpans.0.spans.0.startTimeUnixNano", "an integer"),
        (one_span(endTimeUnixNano=-1), "resourceSpans.0.scopeSpans.0.spans.0.endTimeUnixNano", "from 0 to"),
        (
            one_span(attributes=[{"key": "k", "value": {"doubleValue": "x"}}]),
            "resourceSpans.0.scopeSpans.0.spans.0.attributes.0.value.doubleValue",
            "a number",
        ),
        ("", "document", "it is empty"),
        ("{", "document", "it must be JSON"),
        ('{"resourceLogs": []}\n{\n{}', "line 2", "it must be JSON"),
        ("[" * 100_000, "document", "nested too deeply"),
        (b"\xff\xfe", "document", "a trace"),
        (b"", "document", "a trace"),
        (gzip.compress(json.dumps(HEX).encode()), "document", "a trace"),
        (b'{"a": "\xff"}', "document", "UTF-8: byte 7"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_place(trace: Any, field: str, rule: str) -> None:
    """The error names the place, the value, the rule and the fix."""
    with pytest.raises(InvalidTraceError) as raised:
        read_trace(trace)
    assert raised.value.field == field
    assert rule in raised.value.rule
    assert raised.value.fix


@pytest.mark.parametrize(("text", "size", "wanted"), [("ABCDEF", 8, "0000000000abcdef"), ("", 8, ""), (None, 8, "")])
def test_id_is_lower_case_hex_of_its_whole_length(text: object, size: int, wanted: str) -> None:
    """Old programs leave out leading zeros; no id is an empty one."""
    assert Node({"id": text}).id("id", size) == wanted

"""Our protobuf bytes and the protobuf library's are the same for any spans."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.tracing.otlp import encode
from otel_patterns.tracing.trace import Attributes, Span, SpanEvent, SpanKind, SpanLink
from tests.encoding import encode_by_library

# Sizes around which a varint, a cache or a message of the length before it changes its form.
_long_texts: st.SearchStrategy[str] = st.tuples(st.text(min_size=1, max_size=3), st.integers(1, 20_000)).map(
    lambda drawn: drawn[0] * drawn[1]
)
_texts: st.SearchStrategy[str] = (
    st.sampled_from(["", "a", "é", "\0", "x" * 127, "y" * 128, "z" * 2000]) | st.text(max_size=40) | _long_texts
)
_int64 = st.sampled_from([0, 1, -1, 127, 128, 2**31, -(2**31), 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1)
_floats = st.sampled_from([0.0, -0.0, 1.0, math.nan, -math.nan, math.inf, -math.inf, 5e-324]) | st.floats()
_scalars: tuple[st.SearchStrategy[Any], ...] = (_texts, st.booleans(), _int64, _floats)
_values = st.one_of(*_scalars, *[st.lists(kind, max_size=4).map(tuple) for kind in _scalars])
# Few keys, so that 1, 1.0, True, and what equals them meet under one.
_keys = st.sampled_from(["", "k", "pattern.id"]) | _texts
_attributes: st.SearchStrategy[Attributes] = st.lists(st.tuples(_keys, _values), max_size=8).map(tuple)
_times = st.sampled_from([0, 1, 2**64 - 1]) | st.integers(0, 2**64 - 1)
_trace_ids = st.just("") | st.binary(min_size=16, max_size=16).map(bytes.hex)
_span_ids = st.just("") | st.binary(min_size=8, max_size=8).map(bytes.hex)
_spans = st.builds(
    Span,
    name=_texts,
    trace_id=_trace_ids,
    span_id=_span_ids,
    parent_span_id=_span_ids,
    parent_is_remote=st.booleans(),
    trace_state=_texts,
    kind=st.sampled_from(SpanKind),
    start_unix_nano=_times,
    end_unix_nano=_times,
    attributes=_attributes,
    events=st.lists(st.builds(SpanEvent, name=_texts, time_unix_nano=_times, attributes=_attributes), max_size=3).map(
        tuple
    ),
    links=st.lists(
        st.builds(SpanLink, trace_id=_trace_ids, span_id=_span_ids, trace_state=_texts, attributes=_attributes),
        max_size=2,
    ).map(tuple),
    failed=st.booleans(),
    status_description=_texts,
    closing_event_id=st.just("EVT-1"),
)


@settings(max_examples=300)
@given(_attributes, st.lists(_spans, max_size=4))
def test_encode_gives_the_bytes_of_the_protobuf_library(resource: Attributes, spans: list[Span]) -> None:
    """Whatever a span holds, the bytes are the library's; also the second time, from what was kept of the first."""
    expected = encode_by_library(resource, spans)
    assert encode(resource, spans) == expected
    assert encode(resource, iter(spans)) == expected


@pytest.mark.parametrize(
    "values",
    [
        (1, True, 1.0),
        (True, 1),
        (0.0, -0.0),
        (-0.0, 0.0, 0, False),
        ((1,), (True,), (1.0,)),
        ((0.0,), (-0.0,)),
        ((), ""),
    ],
)
def test_encode_keeps_values_apart_that_python_calls_equal(values: tuple[Any, ...]) -> None:
    """1, True and 1.0 are one key to a dict; what was kept of one must not be written for another."""
    for value in values:
        resource: Attributes = (("k", value),)
        assert encode(resource, ()) == encode_by_library(resource, ())


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 2**64, (2**63,), "\ud800", ("\udfff",)])
def test_encode_refuses_what_the_protobuf_library_refuses(value: Any) -> None:
    """What does not fit is an error, in both; it must not be cut to something else in silence."""
    for encoder in (encode, encode_by_library):
        with pytest.raises(ValueError):  # noqa: PT011  # the library's words are its own
            encoder((("k", value),), ())


def test_encode_of_ever_new_values_stays_right() -> None:
    """What is kept to be fast begins anew when it is full; the bytes stay the library's."""
    for number in range(10_000):
        resource: Attributes = (("number", number), (f"key-{number}", f"value-{number}"))
        if number % 500 == 0:
            assert encode(resource, ()) == encode_by_library(resource, ())
        else:
            encode(resource, ())

"""OTLP spans as protobuf bytes, written by hand: building the library's objects takes more than three times as long.

Fields stand in the order of their numbers and defaults are left out, so the bytes are those of the library's
deterministic serialization (a property test compares them). Field numbers: opentelemetry-proto 1.x, `trace.proto`,
`common.proto`, `resource.proto`, `trace_service.proto`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeVar

from ..model import names
from .trace import AttributeValue

if TYPE_CHECKING:
    from .trace import Attributes, Span, SpanEvent, SpanLink

_T = TypeVar("_T")

_CACHED_ITEMS: Final = 4096
_CACHED_BYTES: Final = 128
_UINT64: Final = 2**64 - 1
_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
# OTLP span flags: bit 8 says that bit 9 is meaningful, bit 9 that the parent is in another process.
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_STATUS_CODE_ERROR: Final = b"\x02"

_fixed32: Final = Struct("<I").pack
_fixed64: Final = Struct("<Q").pack
_double: Final = Struct("<d").pack


class _Cache(dict[_T, bytes]):
    """`cache[item]` is what `encode` makes of an item; for the keys, ids and words that come again and again.

    What is long is not kept, because it hardly comes again; when it is full, it begins anew.
    """

    def __init__(self, encode: Callable[[_T], bytes], *, limit: int = _CACHED_ITEMS) -> None:
        super().__init__()
        self._encode = encode
        self._limit = limit

    def __missing__(self, item: _T) -> bytes:
        encoded = self._encode(item)
        if len(encoded) <= _CACHED_BYTES and self._limit:
            if len(self) >= self._limit:
                self.clear()
            self[item] = encoded
        return encoded


def _varint(number: int) -> bytes:
    """Return an unsigned integer in groups of seven bits, the lowest first; the eighth bit says that more follow."""
    groups = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_VARINTS: Final = _Cache(_varint)


def _text(text: str) -> bytes:
    """Return a text behind its size."""
    data = text.encode()
    return _VARINTS[len(data)] + data


_TEXTS: Final = _Cache(_text)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


_VARINT: Final = 0
_FIXED64: Final = 1
_SIZED: Final = 2
_FIXED32: Final = 5

_REQUEST_RESOURCE_SPANS: Final = _tag(1, _SIZED)
_GROUP_RESOURCE: Final = _tag(1, _SIZED)
_GROUP_SCOPE_SPANS: Final = _tag(2, _SIZED)
_GROUP_SCHEMA_URL: Final = _tag(3, _SIZED)
_RESOURCE_ATTRIBUTES: Final = _tag(1, _SIZED)
_SCOPE_SPANS_SCOPE: Final = _tag(1, _SIZED)
_SCOPE_SPANS_SPANS: Final = _tag(2, _SIZED)
_SCOPE_SPANS_SCHEMA_URL: Final = _tag(3, _SIZED)
_SCOPE_NAME: Final = _tag(1, _SIZED)
_SCOPE_VERSION: Final = _tag(2, _SIZED)
_SPAN_TRACE_ID: Final = _tag(1, _SIZED)
_SPAN_SPAN_ID: Final = _tag(2, _SIZED)
_SPAN_TRACE_STATE: Final = _tag(3, _SIZED)
_SPAN_PARENT_SPAN_ID: Final = _tag(4, _SIZED)
_SPAN_NAME: Final = _tag(5, _SIZED)
_SPAN_KIND: Final = _tag(6, _VARINT)
_SPAN_START: Final = _tag(7, _FIXED64)
_SPAN_END: Final = _tag(8, _FIXED64)
_SPAN_ATTRIBUTES: Final = _tag(9, _SIZED)
_SPAN_EVENTS: Final = _tag(11, _SIZED)
_SPAN_LINKS: Final = _tag(13, _SIZED)
_SPAN_STATUS: Final = _tag(15, _SIZED)
_SPAN_FLAGS: Final = _tag(16, _FIXED32)
_EVENT_TIME: Final = _tag(1, _FIXED64)
_EVENT_NAME: Final = _tag(2, _SIZED)
_EVENT_ATTRIBUTES: Final = _tag(3, _SIZED)
_LINK_TRACE_ID: Final = _tag(1, _SIZED)
_LINK_SPAN_ID: Final = _tag(2, _SIZED)
_LINK_TRACE_STATE: Final = _tag(3, _SIZED)
_LINK_ATTRIBUTES: Final = _tag(4, _SIZED)
_STATUS_MESSAGE: Final = _tag(2, _SIZED)
_STATUS_CODE: Final = _tag(3, _VARINT)
_KEY: Final = _tag(1, _SIZED)
_VALUE: Final = _tag(2, _SIZED)
_VALUE_TEXT: Final = _tag(1, _SIZED)
_VALUE_BOOL: Final = _tag(2, _VARINT)
_VALUE_INT: Final = _tag(3, _VARINT)
_VALUE_DOUBLE: Final = _tag(4, _FIXED64)
_VALUE_ARRAY: Final = _tag(5, _SIZED)
_ARRAY_VALUES: Final = _tag(1, _SIZED)


def join_request(resource: bytes, spans: Iterable[bytes]) -> bytes:
    """Return an ExportTraceServiceRequest with one resource, our scope, and these spans, all of them encoded."""
    scope_spans = [SCOPE]
    for span in spans:
        scope_spans += (_SCOPE_SPANS_SPANS, _VARINTS[len(span)], span)
    scope_spans.append(SCOPE_SCHEMA)
    group = _sized(_GROUP_RESOURCE, resource) + _sized(_GROUP_SCOPE_SPANS, b"".join(scope_spans)) + GROUP_SCHEMA
    return _sized(_REQUEST_RESOURCE_SPANS, group)


def encode_resource(attributes: Attributes) -> bytes:
    """Return a Resource.

    Raises:
        ValueError: A text has no UTF-8 form, or an integer has more than 64 bits.
    """
    return _attributes(_RESOURCE_ATTRIBUTES, attributes)


def encode_span(span: Span) -> bytes:
    """Return a Span.

    Raises:
        ValueError: A text has no UTF-8 form, an integer has more than 64 bits, or an id is not hex.
    """
    parts = [
        _id(_SPAN_TRACE_ID, span.trace_id),
        _id(_SPAN_SPAN_ID, span.span_id),
        _word(_SPAN_TRACE_STATE, span.trace_state),
        _id(_SPAN_PARENT_SPAN_ID, span.parent_span_id),
        _word(_SPAN_NAME, span.name),
        # As a plain number: an enumeration is hashed by name, in Python.
        _SPAN_KIND + _VARINTS[int(span.kind)],
        _time(_SPAN_START, span.start_unix_nano),
        _time(_SPAN_END, span.end_unix_nano),
        _attributes(_SPAN_ATTRIBUTES, span.attributes),
    ]
    for event in span.events:
        data = _event(event)
        parts.append(_SPAN_EVENTS)
        parts.append(_VARINTS[len(data)])
        parts.append(data)
    if span.links:
        parts += [_sized(_SPAN_LINKS, _link(link)) for link in span.links]
    if span.failed:
        message = _word(_STATUS_MESSAGE, span.status_description)
        parts.append(_sized(_SPAN_STATUS, message + _STATUS_CODE + _STATUS_CODE_ERROR))
    parts.append(REMOTE_FLAGS if span.parent_is_remote else FLAGS)
    return b"".join(parts)


def _event(event: SpanEvent) -> bytes:
    return (
        _time(_EVENT_TIME, event.time_unix_nano)
        + _word(_EVENT_NAME, event.name)
        + _attributes(_EVENT_ATTRIBUTES, event.attributes)
    )


def _link(link: SpanLink) -> bytes:
    return (
        _id(_LINK_TRACE_ID, link.trace_id)
        + _id(_LINK_SPAN_ID, link.span_id)
        + _word(_LINK_TRACE_STATE, link.trace_state)
        + _attributes(_LINK_ATTRIBUTES, link.attributes)
    )


def _attributes(tag: bytes, attributes: Attributes) -> bytes:
    parts: list[bytes] = []
    for key, value in attributes:
        if type(value) is str:
            # Most of them. What stands before a text is the same for all texts of its size.
            data = value.encode()
            parts.append(_TEXT_HEADS[tag, key, len(data)])
            parts.append(data)
        else:
            parts.append(_ATTRIBUTES[type(value)][tag, key, value])
    return b"".join(parts)


def _text_head(kind: tuple[bytes, str, int]) -> bytes:
    """Return what stands before a text of this size in an attribute with this tag and key."""
    tag, key, size = kind
    head = _word(_KEY, key)
    text = _VALUE_TEXT + _varint(size)
    value = _VALUE + _varint(len(text) + size) + text
    return tag + _varint(len(head) + len(value) + size) + head + value


_TEXT_HEADS: Final = _Cache(_text_head)


def _attribute(attribute: tuple[bytes, str, AttributeValue]) -> bytes:
    """Return a KeyValue behind its tag and size."""
    tag, key, value = attribute
    return _sized(tag, _word(_KEY, key) + _sized(_VALUE, _value(value)))


# A cache for each type, because 1 and True are one key to a dict. So are 0.0 and -0.0, (1,) and (True,): no cache.
_NOT_CACHED: Final = _Cache(_attribute, limit=0)
_ATTRIBUTES: Final = defaultdict[type, _Cache["tuple[bytes, str, AttributeValue]"]](
    lambda: _NOT_CACHED, {kind: _Cache(_attribute) for kind in (int, bool)}
)


def _value(value: AttributeValue) -> bytes:
    """Return an AnyValue. Empty, zero and false are written too: the field says which kind it is."""
    if isinstance(value, str):
        return _VALUE_TEXT + _text(value)
    if isinstance(value, bool):
        return _VALUE_BOOL + _VARINTS[value]
    if isinstance(value, int):
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise ValueError(f"{value:#x} has more than 64 bits")
        # A negative one is its two's complement in 64 bits.
        return _VALUE_INT + _VARINTS[value & _UINT64]
    if isinstance(value, float):
        return _VALUE_DOUBLE + _double(value)
    return _sized(_VALUE_ARRAY, b"".join([_sized(_ARRAY_VALUES, _value(item)) for item in value]))


def _sized(tag: bytes, data: bytes) -> bytes:
    """Return a field with a message behind its size, also when it is empty."""
    return tag + _VARINTS[len(data)] + data


def _word(tag: bytes, text: str) -> bytes:
    return tag + _TEXTS[text] if text else b""


def _id(tag: bytes, digits: str) -> bytes:
    return tag + _VARINTS[len(digits) // 2] + bytes.fromhex(digits) if digits else b""


def _time(tag: bytes, unix_nano: int) -> bytes:
    return tag + _fixed64(unix_nano) if unix_nano else b""


FLAGS: Final = _SPAN_FLAGS + _fixed32(_HAS_IS_REMOTE)
REMOTE_FLAGS: Final = _SPAN_FLAGS + _fixed32(_HAS_IS_REMOTE | _IS_REMOTE)
SCOPE: Final = _sized(
    _SCOPE_SPANS_SCOPE, _word(_SCOPE_NAME, names.SCOPE_NAME) + _word(_SCOPE_VERSION, names.SCOPE_VERSION)
)
SCOPE_SCHEMA: Final = _word(_SCOPE_SPANS_SCHEMA_URL, names.SCHEMA_URL)
GROUP_SCHEMA: Final = _word(_GROUP_SCHEMA_URL, names.SCHEMA_URL)

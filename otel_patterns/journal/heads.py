"""Many lines in little time: msgspec decodes them, and the checks are made for a block of lines at once.

What is odd in any way is left to `parse_slowly`, which knows whether it is an event, and if not, why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import lt
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from ..model import names
from ..model.columns import are_ids, are_in_our_form, are_timestamps
from ..model.envelope import is_event
from ..model.record import EventRecord, decode_record, read_record, record_of
from ..model.times import read_timestamp
from ..model.values import as_object
from .lines import Line
from .parse import parse_slowly

# A number of more digits is none to Python (unless somebody changed that), but is passed over by msgspec.
_LONG_LINE: Final = 4300


class Details(msgspec.Struct, gc=False):
    """Those details that say at once how a run ended. Others are passed over."""

    operation_kind: Any = msgspec.UNSET
    error_type: Any = msgspec.UNSET
    exit_code: Any = msgspec.UNSET
    duration_seconds: Any = msgspec.UNSET
    result_summary: Any = msgspec.UNSET

    def outputs(self) -> dict[str, Any]:
        """Return those that are outputs, as far as they are there."""
        found: dict[str, Any] = {}
        if self.exit_code is not msgspec.UNSET:
            found["exit_code"] = self.exit_code
        if self.duration_seconds is not msgspec.UNSET:
            found["duration_seconds"] = self.duration_seconds
        if self.result_summary is not msgspec.UNSET:
            found["result_summary"] = self.result_summary
        return found


class Head(msgspec.Struct, gc=False):
    """An event with a few of its details."""

    event_id: str
    event_type: str
    timestamp: str
    job_id: str
    pattern_run_id: str
    pattern_id: str
    status: Literal["in_progress", "success", "failed", "warning", "skipped"]
    details: Details
    step_id: str | None = None


_STATUSES: Final = frozenset(names.EVENT_STATUSES)
_KNOWN: Final = frozenset(Details.__struct_fields__)
_decode: Final = msgspec.json.Decoder().decode
_decode_head: Final = msgspec.json.Decoder(Head).decode


def parse_document(line: Line) -> dict[str, Any]:
    """Return the event document of a line, the very one that `parse_slowly` returns, in a third of the time.

    Raises:
        ValueError: The line is no event; the message says why.
    """
    try:
        document = as_object(_decode(line.data))
        if document is not None and is_event(document):
            document.setdefault("step_id", None)
            return document
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # NaN, infinities, lone surrogates and a byte order mark are read as well.
        pass
    return parse_slowly(line)


def parse_record(line: Line) -> EventRecord:
    """Return the event of a line as a record: what `parse_document` says of it, in half of the time.

    Raises:
        ValueError: The line is no event; the message says why.
    """
    return read_record(line.data) or record_of(parse_document(line))


class Block(NamedTuple):
    """Events whose lines stand together from `start` to `end`.

    `in_our_form` tells whether all timestamps are written as `format_timestamp` writes them, `is_rising` whether each
    is later than the one before, and `is_distinct` whether each event has an id of its own.
    """

    heads: list[Head]
    start: int
    end: int
    in_our_form: bool
    is_rising: bool
    is_distinct: bool


def decode_block(start: int, data: bytes) -> Block | None:
    """Return the events of complete lines that stand at `start`; None when any line may be none."""
    decoded = _decode_lines(_decode_head, data)
    if decoded is None:
        return None
    heads, timestamps = decoded
    in_our_form = are_in_our_form(timestamps)
    event_ids = [head.event_id for head in heads]
    is_good = (in_our_form or are_timestamps(timestamps)) and _have_good_ids(event_ids, heads)
    return _block(heads, start, start + len(data), event_ids, timestamps, in_our_form=in_our_form) if is_good else None


def decode_records(data: bytes) -> list[EventRecord] | None:
    """Return the events of complete lines with all their details; None when any line may be none."""
    decoded = _decode_lines(decode_record, data)
    if decoded is None:
        return None
    records, timestamps = decoded
    for record, timestamp in zip(records, timestamps, strict=True):
        time = read_timestamp(timestamp)
        if time is None or record.time_unix_nano or record.status not in _STATUSES:
            return None
        record.time_unix_nano = time
    return records if _have_good_ids([record.event_id for record in records], records) else None


class _RunHead(msgspec.Struct, gc=False):
    pattern_run_id: str


_decode_run_heads: Final = msgspec.json.Decoder(_RunHead).decode_lines


def decode_run_ids(data: bytes) -> list[str] | None:
    """Return the run id of each of these lines and check nothing else; None when one may have none."""
    try:
        return [head.pattern_run_id for head in _decode_run_heads(data)]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


_Decoded = TypeVar("_Decoded", Head, EventRecord)


def _decode_lines(decode: Callable[[bytes], _Decoded], data: bytes) -> tuple[list[_Decoded], list[str]] | None:
    """Return what complete lines hold, and its timestamps; None when a line is no JSON object of that form."""
    lines = data.split(b"\n")
    # The data end with a newline: nothing stands behind it.
    lines.pop()
    try:
        decoded = list(map(decode, lines))
        if not data.isascii():
            # Of what is passed over msgspec checks everything but this and the length of numbers.
            data.decode("utf-8")
        if max(map(len, lines)) > _LONG_LINE:
            for line in lines:
                if len(line) > _LONG_LINE:
                    _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return decoded, [event.timestamp for event in decoded]


def _have_good_ids(event_ids: Sequence[str], events: Sequence[Head] | Sequence[EventRecord]) -> bool:
    return are_ids(
        event_ids,
        {event.pattern_run_id for event in events},
        {event.job_id for event in events},
        {event.pattern_id for event in events},
        {event.step_id for event in events},
    )


def block_of(found: Sequence[tuple[Line, dict[str, Any]]]) -> Block:
    """Return events that were parsed one by one, at least one."""
    heads = [_head_of(document) for _, document in found]
    timestamps = [head.timestamp for head in heads]
    event_ids = [head.event_id for head in heads]
    in_our_form = are_in_our_form(timestamps)
    return _block(heads, found[0][0].offset, found[-1][0].end, event_ids, timestamps, in_our_form=in_our_form)


def _block(
    heads: list[Head], start: int, end: int, event_ids: Sequence[str], timestamps: Sequence[str], *, in_our_form: bool
) -> Block:
    is_rising = in_our_form and all(map(lt, timestamps, timestamps[1:]))
    return Block(heads, start, end, in_our_form, is_rising, len(set(event_ids)) == len(heads))


def _head_of(document: dict[str, Any]) -> Head:
    details = Details(**{name: value for name, value in document["details"].items() if name in _KNOWN})
    return Head(**{key: document[key] for key in names.EVENT_KEYS if key != "details"}, details=details)

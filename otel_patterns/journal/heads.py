"""Many lines in little time: msgspec decodes them, and the checks are made for a block of lines at once.

What is odd in any way is left to `parse_slowly`, which knows whether it is an event, and if not, why.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import cache
from operator import lt
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar, cast

import msgspec

from ..compiled import compiled
from ..model import names
from ..model.columns import are_ids, are_in_our_form, are_timestamps
from ..model.envelope import is_event
from ..model.record import EventRecord, read_record, record_of
from ..model.times import read_timestamp
from ..model.values import as_object
from .lines import Line
from .parse import parse_slowly

# A number of more digits is none to Python (unless somebody changed that), but is passed over by msgspec.
_LONG_LINE: Final = 4300


if TYPE_CHECKING:
    _OurType = str
else:
    _OurType = Literal[names.EVENT_TYPES]


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
    # Ours: each is one text for all events, made and hashed once.
    event_type: _OurType
    timestamp: str
    job_id: str
    pattern_run_id: str
    pattern_id: str
    status: Literal["in_progress", "success", "failed", "warning", "skipped"]
    details: Details
    step_id: str | None = None


class _ForeignHead(Head, gc=False):
    """An event whose type need not be one of ours."""

    event_type: str


_STATUSES: Final = frozenset(names.EVENT_STATUSES)
_KNOWN: Final = frozenset(Details.__struct_fields__)
_decode: Final = msgspec.json.Decoder().decode
_NUMBER: Final = 10**9 + int.from_bytes(os.urandom(4), "big")
_SEPARATOR: Final = b",%d," % _NUMBER
_decode_heads: Final = msgspec.json.Decoder(list[Head | int]).decode
_decode_foreign_heads: Final = msgspec.json.Decoder(list[_ForeignHead | int]).decode
_decode_records: Final = msgspec.json.Decoder(list[EventRecord | int]).decode


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
    """Events whose lines stand together from `start` to `end`, all and those of each run.

    `in_our_form` tells whether all timestamps are written as `format_timestamp` writes them, `is_rising` whether each
    is later than the one before, and `is_distinct` whether each event has an id of its own.
    """

    heads: list[Head]
    by_run: dict[str, list[Head]]
    start: int
    end: int
    in_our_form: bool
    is_rising: bool
    is_distinct: bool


def decode_block(start: int, data: bytes) -> Block | None:
    """Return the events of complete lines that stand at `start`; None when any line may be none."""
    decoded = _decode_lines(_decode_heads, data) or _decode_lines(_decode_foreign_heads, data)
    if decoded is None:
        return None
    heads, timestamps = decoded
    in_our_form = are_in_our_form(timestamps)
    event_ids, by_run, job_ids, pattern_ids, step_ids = _quick_columns_of()(heads)
    if not (in_our_form or are_timestamps(timestamps)):
        return None
    if not are_ids(event_ids, by_run.keys(), job_ids, pattern_ids, step_ids):
        return None
    return _block(heads, by_run, start, start + len(data), event_ids, timestamps, in_our_form=in_our_form)


class Columns(NamedTuple):
    """What many events have, column by column, and the events of each run."""

    event_ids: list[str]
    by_run: dict[str, list[Head]]
    job_ids: set[str]
    pattern_ids: set[str]
    step_ids: set[str | None]


def columns_of(heads: list[Head]) -> Columns:
    """Return the columns of events."""
    by_run: defaultdict[str, list[Head]] = defaultdict(list)
    for head in heads:
        by_run[head.pattern_run_id].append(head)
    return Columns(
        [head.event_id for head in heads],
        by_run,
        {head.job_id for head in heads},
        {head.pattern_id for head in heads},
        {head.step_id for head in heads},
    )


@cache
def _quick_columns_of() -> Callable[[list[Head]], Columns]:
    # Loaded by whom it is asked for: who reads few events has no use for it.
    return compiled("journal._heads", "columns_of", columns_of)


def decode_records(data: bytes) -> list[EventRecord] | None:
    """Return the events of complete lines with all their details; None when any line may be none."""
    decoded = _decode_lines(_decode_records, data)
    if decoded is None:
        return None
    records, timestamps = decoded
    for record, timestamp in zip(records, timestamps, strict=True):
        time = read_timestamp(timestamp)
        if time is None or record.time_unix_nano or record.status not in _STATUSES:
            return None
        record.time_unix_nano = time
    are_good = are_ids(
        [record.event_id for record in records],
        {record.pattern_run_id for record in records},
        {record.job_id for record in records},
        {record.pattern_id for record in records},
        {record.step_id for record in records},
    )
    return records if are_good else None


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


def _decode_lines(
    decode: Callable[[bytes], list[_Decoded | int]], data: bytes
) -> tuple[list[_Decoded], list[str]] | None:
    """Return what complete lines hold, and its timestamps; None when a line is no JSON object of that form.

    As one array with a number behind each line: one call for all takes less time than to cut them apart. No journal
    knows the number, so each one that is found between two objects is a newline that stood there; and when all are,
    each line was one object.
    """
    array = b"[%b0]" % data.replace(b"\n", _SEPARATOR)
    newlines = (len(array) - len(b"[0]") - len(data)) // (len(_SEPARATOR) - 1)
    try:
        items = decode(array)
        items.pop()
        decoded = cast("list[_Decoded]", items[::2])
        # Of a line that is a number this raises.
        timestamps = [event.timestamp for event in decoded]
        if not data.isascii():
            # Of what is passed over msgspec checks everything but this and the length of numbers.
            data.decode("utf-8")
        if _may_have_long_lines(data):
            for line in data.split(b"\n"):
                if len(line) > _LONG_LINE:
                    _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError):
        return None
    if len(items) != 2 * newlines or items[1::2].count(_NUMBER) != newlines:
        return None
    return decoded, timestamps


def _may_have_long_lines(data: bytes) -> bool:
    """Tell whether a line may be so long: when not, there is a newline in each piece of half that length."""
    step = _LONG_LINE // 2
    return any(data.find(b"\n", start, start + step) < 0 for start in range(0, len(data), step))


def block_of(found: Sequence[tuple[Line, dict[str, Any]]]) -> Block:
    """Return events that were parsed one by one, at least one."""
    heads = [_head_of(document) for _, document in found]
    timestamps = [head.timestamp for head in heads]
    columns = columns_of(heads)
    in_our_form = are_in_our_form(timestamps)
    start, end = found[0][0].offset, found[-1][0].end
    return _block(heads, columns.by_run, start, end, columns.event_ids, timestamps, in_our_form=in_our_form)


def _block(
    heads: list[Head],
    by_run: dict[str, list[Head]],
    start: int,
    end: int,
    event_ids: Collection[str],
    timestamps: Sequence[str],
    *,
    in_our_form: bool,
) -> Block:
    is_rising = in_our_form and all(map(lt, timestamps, timestamps[1:]))
    return Block(heads, by_run, start, end, in_our_form, is_rising, len(set(event_ids)) == len(heads))


def _head_of(document: dict[str, Any]) -> Head:
    details = Details(**{name: value for name, value in document["details"].items() if name in _KNOWN})
    return Head(**{key: document[key] for key in names.EVENT_KEYS if key != "details"}, details=details)

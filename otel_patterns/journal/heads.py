"""Many lines in little time: msgspec decodes them, and the checks are made for a block of lines at once.

What is odd in any way is left to `parse_slowly`, which knows whether it is an event, and if not, why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from ..model import names
from ..model.columns import are_ids, are_in_our_form, are_timestamps
from ..model.envelope import is_event
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

    def known(self) -> dict[str, Any]:
        """Return those that are there."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not msgspec.UNSET}


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


class Block(NamedTuple):
    """Events whose lines stand together from `start` to `end`.

    `in_our_form` tells whether all timestamps are written as `format_timestamp` writes them.
    """

    heads: list[Head]
    start: int
    end: int
    in_our_form: bool


def decode_block(start: int, data: bytes) -> Block | None:
    """Return the events of complete lines that stand at `start`; None when any line may be none."""
    lines = data.split(b"\n")
    # The data end with a newline: nothing stands behind it.
    lines.pop()
    try:
        heads = list(map(_decode_head, lines))
        if not data.isascii():
            # Of what is passed over msgspec checks everything but this and the length of numbers.
            data.decode("utf-8")
        if max(map(len, lines)) > _LONG_LINE:
            for line in lines:
                if len(line) > _LONG_LINE:
                    _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    timestamps = [head.timestamp for head in heads]
    in_our_form = are_in_our_form(timestamps)
    are_good = (in_our_form or are_timestamps(timestamps)) and are_ids(
        [head.event_id for head in heads],
        {head.pattern_run_id for head in heads},
        {head.job_id for head in heads},
        {head.pattern_id for head in heads},
        {head.step_id for head in heads},
    )
    return Block(heads, start, start + len(data), in_our_form) if are_good else None


def block_of(found: Sequence[tuple[Line, dict[str, Any]]]) -> Block:
    """Return events that were parsed one by one, at least one."""
    return Block(
        [_head_of(document) for _, document in found],
        found[0][0].offset,
        found[-1][0].end,
        are_in_our_form([document["timestamp"] for _, document in found]),
    )


def _head_of(document: dict[str, Any]) -> Head:
    details = Details(**{name: value for name, value in document["details"].items() if name in _KNOWN})
    return Head(**{key: document[key] for key in names.EVENT_KEYS if key != "details"}, details=details)

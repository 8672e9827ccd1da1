"""What the projection computes in a faster way of its own equals what the slow way says."""

from __future__ import annotations

import shlex
from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.model.events import PatternEvent
from otel_patterns.model.fold import fold_run, in_order
from otel_patterns.model.outline import outline_of
from otel_patterns.model.times import format_timestamp
from otel_patterns.model.values import clean_text
from otel_patterns.tracing.outcome import executable_name
from otel_patterns.tracing.projection import prefix_of
from otel_patterns.tracing.recorded import attribute_of, attributes_of
from tests.property.strategies import RUN_IDS, json_values, streams


@settings(max_examples=300)
@given(streams(conflicts=False, run_ids=RUN_IDS[:1]))
def test_outline_is_the_same_part_of_the_run_as_the_fold_gives(stream: list[PatternEvent]) -> None:
    """What a trace shows of a run is what `PatternRun` says, for any events up to the one that ends it."""
    prefix = prefix_of(stream)
    note(f"ended: {prefix[-1].is_terminal}")
    if prefix[-1].is_terminal:
        run = fold_run(prefix)
        outline = outline_of(in_order(prefix), prefix[-1])
        parts = outline._asdict()
        assert format_timestamp(parts.pop("started_unix_nano")) == run.started_at
        assert repr(parts) == repr({name: getattr(run, name) for name in parts})


@settings(max_examples=300)
@given(st.dictionaries(st.text(max_size=3) | st.sampled_from(["\ud800", "a"]), json_values, max_size=4))
def test_attributes_of_an_object_are_those_of_its_members(members: dict[str, Any]) -> None:
    """What is taken as it is, because it is ASCII text, is what the whole rule says of it."""
    each = [(clean_text(key), attribute_of(value)) for key, value in members.items() if key]
    assert repr(attributes_of(members)) == repr(tuple(item for item in each if item[1] is not None))


def _executable_name_by_shlex(command: str) -> str | None:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for word in words:
        name, equals, _ = word.partition("=")
        if not (equals and name.isidentifier()):
            return word.rstrip("/").rpartition("/")[2] or None
    return None


_pieces: st.SearchStrategy[Any] = st.sampled_from(
    [
        " ",
        "\t",
        "\r\n",
        "\v",
        "\f",
        "\x1c",
        "\x85",
        "\xa0",
        "\u2003",
        "A=",
        "1=",
        "/",
        "'",
        '"',
        "\\",
        "#",
        ";",
        "x",
        "é",
    ]
)


@settings(max_examples=500)
@given(st.lists(_pieces, max_size=10).map("".join) | st.text(max_size=12))
def test_executable_name_is_that_of_shlex(command: str) -> None:
    """A command without quotes is split without shlex, with the same result: its blanks are not all that Python has."""
    assert executable_name(command) == _executable_name_by_shlex(command)

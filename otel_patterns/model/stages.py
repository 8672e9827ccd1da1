"""Stages of a run: which opening event and which closing event belong together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from . import names
from .record import Event

# A template has no event of its own for its start: it begins when the selection was resolved (or at least started).
OPENS: Final = {
    names.SELECTION_STARTED: names.SELECTION,
    names.VALIDATION_STARTED: names.VALIDATION,
    names.EXECUTION_STARTED: names.EXECUTION,
}
CLOSES: Final = {
    names.SELECTION_RESOLVED: names.SELECTION,
    names.SELECTION_FAILED: names.SELECTION,
    names.TEMPLATE_EXPANDED: names.TEMPLATE,
    names.VALIDATION_COMPLETED: names.VALIDATION,
    names.VALIDATION_FAILED: names.VALIDATION,
    names.EXECUTION_COMPLETED: names.EXECUTION,
    names.EXECUTION_FAILED: names.EXECUTION,
}


class Stage(NamedTuple):
    """One closed stage: its name and the two events that bound it."""

    name: str
    opening: Event
    closing: Event


def is_stage_closing(event_type: str) -> bool:
    """Tell whether an event of this type ends a stage."""
    return event_type in CLOSES


def pair_stages(events: Iterable[Event]) -> list[Stage]:
    """Return the closed stages of one run, in the order in which they close.

    The opening event is the latest preceding opener of that stage that no other closing event has taken;
    a closing event without one makes no stage. A stage depends only on the events up to its closing one.
    """
    openers: dict[str, Event] = {}
    stages: list[Stage] = []
    for event in events:
        event_type = event.event_type
        if event_type != names.SELECTION_FAILED and names.stage_of(event_type) == names.SELECTION:
            openers[names.TEMPLATE] = event
        if (stage := OPENS.get(event_type)) is not None:
            openers[stage] = event
        elif (stage := CLOSES.get(event_type)) is not None and (opening := openers.pop(stage, None)) is not None:
            stages.append(Stage(stage, opening, event))
    return stages

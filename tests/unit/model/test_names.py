"""The names: ten event types, their stages and statuses."""

import re

import pytest

from otel_patterns.model import names


def test_event_types_are_ten_in_lifecycle_order() -> None:
    """Starts come before ends, and stages in the order in which they happen."""
    assert len(names.EVENT_TYPES) == len(set(names.EVENT_TYPES)) == 10
    stages = [names.stage_of(event_type) for event_type in names.EVENT_TYPES]
    assert list(dict.fromkeys(stages)) == list(names.STAGES)
    assert stages == sorted(stages, key=names.STAGES.index)
    assert sorted(names.LIFECYCLE_RANK.values()) == list(range(10))


@pytest.mark.parametrize(
    ("event_type", "stage"),
    [
        ("pattern.execution.started", "execution"),
        ("pattern.cleanup.done", "cleanup"),
        ("pattern.execution", "pattern.execution"),
        ("pattern.execution.started.twice", "pattern.execution.started.twice"),
        ("other.execution.started", "other.execution.started"),
        ("", ""),
    ],
)
def test_stage_of_a_type_is_its_middle_part(event_type: str, stage: str) -> None:
    """A type without the form pattern.<stage>.<what> is its own stage."""
    assert names.stage_of(event_type) == stage


def test_run_statuses_are_those_of_events_and_pending() -> None:
    """A run is pending before its execution starts; no event is."""
    assert names.RUN_STATUSES == ("pending", "in_progress", "success", "failed", "warning", "skipped")
    assert set(names.RUN_STATUSES) - set(names.EVENT_STATUSES) == {"pending"}


def test_attribute_keys_are_unique_and_lower_case() -> None:
    """No key of an attribute is written twice under two names."""
    keys = [value for name, value in vars(names).items() if name.startswith("ATTR_")]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*\.?", key) for key in keys)

"""The pytest fixture `pattern_runs`.

It is named in a `conftest.py` and not found by an entry point: pytest would import it in every run of the environment,
and rewrite the assertions of this whole package for that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import CapturedRuns, capture_runs


@pytest.fixture
def pattern_runs() -> Iterator[CapturedRuns]:
    """Yield the runs that the test emits, with a clock that the test moves; see `capture_runs`."""
    with capture_runs() as captured:
        yield captured

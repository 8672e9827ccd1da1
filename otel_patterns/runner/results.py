"""What a run has to show."""

from __future__ import annotations

from typing import Any

from .lifecycle import Lifecycle


class Results:
    """What a run has to show, the same for the run and its execution. Both may be changed or assigned."""

    _lifecycle: Lifecycle

    @property
    def result_summary(self) -> dict[str, Any]:
        """What came out of it: members become outputs of the run. May be changed or assigned."""
        return self._lifecycle.result_summary

    @result_summary.setter
    def result_summary(self, value: dict[str, Any]) -> None:
        self._lifecycle.result_summary = value

    @property
    def artifacts(self) -> list[str]:
        """Paths of the files that the run made. May be changed or assigned."""
        return self._lifecycle.artifacts

    @artifacts.setter
    def artifacts(self, value: list[str]) -> None:
        self._lifecycle.artifacts = value

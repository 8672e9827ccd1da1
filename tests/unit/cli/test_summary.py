"""Details in one short line."""

from typing import Any

import pytest

from otel_patterns.cli.summary import summarize


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({}, ""),
        ({"otel": {"v": 1}, "stdout_preview": "x"}, ""),
        ({"duration_seconds": 2.5, "exit_code": 0}, "exit 0 · 2.50 s"),
        ({"exit_code": None, "error_type": "E", "error_message": "a\nb"}, "E · a …"),
        ({"artifacts": [], "result_summary": {}, "checks_failed": 0}, "0 failed"),
        ({"result_summary": {"findings": 3, "by": {"x": 1}}}, "findings 3"),
        ({"failed_checks": [{"check": "a", "error": "b"}, "c"]}, "a: b; c"),
        ({"candidate_patterns": ["PAT-A"], "checks": ["a", "b"]}, "1 candidate · 2 checks"),
        ({"variables_resolved": 4}, "4 variables"),
        ({"variables_resolved": {"a": 1}}, "1 variable"),
        ({"foreign": "x", "deep": {"a": 1}}, "foreign x"),
        ({"exit_code": {"odd": 1}, "duration_seconds": "soon", "failed_checks": 3}, 'exit {"odd": 1} · 3 · soon'),
        ({"command": "x" * 500}, "x" * 120 + "…"),
    ],
)
def test_summarize_details_puts_what_matters_first(details: dict[str, Any], shown: str) -> None:
    """Exit code, error and results come first, whatever the order and the types in the event; the rest follows."""
    assert summarize(details, " · ", "…") == shown

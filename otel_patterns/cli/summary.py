"""The details of an event in one short line: what matters most first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..model import names
from ..model.details import is_number
from ..model.values import as_list, as_object
from .moments import show_seconds
from .text import first_line, plain

# Shown as a whole elsewhere, or beside the summary.
_LEFT_OUT: Final = frozenset(
    {names.OTEL, "stdout_preview", "stderr_preview", "stdout_lines", "stderr_lines", "pattern_id", "working_dir"}
)
_LONGEST_PIECE: Final = 120


def _counted(word: str) -> Callable[[Any], str]:
    def render(value: object) -> str:
        members = as_object(value)
        items = as_list(value) if members is None else list(members)
        number = value if items is None else len(items)
        return f"{plain(number)} {word}" + ("" if number == 1 else "s")

    return render


def _members(value: object) -> str:
    members = as_object(value)
    if members is None:
        return plain(value)
    return ", ".join(
        f"{name} {first_line(plain(member))}"
        for name, member in members.items()
        if not isinstance(member, (dict, list))
    )


def _failed_checks(value: object) -> str:
    checks = as_list(value)
    return plain(value) if checks is None else "; ".join(_failed_check(check) for check in checks)


def _failed_check(check: object) -> str:
    members = as_object(check)
    if members is None:
        return plain(check)
    return f"{plain(members.get('check'))}: {first_line(plain(members.get('error')))}"


def _seconds(value: Any) -> str:
    return show_seconds(value) if is_number(value) and abs(value) < _MOST_SECONDS else plain(value)


_MOST_SECONDS: Final = 1e12
# In the order in which they are shown; what is not here follows as `name value`.
_PIECES: Final[Mapping[str, Callable[[Any], str]]] = {
    "exit_code": lambda value: f"exit {plain(value)}",
    "error_type": plain,
    "error_message": plain,
    "reason": plain,
    "error": plain,
    "failed_checks": _failed_checks,
    "result_summary": _members,
    "checks_failed": lambda value: f"{plain(value)} failed",
    "checks_passed": lambda value: f"{plain(value)} passed",
    "warnings": _counted("warning"),
    "duration_seconds": _seconds,
    "command": plain,
    "operation_kind": plain,
    "selection_method": plain,
    "candidate_patterns": _counted("candidate"),
    "attempted_patterns": _counted("attempt"),
    "inputs_preview": _members,
    "context": _members,
    "validation_type": plain,
    "checks": _counted("check"),
    "variables_resolved": _counted("variable"),
    "generated_artifacts": _counted("artifact"),
    "artifacts": _counted("artifact"),
    "command_preview": plain,
}


def summarize(details: Mapping[str, Any], separator: str, ellipsis: str) -> str:
    """Return the details of an event in one line, not yet cut to any width and not yet safe."""
    # Null and what is empty say nothing in a summary; 0 does.
    pieces = [render(details[name]) for name, render in _PIECES.items() if details.get(name) not in (None, [], {})]
    pieces += [
        f"{name} {plain(value)}"
        for name, value in details.items()
        if name not in _PIECES and name not in _LEFT_OUT and not isinstance(value, (dict, list))
    ]
    lines = (first_line(piece[: 2 * _LONGEST_PIECE], ellipsis) for piece in pieces)
    return separator.join(
        line if len(line) <= _LONGEST_PIECE else line[:_LONGEST_PIECE] + ellipsis for line in lines if line
    )

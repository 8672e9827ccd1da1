"""The details of each event type: one table, from which both the check and the JSON Schema are made.

`required` is what the "Required Details" column of the integration guide's event table asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from ..errors import MISSING, Problem
from . import names
from .values import as_list, as_object


class Kind:
    """What a detail may be: in words, as JSON Schema, and as a predicate over JSON values. They accept the same.

    `usual` is a type of which every value is accepted, if there is one: asking for it is quicker.
    """

    def __init__(
        self, words: str, schema: Mapping[str, Any], accepts: Callable[[Any], bool], usual: type | None = None
    ) -> None:
        self.words = words
        self.schema = schema
        self.accepts = accepts
        self.usual = usual


def is_number(value: object) -> TypeGuard[int | float]:
    """Tell whether `value` is a JSON number (True and False are not)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_integer(value: object) -> TypeGuard[int | float]:
    """Tell whether `value` is an integer as JSON Schema means it: `1.0` is one, true is not."""
    return is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_texts(value: object) -> bool:
    if (items := as_list(value)) is None:
        return False
    for item in items:  # noqa: SIM110  # half of the types have such a detail, and a loop begins sooner than a generator
        if not isinstance(item, str):
            return False
    return True


def _is_failed_checks(value: object) -> bool:
    checks = as_list(value)
    return checks is not None and all(
        (members := as_object(check)) is not None
        and isinstance(members.get("check"), str)
        and isinstance(members.get("error"), str)
        for check in checks
    )


TEXT: Final = Kind("a string", {"type": "string"}, lambda value: isinstance(value, str), str)
INTEGER: Final = Kind("an integer", {"type": "integer"}, is_integer, int)
NUMBER: Final = Kind("a number", {"type": "number"}, is_number, float)
OBJECT: Final = Kind("an object", {"type": "object"}, lambda value: isinstance(value, dict), dict)
TEXTS: Final = Kind("an array of strings", {"type": "array", "items": {"type": "string"}}, _is_texts)
METHOD: Final = Kind(
    "explicit, auto or fallback",
    {"enum": ["explicit", "auto", "fallback"]},
    lambda value: isinstance(value, str) and value in ("explicit", "auto", "fallback"),
)
FAILED_CHECKS: Final = Kind(
    'an array of {"check": string, "error": string}',
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["check", "error"],
            "properties": {"check": {"type": "string"}, "error": {"type": "string"}},
        },
    },
    _is_failed_checks,
)
# A number of resolved variables in the guide's code, the variables themselves in some logs of the field.
COUNT_OR_OBJECT: Final = Kind(
    "an integer or an object",
    {"anyOf": [{"type": "integer"}, {"type": "object"}]},
    lambda value: is_integer(value) or isinstance(value, dict),
)
# An exit code is null when no process ran: a missing command, an exception in Python.
EXIT_CODE: Final = Kind(
    "an integer or null",
    {"type": ["integer", "null"]},
    lambda value: value is None or is_integer(value),
)


class Detail(NamedTuple):
    """One known detail of an event type."""

    name: str
    kind: Kind
    required: bool = False


def _details(**known: Kind | tuple[Kind]) -> tuple[Detail, ...]:
    # A kind in a one-element tuple is required: keeps the table below readable.
    return tuple(
        Detail(name, kind[0], required=True) if isinstance(kind, tuple) else Detail(name, kind)
        for name, kind in known.items()
    )


DETAILS: Final[Mapping[str, tuple[Detail, ...]]] = {
    names.SELECTION_STARTED: _details(operation_kind=(TEXT,), candidate_patterns=(TEXTS,), context=OBJECT),
    names.SELECTION_RESOLVED: _details(
        pattern_id=(TEXT,), selection_method=(METHOD,), inputs_preview=(OBJECT,), operation_kind=TEXT
    ),
    names.SELECTION_FAILED: _details(reason=(TEXT,), attempted_patterns=(TEXTS,), operation_kind=TEXT, error=TEXT),
    names.TEMPLATE_EXPANDED: _details(
        variables_resolved=(COUNT_OR_OBJECT,), generated_artifacts=(TEXTS,), template_version=TEXT, command_preview=TEXT
    ),
    names.VALIDATION_STARTED: _details(validation_type=(TEXT,), checks=(TEXTS,)),
    names.VALIDATION_COMPLETED: _details(
        checks_passed=(INTEGER,), checks_failed=(INTEGER,), validation_type=TEXT, warnings=TEXTS
    ),
    names.VALIDATION_FAILED: _details(
        failed_checks=(FAILED_CHECKS,), validation_type=TEXT, checks_passed=INTEGER, checks_failed=INTEGER
    ),
    names.EXECUTION_STARTED: _details(
        executor=(TEXT,),
        command=(TEXT,),
        working_dir=TEXT,
        timeout_seconds=NUMBER,
        tool_name=TEXT,
        tool_version=TEXT,
    ),
    names.EXECUTION_COMPLETED: _details(
        exit_code=(INTEGER,),
        duration_seconds=(NUMBER,),
        result_summary=(OBJECT,),
        artifacts=(TEXTS,),
        stdout_lines=INTEGER,
        stderr_lines=INTEGER,
    ),
    names.EXECUTION_FAILED: _details(
        exit_code=(EXIT_CODE,),
        error_type=(TEXT,),
        error_message=(TEXT,),
        duration_seconds=NUMBER,
        stdout_preview=TEXT,
        stderr_preview=TEXT,
    ),
}


CHECKS: Final = {
    event_type: tuple((detail.name, detail.required, detail.kind.usual, detail.kind.accepts) for detail in details)
    for event_type, details in DETAILS.items()
}


def fits_details(event_type: str, details: Mapping[str, Any]) -> bool:
    """Tell whether `check_details` would yield nothing; asked of every event that is written, so it makes no words."""
    value_of = details.get
    for name, required, usual, accepts in CHECKS.get(event_type, ()):
        value = value_of(name, MISSING)
        if type(value) is usual:
            continue
        if (value is MISSING and required) or (value is not MISSING and not accepts(value)):
            return False
    return True


def check_details(event_type: str, details: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is missing from, or wrongly typed in, the details of an event type; nothing for an unknown type."""
    for detail in DETAILS.get(event_type, ()):
        pointer = f"/details/{detail.name}"
        if detail.name not in details:
            if detail.required:
                yield Problem(
                    pointer,
                    MISSING,
                    f"{event_type} requires it, {detail.kind.words}",
                    f"Pass details={{{detail.name!r}: …}}.",
                )
        elif not detail.kind.accepts(details[detail.name]):
            value = details[detail.name]
            yield Problem(pointer, value, f"it must be {detail.kind.words}", f"Pass {detail.kind.words}.")

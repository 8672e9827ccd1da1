"""Errors carry what went wrong as data, and saying so never fails."""

import pytest

from otel_patterns.errors import (
    MISSING,
    InvalidDocumentError,
    InvalidEventError,
    InvalidRunError,
    OtelPatternsError,
    Problem,
    shorten,
)
from tests.nasty import NASTY, ReprRaises


def test_problem_says_field_value_rule_and_fix() -> None:
    """The field is written as people write it, with dots."""
    problem = Problem("/details/checks", 7, "it must be an array of strings", "Pass an array of strings.")
    assert problem.field == "details.checks"
    assert str(problem) == "details.checks is 7: it must be an array of strings. Pass an array of strings."


def test_problem_of_the_whole_document_is_named_so() -> None:
    """The empty pointer is the document, and a value that is not there is called missing."""
    assert Problem("", None, "rule", "fix").field == "document"
    assert str(Problem("/a", MISSING, "rule", "Fix.")) == "a is missing: rule. Fix."


@pytest.mark.parametrize("kind", [InvalidEventError, InvalidRunError])
def test_invalid_document_error_gives_its_first_problem(kind: type[InvalidDocumentError]) -> None:
    """Field, value, rule and fix are those of the first problem; the message has all."""
    problems = [Problem("/a", 1, "rule a", "Fix a."), Problem("/b", 2, "rule b", "Fix b.")]
    error = kind(problems)
    assert (error.field, error.value, error.rule, error.fix) == ("a", 1, "rule a", "Fix a.")
    assert error.problems == tuple(problems)
    assert str(error) == "a is 1: rule a. Fix a.; b is 2: rule b. Fix b."
    assert isinstance(error, OtelPatternsError)


def test_shorten_cuts_a_long_value() -> None:
    """A message stays readable when a whole log was passed as a status."""
    assert shorten("x" * 200) == "'" + "x" * 118 + "…"
    assert len(shorten("x" * 200)) == 120
    assert shorten("x" * 200, limit=5) == "'xxx…"
    assert shorten("x" * 118) == repr("x" * 118)


@pytest.mark.parametrize("index", range(len(NASTY)), ids=[type(value).__name__ for value in NASTY])
def test_shorten_of_a_nasty_value_never_raises(index: int) -> None:
    """The message about a caller's mistake is made, whatever the mistaken value does."""
    assert 0 < len(shorten(NASTY[index])) <= 120


def test_shorten_of_a_value_without_repr_names_its_type() -> None:
    """What cannot be shown is at least named."""
    assert shorten(ReprRaises()) == "<ReprRaises whose repr raises>"

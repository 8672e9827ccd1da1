"""Model and schema accept the same documents, in both directions (design section 3)."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings

from otel_patterns.errors import InvalidEventError, InvalidRunError
from otel_patterns.model.envelope import check_event
from otel_patterns.model.events import PatternEvent, check_strict
from otel_patterns.model.runs import PatternRun, check_run
from tests.property.strategies import event_documents, json_values, run_documents
from tests.schemas import LENIENT_EVENT, RUN, STRICT_EVENT

# Of each verdict at least so many documents must have been seen, or the equivalence says nothing.
ENOUGH = 100


def test_strict_check_and_schema_accept_the_same_events() -> None:
    """The strict check finds nothing exactly when the event schema is satisfied."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(event_documents())
    def check(document: dict[str, Any]) -> None:
        problems = list(check_event(document, strict=True))
        assert STRICT_EVENT.accepts(document) is (problems == []), STRICT_EVENT.problems(document)
        verdicts[problems == []] += 1

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


def test_lenient_check_envelope_schema_and_model_accept_the_same_events() -> None:
    """The lenient check, the envelope's schema and PatternEvent give one verdict."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(event_documents())
    def check(document: dict[str, Any]) -> None:
        problems = list(check_event(document))
        accepted = LENIENT_EVENT.accepts(document)
        assert accepted is (problems == []), LENIENT_EVENT.problems(document)
        verdicts[accepted] += 1
        if not accepted:
            with pytest.raises(InvalidEventError) as caught:
                PatternEvent.model_validate(document)
            assert repr(caught.value.problems) == repr(tuple(problems))
            return
        event = PatternEvent.model_validate(document)
        assert repr(event.to_dict()) == repr(PatternEvent.from_document(document).to_dict())
        assert repr(event.details) == repr(document["details"])
        assert (check_strict(event) == []) is STRICT_EVENT.accepts(document)

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


def test_event_of_a_foreign_log_is_accepted_with_any_text_as_type() -> None:
    """from_document refuses what the lenient check refuses, but for unknown event types."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=300)
    @given(event_documents())
    def check(document: dict[str, Any]) -> None:
        accepted = LENIENT_EVENT.accepts({**document, "event_type": "pattern.execution.started"})
        accepted = accepted and isinstance(document.get("event_type"), str)
        verdicts[accepted] += 1
        if accepted:
            event = PatternEvent.from_document(document)
            assert LENIENT_EVENT.accepts({**event.to_dict(), "event_type": "pattern.execution.started"})
        else:
            with pytest.raises(InvalidEventError):
                PatternEvent.from_document(document)

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH // 2


def test_check_model_and_schema_accept_the_same_runs() -> None:
    """The check of a run, PatternRun and the run schema give one verdict."""
    verdicts: Counter[bool] = Counter()

    @settings(max_examples=600)
    @given(run_documents())
    def check(document: dict[str, Any]) -> None:
        problems = check_run(document)
        accepted = RUN.accepts(document)
        assert accepted is (problems == []), RUN.problems(document)
        verdicts[accepted] += 1
        if not accepted:
            with pytest.raises(InvalidRunError) as caught:
                PatternRun.from_document(document)
            assert repr(caught.value.problems) == repr(tuple(problems))
            return
        run = PatternRun.from_document(document)
        assert RUN.accepts(run.to_dict())
        assert check_run(run.to_dict()) == []
        given_keys = {key: value for key, value in document.items() if key in run.to_dict()}
        assert repr({key: run.to_dict()[key] for key in given_keys}) == repr(given_keys)

    check()
    assert min(verdicts[True], verdicts[False]) >= ENOUGH


@settings(max_examples=100)
@given(json_values)
def test_any_json_is_judged_alike(document: object) -> None:
    """A document that is nothing like an event or a run gets one verdict from all."""
    assert STRICT_EVENT.accepts(document) is (list(check_event(document, strict=True)) == [])
    assert RUN.accepts(document) is (check_run(document) == [])

"""What becomes of parcels when their request is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from otel_patterns.tracing.answers import Answer
from otel_patterns.tracing.otlp import encode, encode_run, single_spans
from otel_patterns.tracing.parcels import MAX_REFUSALS, Parcel, pack, send
from otel_patterns.tracing.projection import project
from tests.receiver import spans_of
from tests.streams import Stream, semgrep_run


class Scripted:
    """A sender that answers by what a request holds."""

    destination = "test"

    def __init__(self, answer: Callable[[set[str]], Answer]) -> None:
        self._answer = answer
        self.requests: list[set[str]] = []

    def send(self, body: bytes, *, timeout_seconds: float | None = None) -> Answer:
        """Keep the ids of the spans and answer."""
        del timeout_seconds
        self.requests.append({span.span_id.hex() for _, span in spans_of(body)})
        return self._answer(self.requests[-1])


def parcels_of(runs: int) -> list[Parcel]:
    """Return a parcel for each of so many runs, with all its spans."""
    made: list[Parcel] = []
    for number in range(1, runs + 1):
        run = encode_run(semgrep_run(Stream(f"PRUN-{number:026d}")))
        assert run is not None
        made.append(pack(run, run.spans))
    return made


def outcome(sender: Scripted, parcels: list[Parcel], seconds: float | None = None) -> dict[str, str]:
    """Send, and return what became of each span."""
    return {
        span_id: answer.kind
        for part, answer in send(sender, parcels, lambda: seconds)
        for parcel in part
        for span_id in parcel.span_ids
    }


def refusing(poison: set[str], kind: str = "refused") -> Callable[[set[str]], Answer]:
    """Return the answers of a receiver that does not want some spans."""
    return lambda spans: Answer(kind, "bad span") if spans & poison else Answer("acknowledged")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", ["refused", "too_large", "failed"])
def test_poison_span_is_found_and_its_neighbours_are_taken(kind: str) -> None:
    """One span among thirty runs is singled out in a few requests; all others are acknowledged, once."""
    parcels = parcels_of(30)
    poison = parcels[17].span_ids[2]
    sender = Scripted(refusing({poison}, kind))
    outcomes = outcome(sender, parcels)
    assert outcomes == {
        span_id: kind if span_id == poison else "acknowledged" for parcel in parcels for span_id in parcel.span_ids
    }
    taken = [span_id for spans in sender.requests if poison not in spans for span_id in spans]
    assert len(taken) == len(set(taken))
    assert len(sender.requests) < 20


def test_single_spans_are_the_same_bytes_as_their_request() -> None:
    """A span that is sent alone has resource, scope and every byte that it has beside the others."""
    trace = project(semgrep_run())
    assert trace is not None
    alone = dict(single_spans(encode(trace.resource, trace.spans)))
    assert alone == {span.span_id: encode(trace.resource, [span]) for span in trace.spans}


@pytest.mark.parametrize("kind", ["retry", "misconfigured"])
def test_answer_about_the_receiver_ends_the_sending(kind: str) -> None:
    """After a time-out or a wrong password in the middle of a split nothing more is sent, and nothing is forgotten."""
    parcels = parcels_of(8)
    poison = parcels[0].span_ids[0]

    def answer(spans: set[str]) -> Answer:
        if len(sender.requests) == 4:
            return Answer(kind)  # pyright: ignore[reportArgumentType]
        return refusing({poison})(spans)

    sender = Scripted(answer)
    outcomes = outcome(sender, parcels)
    assert len(sender.requests) == 4
    assert outcomes.keys() == {span_id for parcel in parcels for span_id in parcel.span_ids}
    assert kind in outcomes.values()


def test_receiver_that_refuses_everything_parks_nothing() -> None:
    """It does not mean the spans: they are kept, in a bounded number of requests."""
    parcels = parcels_of(100)
    sender = Scripted(lambda _spans: Answer("refused", "no"))
    assert set(outcome(sender, parcels).values()) == {"misconfigured"}
    assert len(sender.requests) < 40


def test_receiver_that_takes_some_may_refuse_many() -> None:
    """Once something was taken, each refusal counts for its span."""
    parcels = parcels_of(MAX_REFUSALS * 3)
    poison = {parcel.span_ids[0] for parcel in parcels}
    outcomes = outcome(Scripted(refusing(poison)), parcels)
    assert {span_id for span_id, kind in outcomes.items() if kind == "refused"} == poison


def test_rejected_request_is_not_sent_again() -> None:
    """A partial success must not be retried; which spans were meant nobody says."""
    sender = Scripted(lambda _spans: Answer("rejected", "no", rejected_spans=1))
    assert set(outcome(sender, parcels_of(3)).values()) == {"rejected"}
    assert len(sender.requests) == 1


def test_without_time_nothing_is_sent() -> None:
    """At exit the rest stays owed."""
    sender = Scripted(refusing(set()))
    assert set(outcome(sender, parcels_of(2), 0.0).values()) == {"retry"}
    assert sender.requests == []

"""Identity: trace and span ids that anyone can compute from a run id."""

import hashlib

import pytest

from otel_patterns.clock import encode_ulid
from otel_patterns.model.ids import span_id, trace_id, ulid_number, ulid_unix_nano

ZERO = "0" * 26
# The example of the ULID specification, and its bits as other implementations print them.
SPECIFIED, SPECIFIED_HEX = "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01563e3ab5d3d6764c61efb99302bd5b"


@pytest.mark.parametrize(
    ("ulid", "number"),
    [
        (SPECIFIED, int(SPECIFIED_HEX, 16)),
        ("0" * 25 + "1", 1),
        ("0" * 25 + "Z", 31),
        ("0" * 24 + "10", 32),
        ("7" + "Z" * 25, 2**128 - 1),
        ("0000000001" + "0" * 16, 1 << 80),
    ],
)
def test_ulid_number_is_the_128_bits(ulid: str, number: int) -> None:
    """Crockford base 32, five bits a character, the first character three."""
    assert ulid_number(ulid) == number
    assert encode_ulid(number) == ulid


@pytest.mark.parametrize(
    "text",
    [
        ZERO,
        "8" + "0" * 25,
        SPECIFIED.lower(),
        SPECIFIED[:-1],
        SPECIFIED + "0",
        SPECIFIED + "\n",
        *("0" * 25 + letter for letter in "ILOU"),
        "",
        "TEST-001",
        "\u0661" * 26,
    ],
)
def test_ulid_number_of_what_is_no_ulid_is_none(text: str) -> None:
    """Lower case, I, L, O, U, more than 128 bits and zero are no ULIDs: a trace id must be 16 bytes and not zero."""
    assert ulid_number(text) is None
    assert ulid_unix_nano(f"PRUN-{text}") is None


def test_ulid_unix_nano_is_the_time_in_the_run_id() -> None:
    """The first 48 bits of a ULID are milliseconds since 1970."""
    assert ulid_unix_nano("PRUN-0000000001" + "0" * 16) == 1_000_000
    assert ulid_unix_nano(f"PRUN-{SPECIFIED}") == 0x01563E3AB5D3 * 1_000_000


def test_trace_id_of_a_ulid_is_its_bits_in_hex() -> None:
    """Anyone who knows a run id knows its trace; the job has no part in it."""
    assert trace_id("JOB-1", f"PRUN-{SPECIFIED}") == SPECIFIED_HEX
    assert trace_id("JOB-2", f"PRUN-{SPECIFIED}") == SPECIFIED_HEX
    assert trace_id("JOB-1", "PRUN-" + "0" * 25 + "1") == "0" * 31 + "1"


@pytest.mark.parametrize("run_id", ["PRUN-TEST-001", f"PRUN-{ZERO}", f"PRUN-{SPECIFIED.lower()}", "PRUN-8" + "0" * 25])
def test_trace_id_of_another_run_id_is_hashed_with_the_job(run_id: str) -> None:
    """Ids like PRUN-TEST-001 repeat from job to job, so their traces differ by job."""
    first, second = trace_id("JOB-1", run_id), trace_id("JOB-2", run_id)
    assert first != second
    assert len(first) == len(second) == 32
    assert int(first, 16) != 0
    assert trace_id("JOB-1", run_id) == first


def test_trace_id_of_another_run_id_is_the_specified_hash() -> None:
    """SHA-256 over the parts, each behind its length in four bytes; the golden values must never change."""
    parts = (b"otel_patterns/trace/1", b"JOB-TEST-001", b"PRUN-TEST-001")
    encoded = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    assert trace_id("JOB-TEST-001", "PRUN-TEST-001") == hashlib.sha256(encoded).hexdigest()[:32]
    assert trace_id("JOB-TEST-001", "PRUN-TEST-001") == "a9d5b24dcc224cb52862a4976c406f19"


def test_trace_id_of_parts_that_join_alike_differ() -> None:
    """The length prefix keeps ("1", "23") and ("12", "3") apart."""
    assert trace_id("1", "23") != trace_id("12", "3")
    assert span_id("1", "23") != span_id("12", "3")
    assert span_id("1", "2", "3") != span_id("1", "23")
    assert span_id("1", "", "2") != span_id("1", "2", "")


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (("root",), "1e58e594dae4880d"),
        (("marker",), "ba4e4a92b2401fbd"),
        (("stage", "execution", "EVT-1"), "3c921d2ec961dde9"),
    ],
)
def test_span_id_of_each_role_is_stable(role: tuple[str, ...], expected: str) -> None:
    """Span ids are a function of run id and role; the golden values must never change, or replays would differ."""
    assert span_id(f"PRUN-{SPECIFIED}", *role) == expected


def test_span_id_of_another_stage_or_opening_event_differs() -> None:
    """A second validation is a second span."""
    roles = [("root",), ("marker",), ("stage", "validation", "EVT-1"), ("stage", "validation", "EVT-2")]
    roles.append(("stage", "execution", "EVT-1"))
    assert len({span_id("PRUN-1", *role) for role in roles} | {span_id("PRUN-2", *role) for role in roles}) == 10


def test_hash_that_is_zero_is_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero ids are invalid in W3C and OTLP: such a hash is hashed until it is another."""
    hashed: list[bytes] = []

    class FirstTwoZero:
        def __init__(self, data: bytes) -> None:
            hashed.append(data)

        def digest(self) -> bytes:
            # The second is zero in the bytes that count only.
            return [b"\x00" * 32, b"\x00" * 16 + b"\x01" * 16, b"\x02" * 32][len(hashed) - 1]

    monkeypatch.setattr(hashlib, "sha256", FirstTwoZero)
    assert trace_id("JOB-1", "PRUN-1") == "02" * 16
    assert hashed[1:] == [b"\x00" * 32, b"\x00" * 16 + b"\x01" * 16]


def test_id_with_a_lone_surrogate_is_hashed_all_the_same() -> None:
    """A role from a damaged log may hold one; projecting it must not raise."""
    assert span_id("PRUN-1", "stage", "execution", "\ud800") != span_id("PRUN-1", "stage", "execution", "\ufffd")

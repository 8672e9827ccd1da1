"""Identity: which ids are good, and the trace and span ids that follow from them (design section 2, invariant 3)."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from types import ModuleType
from typing import Final

_SUFFIX: Final = "[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
EVENT_ID_PATTERN: Final = f"^EVT-{_SUFFIX}$"
RUN_ID_PATTERN: Final = f"^PRUN-{_SUFFIX}$"
JOB_ID_PATTERN: Final = f"^JOB-{_SUFFIX}$"
STEP_ID_PATTERN: Final = f"^STEP-{_SUFFIX}$"
PATTERN_ID_PATTERN: Final = "^PAT-[A-Z0-9-]+$"

_ULID: Final = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")
# A ULID is written in Crockford's digits, Python reads 0 to 9 and A to V. Bytes are translated sooner than text.
_DIGITS: Final = bytes.maketrans(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", b"0123456789ABCDEFGHIJKLMNOPQRSTUV")
_ULID_RANDOM_BITS: Final = 80


@lru_cache(256)
def ulid_number(text: str) -> int | None:
    """Return the 128 bits of a ULID, or None when `text` is no ULID or zero (a trace id must not be zero)."""
    # Remembered, because it is asked for when a run begins, when it is projected and when it is sent.
    if _ULID.fullmatch(text) is None:
        return None
    return int(text.encode().translate(_DIGITS), 32) or None


def ulid_unix_nano(run_id: str) -> int | None:
    """Return the time inside a `PRUN-<ULID>`, in nanoseconds since 1970; None when the run id is no ULID."""
    number = ulid_number(run_id.removeprefix("PRUN-"))
    return None if number is None else (number >> _ULID_RANDOM_BITS) * 1_000_000


def trace_id(job_id: str, run_id: str) -> str:
    """Return the 32 hex digits of a run's own trace id.

    `PRUN-<ULID>` is the trace id: the ULID's bits. Any other run id is hashed together with its job id,
    because ids like `PRUN-TEST-001` repeat from job to job.
    """
    number = ulid_number(run_id.removeprefix("PRUN-"))
    return f"{number:032x}" if number is not None else _digest(16, "otel_patterns/trace/1", job_id, run_id)


def span_id(run_id: str, *role: str) -> str:
    """Return the 16 hex digits of the span with that role (`"root"`, `"marker"`, `"stage", name, event id`)."""
    *words, last = role
    return hashed(8, span_id_begin(run_id) + _prefix(*words) + prefixed(last))


def span_id_begin(run_id: str) -> bytes:
    """Return what is hashed first for each span id of a run."""
    return _prefix("otel_patterns/span/1", run_id)


@lru_cache(256)
def _prefix(*parts: str) -> bytes:
    # Remembered, because the spans of a run share the first parts, and those of a stage in all runs the next.
    return b"".join(map(prefixed, parts))


def prefixed(part: str) -> bytes:
    """Return a part of what is hashed: behind its length, so that ("1", "23") and ("12", "3") differ."""
    encoded = part.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(4, "big") + encoded


@cache
def _hashlib() -> ModuleType:
    # Loaded when a digest is wanted: it loads OpenSSL, and those who read events want none.
    import hashlib  # noqa: PLC0415

    return hashlib


def _digest(size: int, *parts: str) -> str:
    return hashed(size, _prefix(*parts))


def hashed(size: int, data: bytes) -> str:
    """Return the first bytes of a SHA-256 in hex, hashed again as long as all of them are zero."""
    sha256 = _hashlib().sha256
    digest = sha256(data).digest()
    while digest.startswith(bytes(size)):
        digest = sha256(digest).digest()
    return digest[:size].hex()

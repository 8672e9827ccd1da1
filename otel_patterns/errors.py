"""What can go wrong, and the guard that keeps it away from the engine.

One tree: everything raised on purpose derives from `OtelPatternsError` and carries its data as attributes.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

LOGGER_NAME = "otel_patterns"


class OtelPatternsError(Exception):
    """Base of every error this package raises on purpose; each carries its data as attributes."""


class Problem(NamedTuple):
    """One thing that is wrong with a document.

    Attributes:
        pointer: JSON pointer (RFC 6901) of the value, `""` for the whole document.
        value: The value found there, or `MISSING`.
        rule: What the value has to be.
        fix: What to do about it.
    """

    pointer: str
    value: Any
    rule: str
    fix: str

    @property
    def field(self) -> str:
        """The pointer as people write it: `details.checks`."""
        return self.pointer.lstrip("/").replace("/", ".") or "document"

    def __str__(self) -> str:
        return f"{self.field} is {shorten(self.value)}: {self.rule}. {self.fix}"


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


def shorten(value: object, limit: int = 120) -> str:
    """Return `repr(value)` cut to `limit` characters; never raises."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a caller's __repr__ may do anything; the message must still be made
        text = f"<{type(value).__name__} whose repr raises>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


class InvalidDocumentError(OtelPatternsError):
    """A document breaks the contract of its schema.

    Attributes:
        problems (tuple[Problem, ...]): Everything found wrong, in the order of the check; never empty.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))

    @property
    def field(self) -> str:
        """Name of the first wrong field."""
        return self.problems[0].field

    @property
    def value(self) -> Any:
        """Value of the first wrong field."""
        return self.problems[0].value

    @property
    def rule(self) -> str:
        """What the first wrong field has to be."""
        return self.problems[0].rule

    @property
    def fix(self) -> str:
        """What to do about the first wrong field."""
        return self.problems[0].fix


class InvalidEventError(InvalidDocumentError):
    """An event breaks the contract: the caller's own mistake, and the only error that leaves `emit`."""


class InvalidRunError(InvalidDocumentError):
    """A run document breaks the contract of `pattern_run.v1.json`."""


class InvalidTraceError(InvalidDocumentError):
    """What was given as a trace is none, or has a part that no program writes; `field` is the place in the document."""


class ConfigurationError(OtelPatternsError):
    """A setting has a value that cannot be used.

    Attributes:
        setting: Name of the setting or environment variable.
        value: What it was set to.
        fix: What to set it to.
    """

    def __init__(self, setting: str, value: object, fix: str) -> None:
        self.setting = setting
        self.value = value
        self.fix = fix
        super().__init__(f"{setting}={shorten(value)}: {fix}")


class JournalError(OtelPatternsError):
    """The journal cannot be read. Reading raises it, `emit` never does.

    Attributes:
        path: The file concerned.
        reason: What the operating system or the check said.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class BusyError(OtelPatternsError):
    """Another process delivers to the same destination.

    Attributes:
        destination: The receiver.
        owner: Which process it is.
    """

    def __init__(self, destination: str, owner: str) -> None:
        self.destination = destination
        self.owner = owner
        super().__init__(f"{owner} delivers to {destination} already: wait for it, or stop it")


class QueryError(OtelPatternsError):
    """A trace backend does not answer a query as it should.

    Attributes:
        url: What was asked for, without secrets.
        reason: What is wrong with the answer.
        is_of_trace: Whether another trace may be answered.
    """

    def __init__(self, url: str, reason: str, *, is_of_trace: bool = False) -> None:
        self.url = url
        self.reason = reason
        self.is_of_trace = is_of_trace
        super().__init__(f"{url}: {reason}")


class Guard:
    """Keeps failures of telemetry away from the engine: counts each, logs at most one a minute per kind.

    Thread-safe. `counts` maps a kind (`"append"`, `"delivery"`, …) to how often it happened.
    """

    def __init__(self, *, seconds_between_logs: float = 60.0) -> None:
        self.counts: Counter[str] = Counter()
        self._seconds_between_logs = seconds_between_logs
        self._last_logged: dict[str, float] = {}
        # Re-entrant: a signal handler may report while this thread does.
        self._lock = threading.RLock()

    def report(self, kind: str, message: str, *, error: BaseException | None = None) -> None:
        """Count one failure of `kind` and log it, unless one of that kind was logged within the last minute."""
        with self._lock:
            self.counts[kind] += 1
            now = time.monotonic()
            last = self._last_logged.get(kind)
            if last is not None and now - last < self._seconds_between_logs:
                return
            self._last_logged[kind] = now
            count = self.counts[kind]
        suffix = f" ({count} so far)" if count > 1 else ""
        # Loaded when there is something to say: it takes as long to load as reading a few events.
        import logging  # noqa: PLC0415

        logger = logging.getLogger(LOGGER_NAME)
        logger.warning("%s%s", message, suffix, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)

    def count(self, kind: str, number: int) -> None:
        """Count what is no failure, and log nothing."""
        with self._lock:
            self.counts[kind] += number

    def adopt_after_fork(self) -> None:
        """Take a new lock: in a forked child nobody can release the one a thread of the parent held."""
        self._lock = threading.RLock()

    @contextmanager
    def protect(self, kind: str) -> Generator[None, None, None]:
        """Swallow any `Exception` of the block, counted as `kind`. KeyboardInterrupt and SystemExit pass."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  # the one place where telemetry's own failures end
            self.report(kind, f"{kind}: {type(error).__name__}: {error}", error=error)

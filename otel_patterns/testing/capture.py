"""`capture_runs`: a process that emits into a journal of its own for the time of a test.

The journal is the real one, in a temporary folder on a file system in memory where there is one: whatever reads a
journal by its path works as in production, also in other processes. A descriptor without a path (memfd) could not be
locked, rotated, followed or handed on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ..channel import Channel, only_channel
from ..clock import SYSTEM_CLOCK, Clock
from ..emit import PatternEventEmitter
from ..errors import OtelPatternsError
from ..journal.append import end_journal
from ..settings import Settings
from .captured import CapturedRuns
from .clock import FakeClock

# What Linux and its containers have in memory; elsewhere the usual temporary folder must do.
_MEMORY: Final = "/dev/shm"  # noqa: S108  # a folder of our own is made in it, which nobody else can open
_OTEL: Final = "OTEL_"
# Of the clock that `PatternEvent.create`, `PatternRun.create` and a second `configure` use without being told.
# Not `monotonic`: the delivery threads of before wait by it.
_STAND_INS: Final = ("now_unix_nano", "random_bits", "new_ulid", "new_monotonic_ulid")
_capturing = threading.RLock()


@contextmanager
def capture_runs(
    clock: Clock | None = None,
    *,
    validation: str | None = None,
    job_scoped: bool | None = None,
    join: str | None = None,
    run_url: str | None = None,
) -> Generator[CapturedRuns, None, None]:
    """Capture what this process emits inside a `with` block, and yield it to be looked at.

    Inside, the process is configured: its journal is a file in a folder of its own, in memory on Linux, and nothing is
    sent. The variables `OTEL_*` are as on a fresh machine, but for `OTEL_PATTERNS_JOURNAL` and `OTEL_PATTERNS_EXPORT`,
    so child processes, `JobStateStore()`, the command line and a `configure()` of the tested code use the same journal
    and send nothing either. What the block itself sets there counts. Runs are sampled unless the provider or the
    caller's span of the tested code decides otherwise.

    At the end all of this is as it was, the folder is gone, and what was captured can still be looked at. An emitter
    that is kept beyond the end loses its events, counted as `lost`.

    Configuration and environment are the process's own. So events of all its threads are captured, a capture inside
    another one takes the events of its block alone, and a second thread cannot begin one meanwhile.

    Args:
        clock: Times and ids; None means a new `FakeClock`, `SYSTEM_CLOCK` the real ones.
        validation: `lenient` or `strict`, as for `configure`; so are the others.
        job_scoped: Write per-job logs as well.
        join: `child` or `link`.
        run_url: URL of a run's page with `{run_id}` and `{job_id}`.

    Raises:
        ConfigurationError: A value cannot be used.
        OtelPatternsError: Another thread is capturing.
    """
    if not _capturing.acquire(blocking=False):
        raise OtelPatternsError(
            "another thread of this process is capturing runs, and the configuration is the process's: capture once "
            "around all threads"
        )
    try:
        clock = FakeClock() if clock is None else clock
        with (
            _own_journal() as path,
            _environment(OTEL_PATTERNS_JOURNAL=path, OTEL_PATTERNS_EXPORT="off"),
            _system_clock(clock),
        ):
            settings = Settings.load(
                durability="os",
                rotate_bytes=0,
                validation=validation,
                job_scoped=job_scoped,
                join=join,
                run_url=run_url,
            )
            channel = Channel(settings, route=None, clock=clock)
            captured = CapturedRuns(PatternEventEmitter(channel=channel))
            try:
                with only_channel(channel):
                    yield captured
            finally:
                captured.keep()
    finally:
        _capturing.release()


@contextmanager
def _own_journal() -> Generator[str, None, None]:
    is_in_memory = os.path.isdir(_MEMORY) and os.access(_MEMORY, os.W_OK | os.X_OK)
    folder, pid = tempfile.mkdtemp(prefix="otel-patterns-", dir=_MEMORY if is_in_memory else None), os.getpid()
    path = os.path.join(folder, "events", "pattern_events.jsonl")
    try:
        yield path
    finally:
        end_journal(path)
        # A forked child that leaves the block must not take its parent's journal away.
        if os.getpid() == pid:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(**variables: str) -> Generator[None, None, None]:
    former = {name: value for name, value in os.environ.items() if name.startswith(_OTEL)}
    _replace_variables(variables)
    try:
        yield
    finally:
        _replace_variables(former)


def _replace_variables(variables: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith(_OTEL)]:
        del os.environ[name]
    os.environ.update(variables)


@contextmanager
def _system_clock(clock: Clock) -> Generator[None, None, None]:
    """Let another clock tell the times and ids of those who use the system's without being told."""
    members = vars(SYSTEM_CLOCK)
    former = {name: members[name] for name in _STAND_INS if name in members}
    for name in _STAND_INS:
        members.pop(name, None)
    if clock is not SYSTEM_CLOCK:
        members.update({name: getattr(clock, name) for name in _STAND_INS})
    try:
        yield
    finally:
        for name in _STAND_INS:
            members.pop(name, None)
        members.update(former)

"""Stopping as a signal does it: when a shell continues us before we have stopped, nobody would do it once more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

import pytest

from otel_patterns.runner.signals import Signals

CONTINUED = 7


class ContinuedMeanwhile(Signals):
    """A shell continues us just before, or just after, we look what has arrived."""

    def __init__(self, *, before: bool) -> None:
        super().__init__()
        self._before = before

    def take(self) -> Sequence[int]:
        """Take what has arrived."""
        if self._before:
            os.kill(os.getpid(), signal.SIGCONT)
        arrived = super().take()
        if not self._before:
            os.kill(os.getpid(), signal.SIGCONT)
        return arrived


class ContinuedFirst(Signals):
    """A shell continues us before anything else, and that is still to be taken."""

    def stop_us(self, number: int, *, group: bool) -> Sequence[int]:
        """Stop, or not."""
        os.kill(os.getpid(), signal.SIGCONT)
        return super().stop_us(number, group=group)


def status_of(make: Callable[[], Signals], number: int, *, group: bool) -> int:
    """Return what becomes of a process that stops itself, as far as a shell sees it; it is not there any more."""
    pid = os.fork()
    if pid == 0:
        try:
            # Of its own group, in our session: so that the system lets it be stopped.
            os.setpgid(0, 0)
            with make() as signals:
                signals.stop_us(number, group=group)
            os._exit(CONTINUED)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGCONT)
        _, ended = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(ended) == CONTINUED, "it did not go on"
    return status


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGTTIN])
def test_stop_us_stops_until_somebody_continues_us(number: signal.Signals, group: bool) -> None:
    """A shell sees the signal."""
    status = status_of(Signals, number, group=group)
    assert os.WIFSTOPPED(status)
    assert os.WSTOPSIG(status) == number


@pytest.mark.parametrize(
    "make",
    [ContinuedFirst, lambda: ContinuedMeanwhile(before=True), lambda: ContinuedMeanwhile(before=False)],
    ids=["before", "while it is under way", "just before the stop"],
)
def test_stop_us_continued_before_it_stopped_goes_on(make: Callable[[], Signals]) -> None:
    """Wherever the shell's SIGCONT comes in between, the process is not left stopped."""
    status = status_of(make, signal.SIGTSTP, group=False)
    assert os.waitstatus_to_exitcode(status) == CONTINUED


def test_stop_us_leaves_the_handler_and_the_mask_as_they_were() -> None:
    """Afterwards the signal waits to be taken again, as before."""
    with Signals() as signals:
        handler, mask = signal.getsignal(signal.SIGTSTP), signal.pthread_sigmask(signal.SIG_BLOCK, set())
        os.kill(os.getpid(), signal.SIGCONT)
        assert signal.SIGCONT in signals.stop_us(signal.SIGTSTP, group=False)
        assert signal.getsignal(signal.SIGTSTP) is handler
        assert signal.pthread_sigmask(signal.SIG_BLOCK, set()) == mask
        os.kill(os.getpid(), signal.SIGTSTP)
        assert signal.SIGTSTP in signals.take()

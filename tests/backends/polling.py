"""The one place where tests sleep."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

INTERVAL_SECONDS = 0.05


def wait_for(
    ask: Callable[[], Answer],
    accept: Callable[[Answer], bool] = bool,
    *,
    timeout_seconds: float = 15,
) -> Answer:
    """Ask until an answer is accepted or the time is up, and return the last answer either way.

    A refused answer is returned and not raised, so that the caller's assertion shows what the server said.
    Errors of `ask` are not caught.
    """
    deadline = time.monotonic() + timeout_seconds
    while not accept(answer := ask()) and time.monotonic() < deadline:
        time.sleep(INTERVAL_SECONDS)
    return answer

"""Passing a stream on, byte by byte as it comes, while its lines are counted."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Final

from .preview import Preview

_CHUNK_BYTES: Final = 64 * 1024
# The largest pipe that the system gives a program by default: what was written before the end is no more than this.
_PIPE_BYTES: Final = 1024 * 1024


class Relay:
    """Passes on what comes from one descriptor to another, in a thread: a reader that stalls must not stall signals.

    Attributes:
        preview: What is kept of it.
        ended: Whether all has been passed on.
        failure: Why the target took no more, when it did not.
    """

    def __init__(self, source: int, target: int, preview: Preview, notify: Callable[[], None]) -> None:
        self.preview = preview
        self.ended = False
        self.failure: OSError | None = None
        self._source = source
        self._target = target
        self._notify = notify
        self._is_terminal = os.isatty(source)
        self._stop_reader, self._stop_writer = os.pipe()
        # Not waited for at exit: nobody may ever read what it writes.
        self._thread = threading.Thread(target=self._run, name="otel-patterns-relay", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Pass on what was written up to now, and then end, whoever else has the other side open."""
        os.write(self._stop_writer, b"\0")

    def close(self) -> None:
        """Close the descriptors, unless a reader that stalls still keeps them in use."""
        if self._thread.ident is not None:
            if not self.ended:
                return
            self._thread.join()
        for descriptor in (self._source, self._stop_reader, self._stop_writer):
            os.close(descriptor)

    def _run(self) -> None:
        try:
            self._pass_on()
        finally:
            self.ended = True
            self._notify()

    def _pass_on(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._stop_reader, select.POLLIN)
        left = _PIPE_BYTES
        while left > 0:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._source not in ready:
                return
            try:
                chunk = os.read(self._source, _CHUNK_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                # A terminal's way to say that nobody has it open any more.
                return
            if not chunk:
                return
            if self._stop_reader in ready:
                left -= len(chunk)
            self.preview.add(chunk)
            if not self._write(chunk):
                return

    def _write(self, chunk: bytes) -> bool:
        """Pass a chunk on and tell whether to go on."""
        if self.failure is not None:
            return True
        try:
            write_all(self._target, chunk)
        except OSError as error:
            self.failure = error
            if not self._is_terminal:
                # The command has to learn of it as it would have without us: by SIGPIPE.
                null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                os.dup2(null, self._source, inheritable=False)
                os.close(null)
                return False
        return True


def write_all(target: int, data: bytes) -> None:
    """Write all of the data, waiting where somebody else has made the descriptor non-blocking.

    Raises:
        OSError: The target takes no more.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(target, view) :]
        except BlockingIOError:  # noqa: PERF203  # a chunk is large, and mostly written at once
            poll = select.poll()
            poll.register(target, select.POLLOUT)
            poll.poll()

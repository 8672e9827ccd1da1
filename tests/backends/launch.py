"""Become the program named on the command line, and be killed when the process that started it dies.

Run as a script: ``launch.py <parent pid> <program> <argument>...``. A process of its own asks for the signal and not
a ``preexec_fn``, because that runs Python between fork and exec, which may dead-lock beside the threads of an
exporter and makes Python warn.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arrange the signal where the kernel offers it, then replace this process."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        # It died before the request above, so no signal will come.
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

"""Starting: importing the package, and running a command by `otel-patterns exec`."""

from __future__ import annotations

import subprocess
import tempfile

from .rounds import interleave, python, seconds_of


def importing(n: int) -> list[float]:
    """Return the ratio of `import otel_patterns` to an empty program."""
    return interleave(python("-c", "import otel_patterns"), python("-c", "pass"), n)


def executing(n: int) -> list[float]:
    """Return the ratio of what `exec` adds to the command `true`, to `import pydantic`."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"OTEL_PATTERNS_JOURNAL": f"{folder}/journal.jsonl"}
        subject = python("-m", "otel_patterns", "exec", "--", "true", environment=environment)
        bare = seconds_of(lambda: subprocess.run(["true"], check=True))
        baseline = python("-c", "import pydantic")
        return [(seconds_of(subject) - bare) / seconds_of(baseline) for _ in range(n + 1)][1:]

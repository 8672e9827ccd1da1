"""Subinterpreters: what the package needs does not load in a second interpreter, and says so."""

import subprocess
import sys
from pathlib import Path

from tests.unit.journal.lines import event_ids

# Which module makes them has changed with versions of Python, and so has how it tells of a failure.
PROGRAM = """
import sys
try:
    import _interpreters as interpreters
    new = interpreters.create("legacy")
    execute = interpreters.exec
except ImportError:
    import _xxsubinterpreters as interpreters
    new = interpreters.create(isolated=False)
    execute = interpreters.run_string
CODE = '''
from otel_patterns import PatternEventEmitter, emit_pattern_event
emitter = PatternEventEmitter(%r)
emit_pattern_event("pattern.execution.started", "JOB-1", "PRUN-1", "PAT-A", "in_progress", emitter=emitter)
''' % sys.argv[1]
exec(CODE)
try:
    failed = execute(new, CODE)
    print(failed.formatted if failed else "worked")
except Exception as error:
    print(error)
exec(CODE)
"""


def test_emit_in_second_interpreter_fails_at_import_and_writes_nothing(tmp_path: Path) -> None:
    """Also where it shares the lock of Python it is an ImportError, and the first interpreter goes on."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "ImportError" in ended.stdout
    assert len(event_ids(tmp_path / "pattern_events.jsonl")) == 2

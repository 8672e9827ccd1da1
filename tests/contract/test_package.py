"""What users get: names, settings, files in the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import otel_patterns
from otel_patterns import errors
from otel_patterns.errors import ConfigurationError, OtelPatternsError
from otel_patterns.settings import Settings

ROOT = Path(__file__).parents[2]


def test_exports_are_sorted_and_exist() -> None:
    """`__all__` is short, sorted, and every name of it is there under that name."""
    assert list(otel_patterns.__all__) == sorted(otel_patterns.__all__)
    for name in otel_patterns.__all__:
        assert getattr(otel_patterns, name).__name__ == name
        assert getattr(otel_patterns, name).__doc__
    assert set(otel_patterns.__all__) <= set(dir(otel_patterns))
    with pytest.raises(AttributeError):
        otel_patterns.nothing_of_that_name  # noqa: B018  # the access is the test


def test_star_import_gives_the_drop_in_names() -> None:
    """An existing module becomes one line, `from otel_patterns import *`."""
    namespace: dict[str, object] = {}
    exec("from otel_patterns import *", namespace)  # the line users write
    assert {
        "JobStateStore",
        "PatternEvent",
        "PatternEventEmitter",
        "PatternRun",
        "PatternRunAggregator",
        "emit_pattern_event",
    } <= set(namespace)


def test_import_is_lazy() -> None:
    """Importing the package loads neither pydantic nor OpenTelemetry."""
    code = "import sys, otel_patterns; print([m for m in ('pydantic', 'opentelemetry', 'typing') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_journal_without_endpoint_needs_no_sdk(tmp_path: Path) -> None:
    """Emitting into a journal alone imports neither the SDK nor protobuf nor an HTTP client."""
    code = (
        "import sys, otel_patterns as p; p.emit_pattern_event('pattern.execution.started', 'JOB-1', 'PRUN-1', 'PAT-1',"
        " 'in_progress', {'executor': 'x', 'command': ''});"
        "print([m for m in ('opentelemetry.sdk', 'google.protobuf', 'urllib3', 'jsonschema') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": ""}
    )
    assert done.stdout == "[]\n"


def test_errors_form_one_tree() -> None:
    """Every error of the package derives from OtelPatternsError."""
    raised = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert len(raised) > 4
    assert all(issubclass(item, OtelPatternsError) for item in raised)


def test_settings_order_is_argument_environment_default() -> None:
    """An argument comes before the variable, the variable before the default, and an empty variable counts as unset."""
    environ = {"OTEL_PATTERNS_JOURNAL": "a.jsonl", "OTEL_PATTERNS_JOB_SCOPED": "", "OTEL_PATTERNS_VALIDATION": "strict"}
    settings = Settings.load(environ, journal="b.jsonl")
    assert (settings.journal, settings.job_scoped, settings.validation) == ("b.jsonl", False, "strict")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_PATTERNS_VALIDATION", "loose"), ("OTEL_PATTERNS_JOB_SCOPED", "maybe"), ("OTEL_PATTERNS_JOIN", "CHILD")],
)
def test_settings_that_cannot_be_used_name_variable_value_and_fix(variable: str, value: str) -> None:
    """A bad value is an error that names the variable, what it was, and what to set."""
    with pytest.raises(ConfigurationError) as caught:
        Settings.load({variable: value})
    assert (caught.value.setting, caught.value.value) == (variable, value)
    assert "give" in caught.value.fix


def test_wheel_has_schemas_and_type_marker(tmp_path: Path) -> None:
    """The wheel carries the two schemas and py.typed, and none of the tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "OTEL_PATTERNS_PLAIN": "1"}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    (wheel,) = tmp_path.glob("*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "otel_patterns/py.typed",
        "otel_patterns/schema/pattern_event.v1.json",
        "otel_patterns/schema/pattern_run.v1.json",
    } <= files
    assert not [name for name in files if name.startswith("tests/")]

"""What the layers may import, beyond what import-linter can say."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "otel_patterns"
# import-linter knows outside packages only as a whole.
ALLOWED = {
    "opentelemetry.sdk": {"tracing"},
    "opentelemetry.proto": {"tracing"},
    "google.protobuf": {"tracing"},
    "urllib3": {"tracing"},
    "sqlite3": {"store"},
    "psycopg": {"store"},
    "flask": {"web"},
    "starlette": {"web"},
}


def imports_of(source: str) -> set[str]:
    """Return the modules a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("module", ALLOWED)
def test_outside_module_is_imported_only_where_it_belongs(module: str) -> None:
    """The SDK is known to tracing alone, database drivers to the store, web frameworks to the web layer."""
    offenders = [
        path.relative_to(PACKAGE)
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ALLOWED[module]
        and any(name == module or name.startswith(f"{module}.") for name in imports_of(path.read_text("utf-8")))
    ]
    assert offenders == []


def test_imports_are_seen_in_every_form() -> None:
    """The check can fail: it sees each way of importing a module, also inside a function."""
    forms = ("import a.b", "from a import b", "from a.b import c", "def f():\n    import a.b as x")
    assert all("a.b" in imports_of(form) for form in forms)

"""The compiled twins of a few functions, where this installation has them.

Each stands beside its function, in Cython; the function itself says what is right, and tests compare them.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final, TypeVar

_Function = TypeVar("_Function")

# To look into a difference, and for tests: any value but an empty one turns the twins off.
SWITCH: Final = "OTEL_PATTERNS_PLAIN"


def compiled(module: str, name: str, plain: _Function) -> _Function:
    """Return the compiled twin of a function, or the function itself where there is none.

    Args:
        module: The extension module, below the package, like `tracing._otlp`.
        name: Its name there.
        plain: The function.
    """
    if os.environ.get(SWITCH):
        return plain
    try:
        return getattr(import_module(f"{__package__}.{module}"), name)
    except ImportError:
        return plain


def is_compiled() -> bool:
    """Tell whether twins are in use."""
    nothing = object()
    return compiled("model._emitted", "fits_details", nothing) is not nothing

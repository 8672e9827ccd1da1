"""An exception as a span event (semantic conventions, exceptions on spans)."""

from __future__ import annotations

import traceback
from typing import Any, Final

from ..model import names

# The semantic conventions set no limit; a backend's is often 64 KiB for a whole span event.
_MAX_STACKTRACE: Final = 16_000
_MAX_MESSAGE: Final = 2_000


def exception_event(error: BaseException, time_unix_nano: int) -> dict[str, Any]:
    """Return an exception with type, message and stack trace, as `details.otel.span` holds it. Never raises."""
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:  # noqa: BLE001  # formatting calls the exception's own code
        trace = ""
    return {
        "name": names.EVENT_EXCEPTION,
        "time_unix_nano": time_unix_nano,
        "attributes": {
            names.ATTR_EXCEPTION_TYPE: f"{type(error).__module__}.{type(error).__qualname__}",
            names.ATTR_EXCEPTION_MESSAGE: message_of(error)[:_MAX_MESSAGE],
            names.ATTR_EXCEPTION_STACKTRACE: trace[-_MAX_STACKTRACE:],
        },
    }


def message_of(error: BaseException) -> str:
    """Return an exception's message, or its type when it has none or cannot tell it."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # noqa: BLE001  # a caller's __str__ may do anything
        return type(error).__name__

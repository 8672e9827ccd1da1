"""From a line of the journal to the document of its event, or to the reason why it is none.

Here is the careful way, which needs no library. `heads` has the quick one.
"""

from __future__ import annotations

import json
from typing import Any

from ..model.envelope import check_event
from .lines import Line


def parse_slowly(line: Line) -> dict[str, Any]:
    """Return the event document of a line; it has the nine keys, perhaps more, and perhaps an unknown event type.

    Raises:
        ValueError: The line is no event; the message says why.
    """
    try:
        # Decoded first: json.loads on bytes would take NUL bytes for UTF-16.
        document = json.loads(line.json.decode("utf-8"), parse_constant=str)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        problem = next(check_event(document, known_types_only=False), None)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if problem is not None:
        raise ValueError(f"no event: {problem}")
    document.setdefault("step_id", None)
    return document

"""Details that are too large for a line of the journal, in files of their own beside it."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Final

from .state import replace_file

_LONGEST_NAME: Final = 60


def write_artifact(journal_path: str, event_id: str, number: int, name: str, data: bytes) -> dict[str, Any]:
    """Write a detail's JSON to `artifacts/<event id>-<number>-<name>.json`, and return what stands in its place.

    Raises:
        OSError: It cannot be written.
    """
    # The event id is checked, and a detail's name is text that somebody else has chosen: never a path.
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:_LONGEST_NAME].strip("-")
    path = os.path.join("artifacts", f"{event_id}-{number}-{slug}.json")
    replace_file(os.path.join(os.path.dirname(journal_path), path), data)
    return {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}

"""Prints the model's two schemas into files: `python -m tests.contract.print_schema [directory]`."""

import json
import sys
from pathlib import Path

from otel_patterns.model.schema import event_schema, run_schema
from tests.documents import SCHEMA

REGENERATE = "python -m tests.contract.print_schema"


def printed_schemas() -> dict[str, str]:
    """Return the text of each schema file by its name."""
    schemas = {"pattern_event.v1.json": event_schema(), "pattern_run.v1.json": run_schema()}
    return {name: f"{json.dumps(schema, indent=2)}\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else SCHEMA
    for name, text in printed_schemas().items():
        (directory / name).write_text(text, encoding="utf-8")

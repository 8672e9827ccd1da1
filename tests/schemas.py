"""JSON Schema validators, with the types that jsonschema does not tell."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from otel_patterns.model.schema import event_schema, run_schema
from tests.documents import SEED


class Schema:
    """A compiled schema."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def accepts(self, document: object) -> bool:
        """Tell whether the document is valid."""
        return cast("bool", self._validator.is_valid(document))

    def problems(self, document: object) -> list[str]:
        """Return what is wrong with the document, as `pointer: message`."""
        return [
            f"/{'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in self._validator.iter_errors(document)
        ]


def schema_2020(schema: Mapping[str, Any]) -> Schema:
    """Return a JSON Schema 2020-12 schema, checked against its own meta-schema."""
    Draft202012Validator.check_schema(cast("Any", schema))
    return Schema(Draft202012Validator(cast("Any", schema)))


STRICT_EVENT = schema_2020(event_schema())
LENIENT_EVENT = schema_2020(event_schema()["$defs"]["envelope"])
RUN = schema_2020(run_schema())


def _is_date_time(value: object) -> bool:
    # RFC 3339 wants a zone; the seed's `format` would check nothing without this.
    return not isinstance(value, str) or datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None


def _seed(name: str) -> Schema:
    schema = json.loads((SEED / name).read_text(encoding="utf-8"))
    checker = FormatChecker()
    checker.checks("date-time", raises=ValueError)(_is_date_time)
    Draft7Validator.check_schema(schema)
    return Schema(Draft7Validator(schema, format_checker=checker))


SEED_EVENT = _seed("pattern_event.v1.json")
SEED_RUN = _seed("pattern_run.v1.json")

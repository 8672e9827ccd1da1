"""Settings of the package: one table, read from arguments, then the environment, then the default.

The standard `OTEL_*` variables belong to OpenTelemetry and are honoured where spans are made and sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from .errors import ConfigurationError

Validation = Literal["lenient", "strict"]
Export = Literal["auto", "otlp", "tracer", "off"]
DeliveredBy = Literal["inline", "ship", "off"]
Join = Literal["child", "link"]
Durability = Literal["os", "group", "each"]
Compression = Literal["none", "gzip", "zstd"]

# What a dead collector may cost at exit, all in all (design section 2, invariant 5).
EXIT_SECONDS = 2.0
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


class Setting(NamedTuple):
    """One row of the settings table: where a field of `Settings` comes from and what it means."""

    field: str
    variable: str
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()


TABLE: tuple[Setting, ...] = (
    Setting(
        "journal",
        "OTEL_PATTERNS_JOURNAL",
        "state/events/pattern_events.jsonl",
        "Path of the journal, relative to the working directory.",
    ),
    Setting(
        "job_scoped",
        "OTEL_PATTERNS_JOB_SCOPED",
        default=False,
        meaning="Write each event also to `jobs/<job_id>/pattern_events.jsonl` beside the journal.",
    ),
    Setting(
        "durability",
        "OTEL_PATTERNS_DURABILITY",
        "group",
        "When a line is on disk, where it survives a power cut: `each` when `emit` returns, `group` within 0.1 s and a "
        "run's end when `emit` returns, `os` when the kernel writes it.",
        ("os", "group", "each"),
    ),
    Setting(
        "rotate_bytes",
        "OTEL_PATTERNS_ROTATE_BYTES",
        256 * 1024 * 1024,
        "Seal the journal's file before it grows over so many bytes, and begin a new one; 0 for never.",
    ),
    Setting(
        "rotate_seconds",
        "OTEL_PATTERNS_ROTATE_SECONDS",
        0,
        "Seal the journal's file when it was begun so many seconds ago; 0 for never.",
    ),
    Setting(
        "compress",
        "OTEL_PATTERNS_COMPRESS",
        "none",
        "How `otel-patterns journal compress` packs sealed segments; `zstd` needs the extra `otel-patterns[zstd]`.",
        ("none", "gzip", "zstd"),
    ),
    Setting(
        "validation",
        "OTEL_PATTERNS_VALIDATION",
        "lenient",
        "What `emit` demands of details: `lenient` reports what is missing, `strict` raises.",
        ("lenient", "strict"),
    ),
    Setting(
        "export",
        "OTEL_PATTERNS_EXPORT",
        "auto",
        "How runs are delivered: by `otlp`, through the application's `tracer` provider, `off`; `auto` chooses, when "
        "configured or an OTLP endpoint is in the environment.",
        ("auto", "otlp", "tracer", "off"),
    ),
    Setting(
        "delivery",
        "OTEL_PATTERNS_DELIVERY",
        "inline",
        "Who delivers runs: each process its own (`inline`), `otel-patterns ship` (`ship`: engines only write what it "
        "needs), or nobody (`off`).",
        ("inline", "ship", "off"),
    ),
    Setting(
        "join",
        "OTEL_PATTERNS_JOIN",
        "child",
        "How a run relates to the span that is current when it starts: `child` of it, or own trace with a `link`.",
        ("child", "link"),
    ),
    Setting(
        "run_url",
        "OTEL_PATTERNS_RUN_URL",
        "",
        "URL of a run's page with `{run_id}` and `{job_id}`; recorded as `cicd.pipeline.run.url.full`.",
    ),
    Setting(
        "jaeger_url",
        "OTEL_PATTERNS_JAEGER_URL",
        "http://localhost:16686",
        "Base URL of the Jaeger UI, for links; empty for none.",
    ),
    Setting(
        "grafana_url",
        "OTEL_PATTERNS_GRAFANA_URL",
        "",
        "Base URL of Grafana, for links; empty for none.",
    ),
    Setting(
        "grafana_datasource",
        "OTEL_PATTERNS_GRAFANA_DATASOURCE",
        "tempo",
        "UID of Grafana's Tempo data source, for links.",
    ),
)


class Settings(NamedTuple):
    """Resolved settings; see `TABLE` for what each means."""

    journal: str
    job_scoped: bool
    durability: Durability
    rotate_bytes: int
    rotate_seconds: int
    compress: Compression
    validation: Validation
    export: Export
    delivery: DeliveredBy
    join: Join
    run_url: str
    jaeger_url: str
    grafana_url: str
    grafana_datasource: str

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] | None = None,
        /,
        *,
        problems: list[ConfigurationError] | None = None,
        **arguments: Any,
    ) -> Settings:
        """Return settings from `arguments` that are not None, else the environment, else the default.

        With `problems` a variable that cannot be used is added there, and the default is used.

        Raises:
            ConfigurationError: A value is not one of the choices, or the argument is no setting.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for row in TABLE:
            values[row.field] = _value_of(row, arguments.pop(row.field, None), environ, problems)
        if arguments:
            unknown = next(iter(arguments))
            known = ", ".join(cls._fields)
            raise ConfigurationError(unknown, arguments[unknown], f"no such setting; there are {known}")
        return cls(**values)

    @classmethod
    def load_journal(cls, journal: str | os.PathLike[str] | None) -> str:
        """Return the journal alone of what `load` returns with `problems`, in a fraction of the time.

        Raises:
            ConfigurationError: `journal` is no path.
        """
        path: str = _value_of(_JOURNAL, journal, os.environ, [])
        return path


_JOURNAL: Final = next(row for row in TABLE if row.field == "journal")


def _value_of(
    row: Setting, argument: object, environ: Mapping[str, str], problems: list[ConfigurationError] | None
) -> Any:
    value, name = argument, row.field
    if value is None and (text := environ.get(row.variable, "")) != "":
        value, name = text, row.variable
    try:
        return _convert(row, name, row.default if value is None else value)
    except ConfigurationError as error:
        if problems is None or name != row.variable:
            raise
        problems.append(error)
        return _convert(row, name, row.default)


def _convert(row: Setting, name: str, value: object) -> object:
    if row.field == "journal":
        return checked_path(name, value)
    if isinstance(row.default, bool):
        if isinstance(value, bool):
            return value
        if str(value).lower() in _TRUE:
            return True
        if str(value).lower() in _FALSE:
            return False
        raise ConfigurationError(name, value, "give true or false")
    text = str(value)
    if isinstance(row.default, int):
        if not (text.isascii() and text.isdecimal()):
            raise ConfigurationError(name, value, "give a whole number, 0 or more")
        return int(text)
    if row.choices and text not in row.choices:
        raise ConfigurationError(name, value, f"give one of {', '.join(row.choices)}")
    return text


def checked_path(name: str, value: object) -> str:
    """Return a path as text. No Path: its module takes longer to load than a short-lived process has.

    Raises:
        ConfigurationError: It is no path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigurationError(name, value, "give a path")
    return os.fsdecode(value)  # pyright: ignore[reportUnknownArgumentType]  # PathLike[Any] is what isinstance can tell

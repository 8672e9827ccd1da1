"""Prints the reference of the settings, made from their table: `docs/reference/settings.md`.

`python -m tests.contract.print_settings > docs/reference/settings.md` writes it anew; a test compares the two.
"""

import inspect
from typing import Final

from otel_patterns import configure
from otel_patterns.settings import TABLE, Setting
from otel_patterns.tracing.endpoint import DEFAULT_TIMEOUT_SECONDS

OTLP: Final = "OTEL_EXPORTER_OTLP_"
# The variables of OpenTelemetry, each row those with one effect. A test compares them with those that the code reads.
STANDARD: Final = (
    ((f"{OTLP}ENDPOINT",),
     "Base URL of the receiver; HTTP adds `/v1/traces`, gRPC has no path. Naming it turns sending on by itself."),
    ((f"{OTLP}TRACES_ENDPOINT",), "The whole URL that spans are sent to; comes before the one above."),
    ((f"{OTLP}PROTOCOL", f"{OTLP}TRACES_PROTOCOL"),
     "`http/protobuf` or `grpc`; by default `grpc` for an endpoint on port 4317, else `http/protobuf`."),
    ((f"{OTLP}INSECURE", f"{OTLP}TRACES_INSECURE"),
     "`true`: no TLS for a gRPC endpoint without a scheme, like `collector:4317`. Else the scheme decides."),
    ((f"{OTLP}HEADERS", f"{OTLP}TRACES_HEADERS"),
     "`name=value` pairs with commas between them, sent with each request; values are never shown."),
    ((f"{OTLP}TIMEOUT", f"{OTLP}TRACES_TIMEOUT"),
     f"Seconds for one request, {DEFAULT_TIMEOUT_SECONDS:.0f} by default."),
    ((f"{OTLP}COMPRESSION", f"{OTLP}TRACES_COMPRESSION"), "`none` or `gzip`."),
    ((f"{OTLP}CERTIFICATE", f"{OTLP}TRACES_CERTIFICATE"), "File with the certificates that vouch for the receiver's."),
    ((f"{OTLP}CLIENT_CERTIFICATE", f"{OTLP}TRACES_CLIENT_CERTIFICATE"), "File with the certificate for mutual TLS."),
    ((f"{OTLP}CLIENT_KEY", f"{OTLP}TRACES_CLIENT_KEY"), "File with its private key."),
    (("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"), "The resource, recorded with a run's first event."),
    (("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",), "What else finds attributes of the resource, as the SDK has it."),
    (("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
     "Decide once, when a run begins. An unsampled run is in the journal and is not sent."),
    (("OTEL_SDK_DISABLED",), "With `true` nothing is sent; the journal is written."),
    (("OTEL_TRACES_EXPORTER",), "A list without `otlp`, like `none`, turns sending by OTLP off."),
)  # fmt: skip
_INTRODUCTION: Final = """\
# Settings

This page is made from the table of settings: `python -m tests.contract.print_settings`.

An argument of `configure()` comes before the environment variable, the variable before the default. An empty variable
counts as unset. `otel-patterns` reads the same variables; its `--journal` comes before them.

`OTEL_PATTERNS_PLAIN` is no setting: with any value, nothing that was [compiled](../how-to/compiled.md) is used.
"""
_STANDARD: Final = """\
## OpenTelemetry's own variables

They are honoured as the SDK and its exporters honour them, and read when a journal is first used. A variable with
`TRACES_` in its name comes before the one without.
"""
_PROVIDER: Final = """\
An application that has set its own SDK `TracerProvider` is asked for its resource and its sampler instead of the
environment. Its exporters decide what `auto` chooses: see
[own provider](../how-to/own-provider.md#what-happens-by-itself).
"""


def printed_settings() -> str:
    """Return the reference as Markdown."""
    settings = "\n".join(["| variable | argument | default | meaning |", "|---|---|---|---|", *map(_row, TABLE)])
    variables = "\n".join(
        ["| variable | effect |", "|---|---|"]
        + [f"| {', '.join(f'`{name}`' for name in variables)} | {effect} |" for variables, effect in STANDARD]
    )
    return "\n".join([_INTRODUCTION, f"{settings}\n", _STANDARD, f"{variables}\n", _PROVIDER])


def _row(setting: Setting) -> str:
    is_text = isinstance(setting.default, str)
    default = (setting.default or "empty") if is_text else str(setting.default).lower()
    # What is only for the links of the command line is no argument.
    argument = f"`{setting.field}`" if setting.field in inspect.signature(configure).parameters else "none"
    meaning = setting.meaning.replace("|", "\\|")
    return f"| `{setting.variable}` | {argument} | {default} | {meaning} |"


if __name__ == "__main__":
    print(printed_settings(), end="")

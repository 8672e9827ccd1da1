"""The reference of the command line, made from the table of commands: `docs/reference/cli.md`.

`python -m otel_patterns.cli.reference > docs/reference/cli.md` writes it anew; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..settings import TABLE
from .commands import COMMANDS, DESCRIPTION, PROGRAM, Argument, Command

_INTRODUCTION: Final = f"""\
# Command line

{DESCRIPTION} `python -m otel_patterns` is the same command.

The journal is `--journal PATH`, given before or after the command, else `OTEL_PATTERNS_JOURNAL`, else
`{TABLE[0].default}` below the working directory. A journal that does not exist is an empty one.

Data goes to stdout, everything else to stderr.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: an invalid document, an unknown run, something still owed, a file that cannot be read |
| 2 | wrong usage, or a setting that cannot be used |
| 130 | ended by Ctrl-C, as `events --follow` is |
| 141 | the reader of stdout went away, as `head` does |

`exec` has the exit codes of its command.

Text from events is shown in one line with control characters, escape sequences and what changes the direction of
text as `\\xNN` or `\\uNNNN`, also when stdout is no terminal. Colours are used on a terminal unless `NO_COLOR` is set.
"""
_CONTRACT: Final = """\
## JSON

What `--json` prints is a contract: one JSON object a line, UTF-8.

| command | object |
|---|---|
| `events --json` | the event as it stands in the journal, byte by byte, keys of other writers included |
| `runs --json` | a run as `pattern_run.v1.json` describes it |
| `run --json` | the same with `trace_id` (32 hex digits; the caller's when the run joined its trace) and `links` |
| `doctor --json` | `owed`, `problems`, `warnings`, and the sections below |
| `doctor --reconcile … --json` | for each run that is not whole: `pattern_run_id`, `trace_id`, `state`, `missing`, \
`different`, `reason`; at last one with `summary` alone |
| `import-trace --json` | `pattern_run_id`, how many `events` its trace has and how many are `new`, `incomplete` |

`links` is an object with the URL of the trace for each program that is configured: `jaeger`
(`OTEL_PATTERNS_JAEGER_URL`) and `grafana` (`OTEL_PATTERNS_GRAFANA_URL`, `OTEL_PATTERNS_GRAFANA_DATASOURCE`).

`incomplete` is an array of what is not whole, `{event_id, event_type, reason, details_sha256}`; all but the reason may
be null.

`doctor` prints one object. `owed` is how many runs the receiver in force has not acknowledged, null when that cannot be
told; `problems` and `warnings` count findings. Each section has `findings`, `{level, message, fix}` with level `ok`,
`warning` or `problem`, and these keys, null when they cannot be told:

| section | keys |
|---|---|
| `settings` | for each setting its `value` and `source`: `argument`, a variable, or `default` |
| `endpoint` | `url`, `source`, `protocol`, `headers` (names alone), `probe` (`kind` and `message` of the answer) |
| `journal` | `path`, `segments`, `bytes`, `obstacle` (why it cannot be written), `bad_lines`, `torn_tails`, \
`lost_lines`, `failed_syncs`, `spool_files`, `spooled_lines`, `quarantined_lines` |
| `delivery` | `owed`, `destinations`: `name`, `in_force`, `delivered_before` (runs before its checkpoint), \
`runs` (acknowledged on record), `parked_spans`, `reasons`, `owner` (the process that delivers now, or null) |
| `clock` | `receiver_ahead_seconds`, `future_events`, `farthest_seconds` |
| `runs` | `abandoned`, `silent` (for a day, out of sight), `out_of_sight` |

Of a reconciliation `state` is `missing`, `incomplete`, `different` or `unreadable`; `missing` are span ids; `different`
are `{span_id, field, expected, found}`; `reason` says why a trace is unreadable. `summary` counts the runs that were
`compared` and each state, with `whole`, runs that `cannot_be_projected`, and with `--fix` the `sent_spans`.

## In place of the guide's modules

The integration guide calls `python -m core.engine.pattern_inspect` and `python -m core.validation`. Both files are
two lines:

```python
from otel_patterns.cli import main
raise SystemExit(main())
```
"""


def reference() -> str:
    """Return the reference as Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(command) for command in COMMANDS), _CONTRACT])


def _section(command: Command) -> str:
    rows = "\n".join(_rows(command.arguments))
    examples = "\n".join(command.examples)
    return (
        f"## `{PROGRAM} {command.name}`\n\n{command.description}\n\n"
        f"| argument | meaning |\n|---|---|\n{rows}\n\n```console\n{examples}\n```\n"
    )


def _rows(arguments: tuple[Argument, ...]) -> Iterator[str]:
    for argument in arguments:
        if argument.is_positional:
            words = f"{argument.metavar}…" if argument.kind in ("texts", "rest") else f"{argument.metavar}"
        else:
            value = "" if argument.kind == "switch" else f" {argument.metavar or '|'.join(argument.choices or ())}"
            words = ", ".join(argument.flags) + value
        escaped = words.replace("|", "\\|")
        yield f"| `{escaped}` | {argument.help} |"


if __name__ == "__main__":
    print(reference(), end="")

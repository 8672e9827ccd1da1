"""The commands and their arguments as a table. The parser and the reference are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from ..model import names
from ..settings import TABLE

PROGRAM: Final = "otel-patterns"
DESCRIPTION: Final = "See the runs of an engine: events from the journal, runs folded from them, and their traces."
EPILOG: Final = f"""\
The journal is --journal, else OTEL_PATTERNS_JOURNAL, else {TABLE[0].default}.
Data goes to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage or setting.
'{PROGRAM} COMMAND --help' shows examples."""


class Argument(NamedTuple):
    """One option, or a positional argument when its only flag has no dash. `kind` says how its text is read."""

    flags: tuple[str, ...]
    help: str
    metavar: str | None = None
    kind: Literal["text", "switch", "moment", "count", "texts", "repeated", "seconds", "bytes", "pair", "rest"] = "text"
    choices: tuple[str, ...] | None = None

    @property
    def is_positional(self) -> bool:
        """Whether it is given without a flag."""
        return not self.flags[0].startswith("-")


class Command(NamedTuple):
    """One subcommand. `module` of this package has its `execute(arguments, output, clock) -> exit code`."""

    name: str
    module: str
    summary: str
    description: str
    examples: tuple[str, ...]
    arguments: tuple[Argument, ...]


_JOURNAL: Final = Argument(
    ("--journal",), f"read this journal (else OTEL_PATTERNS_JOURNAL, else {TABLE[0].default})", "PATH"
)
_COLOR: Final = Argument(
    ("--color",), "colours: on a terminal unless NO_COLOR is set, always, or never", choices=("auto", "always", "never")
)
COMMON: Final = (_JOURNAL, _COLOR)

_JOB: Final = Argument(("--job", "--job-id"), "only this job", "JOB-ID")
_RUN: Final = Argument(("--run", "--pattern-run-id"), "only this run", "PRUN-ID")
_PATTERN: Final = Argument(("--pattern", "--pattern-id"), "only this pattern", "PAT-ID")
_STEP: Final = Argument(("--step", "--step-id"), "only this step", "STEP-ID")
_TIME: Final = "an RFC 3339 time, or an age like 45s, 10m, 2h, 3d"
_DURATION: Final = "a number of seconds, or a time like 90s, 10m, 2h"
_JSON: Final = "print JSON, one object a line"

COMMANDS: Final = (
    Command(
        "events",
        "events",
        "print events of the journal",
        "Print events in the order of the journal.",
        (
            f"{PROGRAM} events --limit 20",
            f"{PROGRAM} events --follow --job JOB-NIGHTLY-12",
            f"{PROGRAM} events --type execution.failed --since 2h",
            f"{PROGRAM} events --json --run PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7V | jq .details",
        ),
        (
            _JOB,
            _RUN,
            _PATTERN,
            _STEP,
            Argument(("--type",), "only this event type, with or without 'pattern.', or a stage", "TYPE"),
            Argument(("--status",), "only this status", choices=names.EVENT_STATUSES),
            Argument(("--since",), f"only events at or after {_TIME}", "TIME", "moment"),
            Argument(("--until",), f"only events before {_TIME}", "TIME", "moment"),
            Argument(("--limit",), "only the last N", "N", "count"),
            Argument(("--follow", "-f"), "then print new events as they come, until Ctrl-C", kind="switch"),
            Argument(("--json",), "print the journal's own lines, byte by byte", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "runs",
        "runs",
        "list runs, the latest first",
        "List runs folded from the journal, the latest first. A duration with '+' is still growing.",
        (
            f"{PROGRAM} runs --limit 10",
            f"{PROGRAM} runs --status failed --since 3d",
            f"{PROGRAM} runs --json --operation-kind semgrep_scan | jq -r .pattern_run_id",
        ),
        (
            _JOB,
            _PATTERN,
            Argument(("--status",), "only this status", choices=names.RUN_STATUSES),
            Argument(("--operation-kind",), "only this kind of operation", "KIND"),
            Argument(("--since",), f"only runs started at or after {_TIME}", "TIME", "moment"),
            Argument(("--until",), f"only runs started before {_TIME}", "TIME", "moment"),
            Argument(("--limit",), "only the latest N", "N", "count"),
            Argument(("--json",), _JSON, kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "run",
        "run",
        "show one run: stages, events, outcome, links to its trace",
        "Show one run. The beginning or the end of its id is enough when no other run has the same.",
        (
            f"{PROGRAM} run PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7V",
            f"{PROGRAM} run 5S6T7V",
            f"{PROGRAM} run 5S6T7V --json | jq -r .links.jaeger",
        ),
        (
            Argument(("run_id",), "the run's id", "PRUN-ID"),
            Argument(("--json",), "print the run as one JSON object, with trace_id and links", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "validate-pattern-event",
        "validate",
        "check event documents",
        "Check events: one JSON document, an array, or one document a line. Problems go to stdout with exit code 1; "
        "what is odd about the runs they form goes to stderr.",
        (
            f"{PROGRAM} validate-pattern-event < event.json",
            f"{PROGRAM} validate-pattern-event --lenient state/events/pattern_events.jsonl",
        ),
        (
            Argument(("files",), "files to check; '-' or none is stdin", "FILE", "texts"),
            Argument(("--lenient",), "ask for the envelope only, not for the details of the event type", kind="switch"),
            _COLOR,
        ),
    ),
    Command(
        "validate-pattern-run",
        "validate",
        "check run documents",
        "Check runs: one JSON document, an array, or one document a line. Problems go to stdout with exit code 1.",
        (
            f"{PROGRAM} validate-pattern-run < pattern_run.json",
            f"{PROGRAM} runs --json | {PROGRAM} validate-pattern-run -",
        ),
        (Argument(("files",), "files to check; '-' or none is stdin", "FILE", "texts"), _COLOR),
    ),
    Command(
        "replay",
        "replay",
        "send the journal's runs that a trace backend has not acknowledged",
        "Project runs again from the journal and send what OTEL_EXPORTER_OTLP_ENDPOINT (else http://localhost:4318) "
        "has not acknowledged yet. Sending twice does no harm: the spans are the same, byte by byte. "
        "Exit code 0 when nothing is owed any more, 1 when something is.",
        (
            f"{PROGRAM} replay --dry-run",
            f"OTEL_EXPORTER_OTLP_ENDPOINT=http://tempo:4318 {PROGRAM} replay --since 3d",
            f"{PROGRAM} replay --run PRUN-01KAN5E9ZV7Q1M2N3P4R5S6T7V --force",
        ),
        (
            _RUN,
            _JOB,
            Argument(("--since",), f"only runs with an event at or after {_TIME}", "TIME", "moment"),
            Argument(("--dry-run",), "only tell what would be sent", kind="switch"),
            Argument(("--force",), "send also what was acknowledged before", kind="switch"),
            Argument(("--unsampled",), "send also runs that the sampler left out", kind="switch"),
            Argument(("--parked",), "send also spans that the receiver did not want", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "import-trace",
        "import_trace",
        "put the events of a saved trace into the journal",
        "Rebuild the events of the runs in a saved trace, and append those that the journal does not have. A trace is "
        "OTLP as JSON or protobuf, or what Jaeger, its UI or Tempo gives. Imported runs are never sent again. "
        "Exit code 0 when all that the trace tells of is whole in the journal, 1 when something is not.",
        (
            f"{PROGRAM} import-trace --dry-run trace.json",
            f"curl -s http://localhost:16686/api/v3/traces/01a204a5c350b6ee831a58c087a50bde | {PROGRAM} import-trace -",
            f"{PROGRAM} import-trace --json trace.json | jq .incomplete",
        ),
        (
            Argument(("files",), "saved traces; '-' or none is stdin", "FILE", "texts"),
            Argument(("--dry-run",), "only tell what would be imported", kind="switch"),
            Argument(("--json",), _JSON, kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "journal",
        "journal",
        "look after the journal's files",
        "Look after the files of the journal while others write and read. 'check' reads all lines and tells what is "
        "wrong: exit code 1 when anything is that is not known yet. 'repair' writes all events that can be read into a "
        "new journal beside the old one; with --jobs it completes the logs of jobs. 'stats' counts. 'prune' deletes "
        "sealed segments, whole and the oldest first, up to the first with an event of a run that is open, or owed to "
        "a trace backend. 'compress' packs sealed segments. Killed at any moment, none of them loses anything.",
        (
            f"{PROGRAM} journal check --quarantine",
            f"{PROGRAM} journal stats --json | jq .lost_lines",
            f"{PROGRAM} journal prune --older-than 30d --keep-bytes 10GB --dry-run",
            f"{PROGRAM} journal compress --format zstd",
        ),
        (
            Argument(("action",), "what to do", choices=("check", "repair", "stats", "prune", "compress")),
            Argument(
                ("--quarantine",),
                "check: copy bad lines to quarantine/ beside the journal; then they are known",
                kind="switch",
            ),
            Argument(
                ("--acknowledge",),
                "check: from now on, lines that were lost and syncs that failed are known",
                kind="switch",
            ),
            Argument(("--output",), "repair: the new journal (else <name>.repaired.jsonl beside the old one)", "PATH"),
            Argument(
                ("--older-than",), f"prune: segments whose latest event is so old, {_DURATION}", "TIME", "seconds"
            ),
            Argument(
                ("--keep-bytes",), "prune: the oldest while the journal is larger, like 500MB, 10GB", "SIZE", "bytes"
            ),
            Argument(
                ("--jobs",), "repair: instead, append to the logs of jobs what they miss of the journal", kind="switch"
            ),
            Argument(("--dry-run",), "prune and repair --jobs: only tell what would be done", kind="switch"),
            Argument(
                ("--format",),
                "compress: how (else OTEL_PATTERNS_COMPRESS, else gzip); zstd needs the extra otel-patterns[zstd]",
                choices=("gzip", "zstd"),
            ),
            Argument(("--json",), f"check and stats: {_JSON}", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "ship",
        "ship",
        "follow the journal and deliver its runs",
        "Follow the journal and send its runs to the OTLP endpoint of the environment, until SIGTERM or Ctrl-C: all "
        "that is owed, what is new within a second, and the ends of runs whose writer is gone. One process does that "
        "for a journal and an endpoint. Engines need no endpoint then: set OTEL_PATTERNS_DELIVERY=ship for them.",
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-patterns ship",
            f"{PROGRAM} ship --once --journal /var/lib/engine/state/events/pattern_events.jsonl",
        ),
        (
            Argument(("--once",), "stop when everything that is there is delivered, or cannot be", kind="switch"),
            Argument(
                ("--silent",),
                f"end runs whose writers cannot be looked at after no event for this long, {_DURATION} (1d)",
                "TIME",
                "seconds",
            ),
            *COMMON,
        ),
    ),
    Command(
        "doctor",
        "doctor",
        "say what is wrong with journal, delivery and clocks, and how to repair it",
        "Look at the settings, the journal, what is on record of deliveries, the receiver of the environment (it is "
        "sent one empty request) and the clocks, and say what is wrong and what to do. Exit code 0 when there is no "
        "problem; warnings are none. With --reconcile it reads from a trace backend what it has of each run that has "
        "ended, and lists those that are not there, not whole, or other than the journal says: exit code 1 when any "
        "is.",
        (
            f"{PROGRAM} doctor",
            f"{PROGRAM} doctor --json | jq .owed",
            f"{PROGRAM} doctor --reconcile jaeger http://localhost:16686 --since 1d",
            f"{PROGRAM} doctor --reconcile tempo http://localhost:3200 --fix",
        ),
        (
            Argument(("--no-probe",), "send nothing to the receiver", kind="switch"),
            Argument(
                ("--reconcile",),
                "compare the journal with what a backend has: jaeger or tempo, and the URL of its query API",
                "BACKEND URL",
                "pair",
            ),
            Argument(
                ("--header",),
                "reconcile: a header for the query API, like the tenant; may be given several times",
                "NAME=VALUE",
                "repeated",
            ),
            Argument(("--run", "--pattern-run-id"), "reconcile: only this run", "PRUN-ID"),
            Argument(("--job", "--job-id"), "reconcile: only this job", "JOB-ID"),
            Argument(("--since",), f"reconcile: only runs with an event at or after {_TIME}", "TIME", "moment"),
            Argument(("--fix",), "reconcile: send the spans that are missing", kind="switch"),
            Argument(("--json",), "print one JSON object; reconcile: one for each run, and a summary", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "finalize",
        "finalize",
        "end runs whose writer is gone",
        "Append an end to each run that has none and whose writers are gone: killed, or silent for a day where that "
        "cannot be told from here, on another host or before a reboot. The run has failed then, with error type "
        "'abandoned'. A run that ends itself later counts as it ended itself.",
        (f"{PROGRAM} finalize --dry-run", f"{PROGRAM} finalize --silent 2h && {PROGRAM} replay"),
        (
            Argument(
                ("--silent",),
                f"where writers cannot be looked at: no event for this long, {_DURATION} (1d)",
                "TIME",
                "seconds",
            ),
            Argument(("--dry-run",), "only tell which runs would be ended", kind="switch"),
            Argument(("--json",), f"{_JSON}: the events", kind="switch"),
            *COMMON,
        ),
    ),
    Command(
        "exec",
        "exec",
        "run a command as a pattern run",
        "Run a command and record it as a pattern run. The command's input, output, signals and exit code pass through "
        "unchanged; nothing else is printed. Options stand before the command, and '--' before a command that begins "
        "with a dash. Exit codes beside those of the command: 124 when it timed out, 126 when it cannot be executed, "
        "127 when it is not found, 2 for wrong usage; a command that a signal ended ends us by the same signal.",
        (
            f"{PROGRAM} exec -- pytest -q",
            f"{PROGRAM} exec --job-id JOB-NIGHTLY-12 --timeout 10m --artifact 'dist/*.whl' -- python -m build",
            f"{PROGRAM} exec --pattern-id PAT-DEPLOY-001 --input stage=test --input replicas=3 -- ./deploy.sh",
        ),
        (
            Argument(("--pattern-id",), "the pattern (else PAT- and the command's name)", "PAT-ID"),
            Argument(("--job-id",), "the job (else a new JOB-<ULID>)", "JOB-ID"),
            Argument(("--step-id",), "the step", "STEP-ID"),
            Argument(("--operation-kind",), "the kind of operation (else the command's name)", "KIND"),
            Argument(("--timeout",), f"end the command and its process group after {_DURATION}", "TIME", "seconds"),
            Argument(
                ("--grace",),
                "how long it may take to end after a time-out, SIGTERM or SIGHUP before it is killed (else 5s)",
                "TIME",
                "seconds",
            ),
            Argument(
                ("--artifact",),
                "record the files that match and were created or changed; may be repeated",
                "GLOB",
                "repeated",
            ),
            Argument(
                ("--input",),
                "record an input; numbers, true and false as such, anything else as text; may be repeated",
                "KEY=VALUE",
                "repeated",
            ),
            Argument(("--verbose",), "say on stderr which run it was, and all that went wrong with it", kind="switch"),
            Argument(
                ("--journal",), f"write to this journal (else OTEL_PATTERNS_JOURNAL, else {TABLE[0].default})", "PATH"
            ),
            Argument(("argv",), "the command and its arguments", "COMMAND", "rest"),
        ),
    ),
)
BY_NAME: Final[Mapping[str, Command]] = {command.name: command for command in COMMANDS}

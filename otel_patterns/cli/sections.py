"""The sections of an examination: each looks at one subject and says what it found.

Nothing is changed by it. What cannot be looked at is a finding as well, and keeps no other section from its own.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, Final
from urllib.parse import urlsplit

from ..clock import Clock
from ..errors import ConfigurationError, JournalError
from ..finalize import SILENT_SECONDS, find_abandoned
from ..journal import check as checks
from ..journal.health import count_quarantined, find_future_events, find_obstacle, find_spooled
from ..journal.prune import size_of
from ..journal.rotation import FAILED_SYNCS, GAPS, LAST_FAILED_SYNC, LOST
from ..journal.segments import sealed_segments
from ..journal.state import JournalState
from ..model.values import as_list, as_object
from ..settings import TABLE, Settings
from ..tracing.answers import Answer
from ..tracing.delivered import DeliveryRecord
from ..tracing.endpoint import (
    GRPC_PORT,
    Endpoint,
    endpoint_variable,
    exports_traces,
    is_disabled,
    names_endpoint,
    without_secrets,
)
from ..tracing.owed import owed_runs
from ..tracing.probe import Probe
from .findings import Section
from .journals import has_journal
from .moments import show_seconds
from .text import counted, show_bytes

# What `--json` has always, null when it cannot be told.
_JOURNAL_FACTS: Final = (
    "segments",
    "bytes",
    "obstacle",
    "bad_lines",
    "torn_tails",
    "lost_lines",
    "failed_syncs",
    "spool_files",
    "spooled_lines",
    "quarantined_lines",
)
_CLOCK_FACTS: Final = ("receiver_ahead_seconds", "future_events", "farthest_seconds")
_RUNS_FACTS: Final = ("abandoned", "silent", "out_of_sight")
# Of a loss that is older nobody has to do anything any more.
RECENT_SECONDS: Final = 24 * 3600
# HTTP tells whole seconds, and a request takes its time.
TOLERATED_SKEW_SECONDS: Final = 2.0
_PATH: Final = "/v1/traces"
_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_SET_ENDPOINT: Final = "set OTEL_EXPORTER_OTLP_ENDPOINT to where a collector, Jaeger or Tempo listens for OTLP"
_ALLOW: Final = "give this user the right to read it, or see what it is"
_SYNCHRONIZE: Final = "synchronize the clocks by NTP: times of spans from several hosts do not fit together"


def settings_section(given_journal: str | None) -> tuple[Section, Settings]:
    """Return each setting with where its value comes from, and the settings.

    Raises:
        ConfigurationError: An argument cannot be used.
    """
    section = Section("settings")
    unusable: list[ConfigurationError] = []
    settings = Settings.load(journal=given_journal, problems=unusable)
    names = {error.setting for error in unusable}
    for row in TABLE:
        value: Any = getattr(settings, row.field)
        if row.field.endswith("_url"):
            value = without_secrets(value)
        source = "default"
        if row.field == "journal" and given_journal is not None:
            source = "argument"
        elif os.environ.get(row.variable) and row.variable not in names:
            source = row.variable
        section.facts[row.field] = {"value": value, "source": source}
        section.ok(f"{row.field} = {value if value != '' else '(none)'} ({source})")
    for error in unusable:
        section.problem(f"{error.setting} cannot be used, and the default is", error.fix)
    return section, settings


def endpoint_section(settings: Settings) -> tuple[Section, Endpoint | None]:
    """Return where spans go, and the receiver there that can be asked; None when there is none."""
    section = Section("endpoint", {"url": None, "source": None, "protocol": None, "headers": [], "probe": None})
    if not exports_traces():
        name = "OTEL_SDK_DISABLED" if is_disabled(os.environ) else "OTEL_TRACES_EXPORTER"
        section.warn(f"{name}={os.environ.get(name)} turns traces off: runs stay in the journal", "unset it")
        return section, None
    if "off" in (settings.export, settings.delivery):
        section.ok("engines send nothing, as export or delivery says; replay and ship do")
    elif settings.delivery == "ship":
        section.ok("engines send nothing: 'otel-patterns ship' delivers their runs")
    elif settings.export == "tracer":
        section.ok("the application's provider exports runs; replay sends by OTLP")
    try:
        endpoint = Endpoint.from_environment()
    except ConfigurationError as error:
        section.problem(str(error))
        return section, None
    variable = endpoint_variable()
    section.facts.update(
        url=endpoint.destination,
        source=variable or "default",
        protocol=endpoint.protocol,
        headers=sorted(endpoint.headers),
    )
    section.ok(f"{endpoint.destination} by {endpoint.protocol} ({variable or 'default'})")
    if endpoint.headers:
        section.ok(f"headers: {', '.join(sorted(endpoint.headers))}")
    return section, endpoint


def tell_probe(section: Section, endpoint: Endpoint, probed: Probe) -> None:
    """Add what the receiver made of an empty request."""
    answer = probed.answer
    section.facts["probe"] = {"kind": answer.kind, "message": answer.message}
    words = answer.message or "no reason was given"
    if answer.kind == "acknowledged":
        section.ok(f"{endpoint.destination} takes spans")
        if answer.message:
            section.warn(f"the receiver says: {answer.message}")
    elif answer.kind == "retry" and section.facts["source"] == "default":
        section.warn(
            f"nobody takes spans at {endpoint.destination}, and no variable names another place", _SET_ENDPOINT
        )
    elif answer.kind == "refused":
        # It has understood us, and lets us in.
        section.warn(f"{endpoint.destination} refuses a request without spans: {words}")
    else:
        fix = _fix_of(answer, endpoint, section.facts["source"])
        section.problem(f"{endpoint.destination} does not take spans: {words}", fix)


def _fix_of(answer: Answer, endpoint: Endpoint, source: str) -> str:
    """Return what to do about a receiver that does not take spans, the common mistakes first."""
    path = urlsplit(endpoint.url).path.rstrip("/")
    if answer.kind not in ("retry", "misconfigured"):
        return "look into the receiver's own log"
    if endpoint.protocol == "http/protobuf" and urlsplit(endpoint.url).port == GRPC_PORT:
        return f"port {GRPC_PORT} is mostly that of gRPC: leave OTEL_EXPORTER_OTLP_PROTOCOL out, or name port 4318"
    if path.endswith(2 * _PATH):
        return f"leave {_PATH} out of {source}: it is added there"
    if source == _TRACES_ENDPOINT and endpoint.protocol == "http/protobuf" and not path.endswith(_PATH):
        return f"{source} is taken as it is: add {_PATH}, or set OTEL_EXPORTER_OTLP_ENDPOINT instead"
    if answer.kind == "retry":
        return f"start the receiver there, or {_SET_ENDPOINT}"
    return "see that it is an OTLP receiver of traces, and that OTEL_EXPORTER_OTLP_HEADERS lets us in"


def journal_section(path: str, clock: Clock) -> Section:
    """Return the state of the journal's files."""
    section = Section("journal", {"path": path, **dict.fromkeys(_JOURNAL_FACTS)})
    try:
        _examine_journal(section, path, clock)
    except (JournalError, OSError) as error:
        section.problem(f"cannot be read: {error}", _ALLOW)
    return section


def _examine_journal(section: Section, path: str, clock: Clock) -> None:
    sealed = sealed_segments(path)
    active = os.stat(path).st_size if os.path.exists(path) else 0
    size = sum(map(size_of, sealed)) + active
    segments = len(sealed) + bool(active)
    obstacle = find_obstacle(path)
    section.facts.update(segments=segments, bytes=size, obstacle=obstacle)
    if has_journal(path):
        section.ok(f"{path}: {counted(segments, 'segment')}, {show_bytes(size)}")
    else:
        section.warn(f"there is no journal at {path}", "--journal or OTEL_PATTERNS_JOURNAL names another one")
    if obstacle is None:
        section.ok("can be written")
    else:
        section.problem(f"cannot be written: {obstacle}", "events are spooled or lost until this is repaired")
    _tell_lines(section, path)
    _tell_losses(section, path, clock.now_unix_nano() // 1_000_000_000)
    spooled = list(find_spooled(path))
    lines = sum(each.lines for each in spooled)
    quarantined = count_quarantined(path)
    section.facts.update(spool_files=len(spooled), spooled_lines=lines, quarantined_lines=quarantined)
    if spooled:
        where = f"{counted(lines, 'line')} in {counted(len(spooled), 'spool file')}, the first {spooled[0].path}"
        section.warn(
            f"not in the journal yet: {where}", "the next process that writes to the journal merges what others left"
        )
    if quarantined:
        section.ok(f"{counted(quarantined, 'bad line')} in quarantine")


def _tell_lines(section: Section, path: str) -> None:
    kinds: Counter[str] = Counter()
    first: dict[str, checks.Finding] = {}
    for finding in checks.check(path):
        if finding.known:
            continue
        kinds[finding.kind] += 1
        first.setdefault(finding.kind, finding)
    section.facts.update(bad_lines=kinds[checks.BAD_LINE], torn_tails=kinds[checks.TORN_TAIL])
    for kind, word, fix in (
        (checks.BAD_LINE, "bad line", "each costs only itself; 'otel-patterns journal check' lists them"),
        (checks.TORN_TAIL, "torn line", "a writer was killed, or is at it; the next one goes on behind it"),
        (checks.TWO_FILES, "doubled segment", "'otel-patterns journal compress' finishes it"),
    ):
        if kinds[kind]:
            where = f"{os.path.basename(first[kind].path)} at byte {first[kind].offset}: {first[kind].reason}"
            section.warn(f"{counted(kinds[kind], word)}, the first in {where}", fix)


def _tell_losses(section: Section, path: str, now: int) -> None:
    state = JournalState(path)
    lost, failed = state.number(LOST), state.number(FAILED_SYNCS)
    section.facts.update(lost_lines=lost, failed_syncs=failed)
    # What somebody has taken note of is counted, but no warning any more.
    lost, failed = lost - state.acknowledged(LOST), failed - state.acknowledged(FAILED_SYNCS)
    gaps = as_list(state.load().get(GAPS)) or []
    gap_at = max((_seconds_of(gap, "until_unix_seconds") for gap in gaps), default=0)
    synced = state.load().get(LAST_FAILED_SYNC)
    for number, word, at, fix in (
        (lost, "lost line", gap_at, "the disk was full, or permissions were wrong: see that it stays repaired"),
        (failed, "failed sync", _seconds_of(synced, "at_unix_seconds"), "the disk may be failing: look at its health"),
    ):
        if number:
            age = now - at
            when = f", the latest {show_seconds(max(0, age))} ago" if at else ""
            tell = section.problem if at and age < RECENT_SECONDS else section.warn
            tell(f"{counted(number, word)} on record{when}", fix)


def _seconds_of(entry: Any, key: str) -> int:
    value = (as_object(entry) or {}).get(key)
    return value if isinstance(value, int) else 0


def delivery_section(path: str, endpoint: Endpoint | None, settings: Settings) -> Section:
    """Return what is on record of each destination, and what is owed."""
    section = Section("delivery", {"owed": None, "destinations": []})
    try:
        _examine_records(section, path, endpoint)
        owed = owed_runs(path)
    except (JournalError, OSError) as error:
        section.problem(f"cannot be told: {error}", _ALLOW)
        return section
    except ConfigurationError:
        section.warn("what is owed cannot be told without an endpoint", "correct its variable")
        return section
    section.facts["owed"] = len(owed)
    if owed:
        payer = "ship" if settings.delivery == "ship" else "replay"
        section.warn(f"{counted(len(owed), 'run')} owed", f"'otel-patterns {payer}' sends what is owed")
    elif not names_endpoint() and not section.facts["destinations"]:
        section.ok("no receiver is named and none is on record, so no run is owed")
    else:
        section.ok("no run is owed")
    return section


def _examine_records(section: Section, path: str, endpoint: Endpoint | None) -> None:
    in_force = DeliveryRecord(path, endpoint.destination).path if endpoint is not None else None
    for record in DeliveryRecord.all_of(path):
        settled, before = record.load(), record.load_checkpoint().before.get("delivered", 0)
        is_in_force = record.path == in_force
        # Before its first checkpoint a record has the name of its file alone.
        name = endpoint.destination if endpoint is not None and is_in_force else record.destination
        reasons = Counter(words for parked in settled.parked.values() for words in parked.values())
        runs = len(settled.whole) + len(settled.acknowledged)
        section.facts["destinations"].append(
            {
                "name": name,
                "in_force": is_in_force,
                "delivered_before": before,
                "runs": runs,
                "parked_spans": reasons.total(),
                "reasons": dict(reasons),
                "owner": (owner := record.owner),
            }
        )
        words = f"{counted(runs, 'run')} acknowledged on record"
        if before:
            words += f", {counted(before, 'run')} delivered before its checkpoint"
        section.ok(f"{name}: {words}{' (in force)' if is_in_force else ''}")
        if owner is not None:
            section.ok(f"{name}: {owner} delivers")
        for words, number in reasons.most_common():
            section.warn(
                f"{name}: {counted(number, 'span')} parked: {words}",
                "the receiver does not want them; once it is repaired 'otel-patterns replay --parked' sends them again",
            )


def clock_section(path: str, clock: Clock, probed: Probe | None) -> Section:
    """Return whether clocks agree: the receiver's with ours, and those of events."""
    section = Section("clock", dict.fromkeys(_CLOCK_FACTS))
    ahead = None if probed is None else probed.ahead_seconds
    section.facts["receiver_ahead_seconds"] = None if ahead is None else round(ahead, 3)
    if ahead is None:
        section.ok("the receiver's clock is not known")
    elif abs(ahead) <= TOLERATED_SKEW_SECONDS:
        section.ok("the receiver's clock agrees with this one")
    else:
        where = "ahead of" if ahead > 0 else "behind"
        section.warn(f"the receiver's clock is {show_seconds(abs(ahead))} {where} this one", _SYNCHRONIZE)
    try:
        found = find_future_events(path, clock.now_unix_nano, tolerated_seconds=TOLERATED_SKEW_SECONDS)
    except JournalError as error:
        section.problem(f"times of events cannot be told: {error}")
        return section
    section.facts.update(future_events=found.number, farthest_seconds=round(found.ahead_seconds, 3))
    if found.number:
        far = show_seconds(found.ahead_seconds)
        section.warn(f"{counted(found.number, 'event')} from the future, the farthest by {far}", _SYNCHRONIZE)
    else:
        section.ok("no event is from the future")
    return section


def runs_section(path: str, clock: Clock) -> Section:
    """Return the runs that have no end, and that nobody will end or that cannot be looked at from here."""
    section = Section("runs", dict.fromkeys(_RUNS_FACTS))
    gone = silent = unseen = 0
    try:
        for run in find_abandoned(path, now_unix_nano=clock.now_unix_nano(), silent_seconds=0.0):
            if run.silent_seconds is None:
                gone += 1
            elif run.silent_seconds >= SILENT_SECONDS:
                silent += 1
            else:
                unseen += 1
    except JournalError as error:
        section.problem(f"cannot be told: {error}")
        return section
    section.facts.update(abandoned=gone, silent=silent, out_of_sight=unseen)
    if gone:
        section.warn(
            f"{counted(gone, 'run')} without an end whose writer is gone", "'otel-patterns finalize' ends them"
        )
    if silent:
        section.warn(
            f"{counted(silent, 'run')} without an end, from another host or before a reboot, and silent for a day",
            "'otel-patterns finalize' ends them",
        )
    if unseen:
        section.ok(f"{counted(unseen, 'run')} without an end whose writer cannot be looked at from here")
    if not gone and not silent:
        section.ok("no run is known to be abandoned")
    return section

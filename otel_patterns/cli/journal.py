"""`otel-patterns journal`: look after the files of the journal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Final

from ..clock import Clock
from ..errors import ConfigurationError
from ..journal.check import acknowledge, check, quarantine, repair
from ..journal.compress import Form, compress, is_plain
from ..journal.job_log import repair_job_logs
from ..journal.lines import ReadReport
from ..journal.prune import delete_segments, find_prunable, size_of
from ..journal.rotation import FAILED_SYNCS, LOST
from ..journal.runs import read_runs
from ..journal.segments import sealed_segments
from ..journal.state import JournalState
from ..model.encoding import encode_json
from ..settings import Settings
from .journals import journal_of
from .output import Output, Styled
from .text import counted, safe, show_bytes

Action = Callable[[argparse.Namespace, str, Settings, Output, Clock], int]


def execute(arguments: argparse.Namespace, output: Output, clock: Clock) -> int:
    """Do the action that was asked for.

    Raises:
        ConfigurationError: A setting cannot be used.
        JournalError: The journal cannot be read, or a file of it not be written.
    """
    path, settings = journal_of(arguments, output)
    return _ACTIONS[arguments.action](arguments, path, settings, output, clock)


def _compress(arguments: argparse.Namespace, path: str, settings: Settings, output: Output, _clock: Clock) -> int:
    form: Form = arguments.format or (settings.compress if settings.compress != "none" else "gzip")
    before = after = count = 0
    for segment in filter(is_plain, sealed_segments(path)):
        size = os.stat(segment.path).st_size
        packed = compress(path, segment, form)
        output.line(f"{os.path.basename(segment.path)}  {show_bytes(size)} to {show_bytes(packed)}")
        output.flush()
        before, after, count = before + size, after + packed, count + 1
    output.say(f"{counted(count, 'segment')} compressed: {show_bytes(before)} to {show_bytes(after)}")
    return 0


def _check(arguments: argparse.Namespace, path: str, _settings: Settings, output: Output, _clock: Clock) -> int:
    findings = list(check(path))
    for finding in findings:
        if arguments.json:
            output.data(encode_json(finding._asdict()))
        else:
            where = f" at byte {finding.offset}" if finding.length else ""
            words = f"  {safe(os.path.basename(finding.path))}{where}: {safe(finding.reason)}"
            kind = finding.kind.replace("_", " ")
            parts = (Styled(f"{kind}{words} (known)", "dim"),) if finding.known else (Styled(kind, "bold"), words)
            output.line(*parts)
    if arguments.quarantine:
        output.say(f"{counted(quarantine(path, findings), 'line')} copied to quarantine")
    if arguments.acknowledge:
        acknowledge(path)
    known = sum(finding.known for finding in findings)
    said = f", {'all' if known == len(findings) else known} known" if known else ""
    output.say(f"{counted(len(findings), 'finding')}{said}" if findings else "nothing is wrong")
    return 1 if known < len(findings) else 0


def _repair(arguments: argparse.Namespace, path: str, _settings: Settings, output: Output, _clock: Clock) -> int:
    if arguments.jobs:
        return _repair_jobs(path, output, dry_run=arguments.dry_run)
    stem, suffix = os.path.splitext(path)
    target: str = os.path.abspath(arguments.output or f"{stem}.repaired{suffix}")
    events = repair(path, target)
    output.line(target)
    output.say(f"{counted(events, 'event')} written; the journal is as it was")
    return 0


def _repair_jobs(path: str, output: Output, *, dry_run: bool) -> int:
    added = "to add" if dry_run else "added"
    logs = 0
    missing = 0
    for log in repair_job_logs(path, dry_run=dry_run):
        words = [f"{counted(log.missing, 'line')} {added}"] if log.missing else []
        if log.only_here:
            words.append(f"{counted(log.only_here, 'event')} not in the journal, left as they are")
        output.line(safe(log.job_id), "  ", "; ".join(words))
        logs, missing = logs + bool(log.missing), missing + log.missing
    output.say(f"{counted(missing, 'line')} {added} in {counted(logs, 'job log')}")
    return 0


def _stats(arguments: argparse.Namespace, path: str, _settings: Settings, output: Output, _clock: Clock) -> int:
    report = ReadReport()
    runs = read_runs(path, report=report)
    sealed = sealed_segments(path)
    state = JournalState(path)
    active = os.stat(path).st_size if os.path.exists(path) else 0
    stats = {
        "events": report.events,
        "runs": len(runs),
        "open_runs": sum(run.finished_at is None for run in runs.values()),
        "bytes": sum(map(size_of, sealed)) + active,
        "segments": len(sealed) + (1 if active else 0),
        "compressed_segments": sum(not is_plain(segment) for segment in sealed),
        "bad_lines": report.skipped,
        "lost_lines": state.number(LOST),
        "failed_syncs": state.number(FAILED_SYNCS),
    }
    if arguments.json:
        output.data(encode_json(stats))
    else:
        for name, number in stats.items():
            shown = show_bytes(number) if name == "bytes" else str(number)
            output.line(f"{name.replace('_', ' '):<20} {shown}")
    return 0


def _prune(arguments: argparse.Namespace, path: str, _settings: Settings, output: Output, clock: Clock) -> int:
    older_than: float | None = arguments.older_than
    if older_than is None and arguments.keep_bytes is None:
        raise ConfigurationError("--older-than", older_than, "say what to delete by --older-than, --keep-bytes or both")
    from ..tracing.owed import owed_runs  # noqa: PLC0415  # loads what makes traces

    needed = owed_runs(path) | {run_id for run_id, run in read_runs(path).items() if run.finished_at is None}
    before = None if older_than is None else clock.now_unix_nano() - round(older_than * 1e9)
    found = find_prunable(path, needed, before=before, keep_bytes=arguments.keep_bytes)
    size = sum(map(size_of, found.segments))
    for segment in found.segments:
        output.line(os.path.basename(segment.path))
    artifacts = 0 if arguments.dry_run else delete_segments(path, found.segments)
    verb = "to delete" if arguments.dry_run else "deleted"
    said = f", and {counted(artifacts, 'artifact')}" if artifacts else ""
    output.say(f"{counted(len(found.segments), 'segment')} {verb}, {show_bytes(size)}{said}")
    if found.held is not None:
        reason = f"run {found.run_id} is open or owed, or goes on behind it"
        output.say(f"{os.path.basename(found.held.path)} is kept: {reason}")
    return 0


_ACTIONS: Final[dict[str, Action]] = {
    "check": _check,
    "compress": _compress,
    "prune": _prune,
    "repair": _repair,
    "stats": _stats,
}

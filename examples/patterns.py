"""The engine of the examples: its patterns, their templates and the tools they run. Nothing here emits events."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
PROJECT = EXAMPLES / "project"
# What a shell answers when a command does not exist.
COMMAND_NOT_FOUND = 127


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A reusable template of work.

    Attributes:
        command: The tool's command line; `{name}` stands for a variable.
        report: File name of the report that the tool writes, or None.
        summarize: Makes the result summary from the report and the tool's stdout.
    """

    pattern_id: str
    operation_kind: str
    version: str
    tool_name: str
    command: tuple[str, ...]
    report: str | None = None
    summarize: Callable[[Path | None, str], dict[str, Any]] = lambda report, stdout: {}  # noqa: ARG005  # named as in use

    @property
    def tool_version(self) -> str | None:
        """The tool's version, when it is a package of this interpreter."""
        try:
            return importlib.metadata.version(self.tool_name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def expand(self, variables: Mapping[str, object]) -> list[str]:
        """Return the command with its variables filled in."""
        return [word.format_map(variables) for word in self.command]


@dataclass(frozen=True)
class ToolResult:
    """What a tool that ran left behind."""

    exit_code: int
    duration: float
    pid: int
    stdout: str
    stderr: str


def run_tool(command: Sequence[str], *, timeout_seconds: float) -> ToolResult:
    """Run a command to its end.

    Raises:
        OSError: It cannot be started; `FileNotFoundError` when there is no such command.
        TimeoutExpired: It took too long and was killed.
    """
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_seconds)
        except BaseException:
            process.kill()
            raise
    return ToolResult(process.returncode, round(time.monotonic() - start, 6), process.pid, stdout, stderr)


CHECKS = ("target_exists", "disk_has_room")
ROOM_BYTES = 10_000_000


def failed_checks(target: Path, folder: Path) -> list[dict[str, str]]:
    """Return which of `CHECKS` fail, and why."""
    failed: list[dict[str, str]] = []
    if not target.exists():
        failed.append({"check": "target_exists", "error": f"{target}: no such file or folder"})
    if (free := shutil.disk_usage(folder).free) < ROOM_BYTES:
        failed.append({"check": "disk_has_room", "error": f"{folder}: {free} of {ROOM_BYTES} bytes are free"})
    return failed


def find_semgrep() -> str | None:
    """Return the path of semgrep, or None. `make semgrep` keeps it apart: it pins an old release of OpenTelemetry."""
    of_make = Path(sys.prefix) / "semgrep" / "bin"
    return shutil.which("semgrep", path=os.pathsep.join([str(of_make), os.environ.get("PATH", os.defpath)]))


def _summarize_pytest(report: Path | None, _stdout: str) -> dict[str, Any]:
    assert report is not None
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    return {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}


def _summarize_semgrep(report: Path | None, _stdout: str) -> dict[str, Any]:
    assert report is not None
    found = json.loads(report.read_text(encoding="utf-8"))
    severities = Counter(result["extra"]["severity"].lower() for result in found["results"])
    return {
        "finding_count": len(found["results"]),
        "files_scanned": len(found["paths"]["scanned"]),
        "severity_breakdown": dict(sorted(severities.items())),
    }


def _summarize_soak(_report: Path | None, stdout: str) -> dict[str, Any]:
    return {"lines_printed": len(stdout.splitlines())}


PATTERNS = {
    pattern.pattern_id: pattern
    for pattern in (
        Pattern(
            pattern_id="PAT-PYTEST-001",
            operation_kind="test_suite",
            version="1.2.0",
            tool_name="pytest",
            command=(sys.executable, "-m", "pytest", "{target}", "--junitxml={report}"),
            report="junit.xml",
            summarize=_summarize_pytest,
        ),
        Pattern(
            pattern_id="PAT-SEMGREP-001",
            operation_kind="semgrep_scan",
            version="2.0.1",
            tool_name="semgrep",
            command=(
                find_semgrep() or "semgrep",
                *("scan", "--config", str(EXAMPLES / "rules" / "python-security.yaml")),
                # The rules are a local file: nothing is fetched and nothing is told to anybody.
                *("--metrics", "off", "--disable-version-check", "--json", "--output", "{report}", "{target}"),
            ),
            report="semgrep_report.json",
            summarize=_summarize_semgrep,
        ),
        Pattern(
            pattern_id="PAT-LICENSES-001",
            operation_kind="license_audit",
            version="0.3.0",
            tool_name="license-audit",
            command=("license-audit-that-nobody-installed", "--output", "{report}", "{target}"),
            report="licenses.json",
        ),
        Pattern(
            pattern_id="PAT-SOAK-001",
            operation_kind="soak_test",
            version="1.0.0",
            tool_name="soak",
            command=(sys.executable, "{target}", "{seconds}"),
            summarize=_summarize_soak,
        ),
    )
}

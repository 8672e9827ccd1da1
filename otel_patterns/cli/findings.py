"""What an examination finds, section by section, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from ..model import names
from .output import Output, Styled

Level = Literal["ok", "warning", "problem"]
# Signs and colours are those of the statuses of a run.
_STATUSES: Final[Mapping[Level, str]] = {"ok": names.SUCCESS, "warning": names.WARNING, "problem": names.FAILED}


class Finding(NamedTuple):
    """One thing that was found, and what to do about it."""

    level: Level
    message: str
    fix: str = ""


@dataclass
class Section:
    """What was found of one subject.

    Attributes:
        name: The subject.
        facts: What was looked at, for programs.
        findings: What it means, for people.
    """

    name: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    findings: list[Finding] = field(default_factory=list[Finding])

    def ok(self, message: str) -> None:
        """Add what is as it should be."""
        self.findings.append(Finding("ok", message))

    def warn(self, message: str, fix: str = "") -> None:
        """Add what somebody should know, and nobody has to do anything about at once."""
        self.findings.append(Finding("warning", message, fix))

    def problem(self, message: str, fix: str = "") -> None:
        """Add what does not work, or has lost something."""
        self.findings.append(Finding("problem", message, fix))

    def document(self) -> dict[str, Any]:
        """Return facts and findings as one JSON object."""
        return {**self.facts, "findings": [finding._asdict() for finding in self.findings]}


def count(sections: Iterable[Section], level: Level) -> int:
    """Return how many findings of a level there are."""
    return sum(finding.level == level for section in sections for finding in section.findings)


def show(section: Section, output: Output) -> None:
    """Write a section: its name, and a line for each finding."""
    output.line(Styled(section.name, "bold"))
    for finding in section.findings:
        status = _STATUSES[finding.level]
        sign = output.status(status, output.symbols.sign(status))
        output.line("  ", sign, " ", finding.message, f": {finding.fix}" if finding.fix else "")

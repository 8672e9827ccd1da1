"""Prints the reference of the Python names, made from their signatures and docstrings: `docs/reference/python.md`.

`python -m tests.contract.print_api > docs/reference/python.md` writes it anew; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from griffe import Attribute, Class, Function, Module, Object, ParameterKind

from tests.contract.api import (
    TESTING,
    Annotate,
    Parts,
    arguments,
    bases,
    constructor_of,
    documented,
    load_package,
    members,
    methods,
    names_for_tests,
    parts_of,
)

MAX_SIGNATURE: Final = 100
# Subjects of the page: what stands in each, and where there is more about it.
SECTIONS: Final = {
    "Set up and emit": {
        "configure": "[Settings](settings.md) · [Send runs through your own provider](../how-to/own-provider.md)",
        "emit_pattern_event": "[Events](events.md#types-and-their-details) · [Values](events.md#values)",
        "shutdown": "",
        "PatternEventEmitter": "[The journal](journal.md) · [Delivery](../explanation/delivery.md)",
        "Receipt": "[Receipts](journal.md#receipts)",
        "Cursor": "",
        "observe_metrics": "[Find out what is wrong](../how-to/doctor.md#watch-a-process)",
    },
    "Runs in code": {
        "pattern_run": "[Run functions and async code](../how-to/async-and-decorators.md)",
        "current_run": "",
        "Run": "",
        "Selection": "",
        "Template": "",
        "Validation": "",
        "Execution": "",
        "RunSpan": "[Run functions and async code](../how-to/async-and-decorators.md#use-the-span)",
    },
    "Events and runs": {
        "PatternEvent": "[The envelope](events.md#the-envelope) · [Values](events.md#values)",
        "PatternRun": "[Fields of a run](runs.md#fields)",
        "fold": "[Runs](runs.md)",
        "fold_run": "",
        "PatternRunAggregator": "",
        "EventSource": "",
        "JobStateStore": "",
    },
    "OpenTelemetry programs and traces": {
        "JsonlSpanProcessor": "[A program that only speaks OpenTelemetry](../how-to/otel-native-program.md)",
        "events_from_trace": "[Get events back from a trace](../how-to/import-trace.md)",
        "TraceEvents": "",
        "IncompleteEvent": "",
    },
    "Errors": {
        "OtelPatternsError": "",
        "ConfigurationError": "",
        "InvalidEventError": "",
        "InvalidRunError": "",
        "InvalidTraceError": "",
        "JournalError": "",
        "Problem": "",
    },
}
_INTRODUCTION: Final = """\
# Python

This page is made from the code: `python -m tests.contract.print_api`.

Everything here is imported from `otel_patterns`, except for what only comes from a call or goes into one: `Run`, its
stages and its span, `Cursor`, `EventSource` and `Problem`. Names are loaded when they are first used.
`otel_patterns.__version__` is the version. `Clock`, and the arguments of that name, are for tests. `Any`, `Mapping` and
the like are those of `typing` and `collections.abc`.
"""
_TESTING_PAGE: Final = "[Test code that makes runs](../how-to/test-your-code.md)"
_MARKS: Final = {ParameterKind.var_positional: "*", ParameterKind.var_keyword: "**"}


class Page:
    """The reference as Markdown."""

    def __init__(self, package: Module) -> None:
        self.names = documented(package, [name for names in SECTIONS.values() for name in names])
        self._annotate = Annotate(package)
        self._testing = names_for_tests(package)

    def text(self) -> str:
        """Return the whole page."""
        blocks = [_INTRODUCTION.rstrip()]
        for heading, names in SECTIONS.items():
            blocks.append(f"## {heading}")
            for name, see in names.items():
                blocks += self.entry(name, see)
        if self._testing:
            blocks.append(f"## Testing\n\nThese are imported from `otel_patterns.{TESTING}`. See {_TESTING_PAGE}.")
            for name in self._testing:
                blocks += self.entry(name)
        return "\n\n".join(blocks) + "\n"

    def entry(self, name: str, see: str = "") -> Iterator[str]:
        """Yield the blocks of one name."""
        subject = self.names[name]
        yield f"### `{name}`"
        if isinstance(subject, Class):
            yield from self._class(name, subject, see)
        else:
            yield f"```python\n{self.signature(name, subject)}\n```"
            yield from self._described(name, self.parts(subject), see)

    def parts(self, subject: Object) -> Parts:
        """Return the docstring of something in parts."""
        return parts_of(subject.docstring, self._annotate)

    def attributes(self, subject: Class) -> list[tuple[str, str, str]]:
        """Return (name, type, meaning) of what a class and its bases list in docstrings, and of properties."""
        rows: dict[str, tuple[str, str, str]] = {}
        for part in (subject, *bases(subject)):
            rows |= {row[0]: row for row in self.parts(part).attributes if row[0] not in rows}
            for name, member in members(part).items():
                if isinstance(member, Attribute) and "property" in member.labels and name not in rows:
                    described = self.parts(member)
                    raised = [f"Raises `{error}`: {when}" for error, _, when in described.raises]
                    rows[name] = (name, self._annotate(member.annotation), " ".join([described.text, *raised]))
        return list(rows.values())

    def signature(self, shown: str, subject: Object) -> str:
        """Return a signature on one line when it fits, else with one parameter a line, as the formatter does it."""
        if not isinstance(subject, Function):
            assert isinstance(subject, Attribute), subject.path
            annotation = f": {self._annotate(subject.annotation)}" if subject.annotation is not None else ""
            return f"{shown}{annotation} = {self._annotate(subject.value)}"
        parameters = list(self._parameters(subject))
        is_constructor = subject.name == "__init__"
        result = "" if is_constructor else f" -> {self._annotate(subject.returns)}"
        start = f"async {shown}" if "async" in subject.labels else shown
        line = f"{start}({', '.join(parameters)}){result}"
        if len(line) <= MAX_SIGNATURE:
            return line
        return f"{start}(\n" + "".join(f"    {text},\n" for text in parameters) + f"){result}"

    def _parameters(self, function: Function) -> Iterator[str]:
        is_keyword_only = False
        for parameter in arguments(function):
            if parameter.kind is ParameterKind.var_positional:
                is_keyword_only = True
            elif parameter.kind is ParameterKind.keyword_only and not is_keyword_only:
                is_keyword_only = True
                yield "*"
            text = f"{_MARKS.get(parameter.kind or ParameterKind.keyword_only, '')}{parameter.name}"
            text += f": {self._annotate(parameter.annotation)}"
            if parameter.default is not None and parameter.kind not in _MARKS:
                text += f" = {self._annotate(parameter.default)}"
            yield text

    def _class(self, name: str, subject: Class, see: str) -> Iterator[str]:
        parts = self.parts(subject)
        constructor = constructor_of(subject, parts)
        if constructor is None:
            parts.arguments = []
        else:
            yield f"```python\n{self.signature(name, constructor)}\n```"
        yield from self._described(name, parts, see, self.attributes(subject))
        for method, function in methods(subject).items():
            yield f"#### `{name}.{method}`"
            yield f"```python\n{self.signature(f'{name}.{method}', function)}\n```"
            yield from self._described(name, self.parts(function))

    def _described(
        self, name: str, parts: Parts, see: str = "", attributes: Sequence[tuple[str, str, str]] = ()
    ) -> Iterator[str]:
        if parts.text:
            yield self._linked(parts.text, name)
        yield from _table(("argument", "meaning"), [(row[0], self._linked(row[2], name)) for row in parts.arguments])
        rows = [(attribute, kind, self._linked(text, name)) for attribute, kind, text in attributes]
        yield from _table(("attribute", "type", "meaning"), rows)
        for text in parts.more:
            yield text if text.startswith("```") else self._linked(text, name)
        raised = [(error, self._linked(text, name)) for error, _, text in parts.raises]
        yield from _table(("raises", "when"), raised)
        if see:
            yield f"See {see}."

    def _linked(self, text: str, here: str) -> str:
        """Return a text in which the first mention of each other name of the page leads there."""
        for name in self.names:
            if name != here:
                text = re.sub(rf"(?<!\[)`{name}(?:\(\))?`", lambda found: _link(found[0]), text, count=1)
        return text


def _link(code: str) -> str:
    anchor = re.sub(r"\W", "", code).lower()
    return f"[{code}](#{anchor})"


def _table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table, unless it is empty; the first cell of a row is code, and so is a type."""
    if not rows:
        return
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for first, *middle, last in rows:
        cells = [f"`{cell}`" if cell else "" for cell in (first, *middle)]
        text = re.sub(r"\s+", " ", last)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in (*cells, text)) + " |")
    yield "\n".join(lines)


def printed_api() -> str:
    """Return the reference as Markdown."""
    return Page(load_package()).text()


if __name__ == "__main__":
    print(printed_api(), end="")

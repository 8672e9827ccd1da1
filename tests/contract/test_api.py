"""The reference of the Python names is made from the code, and the docstrings say what there is to say."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from griffe import Attribute, Class, Function, Object

import otel_patterns as p
from otel_patterns import errors
from otel_patterns.settings import TABLE
from otel_patterns.tracing import endpoint, origin
from tests.contract import print_settings
from tests.contract.api import (
    COMPANIONS,
    ROOT,
    TESTING,
    arguments,
    bases,
    constructor_of,
    is_left_out,
    load_package,
    members,
    methods,
    names_for_tests,
)
from tests.contract.print_api import SECTIONS, Page, printed_api
from tests.contract.print_settings import STANDARD, printed_settings

REFERENCE = ROOT / "docs" / "reference"
PACKAGE = load_package()
PAGE = Page(PACKAGE)
# Types that signatures name and that have no entry: the package's own affairs, and what another page describes.
NOT_ON_THE_PAGE = {"Channel", "Clock", "CommandResult", "Settings", "SpanKind", "SpanLink"}
EVENT = ("pattern.execution.started", "JOB-1", "PRUN-1", "PAT-1", "in_progress")


def callables() -> dict[str, Function]:
    """Return every function and method that has a place on the page, and how classes are made, by its name there."""
    found: dict[str, Function] = {}
    for name, subject in PAGE.names.items():
        if isinstance(subject, Function):
            found[name] = subject
        elif isinstance(subject, Class):
            constructor = constructor_of(subject, PAGE.parts(subject))
            found |= {} if constructor is None else {name: constructor}
            found |= {f"{name}.{method}": function for method, function in methods(subject).items()}
    return found


def documentation_of(name: str) -> Object:
    """Return where the docstring of something stands: that of a class says how it is made."""
    return PAGE.names[name] if name in PAGE.names else CALLABLES[name]


CALLABLES = callables()
CLASSES = {name: subject for name, subject in PAGE.names.items() if isinstance(subject, Class)}


# The page.


def test_python_page_is_what_the_code_says() -> None:
    """The page is generated: `python -m tests.contract.print_api > docs/reference/python.md`."""
    assert (REFERENCE / "python.md").read_text(encoding="utf-8") == printed_api()


def test_python_page_has_each_public_name_once() -> None:
    """The subjects hold what is exported and its companions, and nothing twice; testing has a section of its own."""
    placed = [name for names in SECTIONS.values() for name in names]
    assert sorted(placed) == sorted([*p.__all__, *COMPANIONS])
    folder = ROOT / p.__name__
    is_shipped = any(path.exists() for path in (folder / f"{TESTING}.py", folder / TESTING))
    assert bool(names_for_tests(PACKAGE)) == is_shipped


def test_types_in_signatures_are_on_the_page() -> None:
    """Who gets or gives an object of ours finds it on the page."""
    text = printed_api()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    code += "\n".join(re.findall(r"^\| `\w+` \| (`.+`) \| ", text, re.MULTILINE))
    ours = {
        name
        for module in (ROOT / p.__name__).rglob("*.py")
        for name in re.findall(r"^class ([A-Z]\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert "Receipt" in ours & set(re.findall(r"\w+", code))
    assert (ours & set(re.findall(r"\b[A-Z]\w+", code))) - set(PAGE.names) - NOT_ON_THE_PAGE == set()


# Docstrings.


@pytest.mark.parametrize("name", [*PAGE.names, *(name for name in CALLABLES if "." in name)])
def test_docstring_is_there(name: str) -> None:
    """Each public name and each of its methods has a docstring."""
    assert PAGE.parts(documentation_of(name)).text


@pytest.mark.parametrize("name", CALLABLES)
def test_docstring_describes_each_argument(name: str) -> None:
    """All arguments are described, in their order, and no other."""
    described = [argument for argument, _, _ in PAGE.parts(documentation_of(name)).arguments]
    assert described == [parameter.name for parameter in arguments(CALLABLES[name])]


@pytest.mark.parametrize("name", CLASSES)
def test_docstring_describes_each_attribute(name: str) -> None:
    """Each public attribute of a class has a type and a meaning, and no other is described."""
    subject = CLASSES[name]
    described = PAGE.attributes(subject)
    assert [row for row in described if not all(row)] == []
    there = {
        attribute
        for part in (subject, *bases(subject))
        for attribute, member in members(part).items()
        if isinstance(member, Attribute) and not is_left_out(member)
    }
    assert {row[0] for row in described} == there


@pytest.mark.parametrize("name", CALLABLES)
def test_docstring_lists_each_error_that_stands_in_the_code(name: str) -> None:
    """What a function raises itself is listed; what comes from below is in the table of this module."""
    function = CALLABLES[name]
    assert isinstance(function.filepath, Path)
    tree = ast.parse(function.filepath.read_text(encoding="utf-8"))
    raised = {
        ast.unparse(node.exc.func)
        for definition in ast.walk(tree)
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef))
        and definition.lineno <= (function.endlineno or 0)
        if definition.name == function.name and definition.lineno >= (function.lineno or 0)
        for node in ast.walk(definition)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert (raised & set(vars(errors))) - {error for error, _, _ in PAGE.parts(documentation_of(name)).raises} == set()


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader who types an example gets what it shows, with the names that the package exports."""
    monkeypatch.chdir(tmp_path)
    names = {name: getattr(p, name) for name in p.__all__}
    runner, tests = doctest.DocTestRunner(), doctest.DocTestParser()
    for name in [*PAGE.names, *CALLABLES]:
        docstring = documentation_of(name).docstring
        if docstring is not None:
            runner.run(tests.get_doctest(docstring.value, dict(names), name, None, None))
    assert runner.tries > 0
    assert runner.failures == 0


# Errors.


def broken_journal(folder: Path) -> Path:
    """Return the folder of a journal that is there and cannot be read."""
    (folder / "pattern_events.jsonl").mkdir()
    return folder


def store_of(folder: Path) -> p.JobStateStore:
    """Return a store of a journal that cannot be read."""
    return p.JobStateStore(journal=broken_journal(folder) / "pattern_events.jsonl")


def aggregator_of(folder: Path) -> p.PatternRunAggregator:
    """Return an aggregator of a journal that cannot be read."""
    return p.PatternRunAggregator(p.PatternEventEmitter(broken_journal(folder)))


def enter_run(folder: Path) -> None:
    """Run a block whose job is none."""
    emitter = p.PatternEventEmitter(folder)
    with p.pattern_run("PAT-1", job_id="job", operation_kind="demo", emitter=emitter):
        pass


def call_function(folder: Path) -> None:
    """Call a function each call of which would be one and the same run."""
    emitter = p.PatternEventEmitter(folder)
    run = p.pattern_run("PAT-1", job_id="JOB-1", operation_kind="demo", pattern_run_id="PRUN-1", emitter=emitter)
    run(len)(())


def bad(value: object) -> Any:
    """Return a value as one that callers without types pass."""
    return value


# What is documented to raise, and a call that does.
RAISES: Mapping[tuple[str, str], Callable[[Path], object]] = {
    ("configure", "ConfigurationError"): lambda folder: p.configure(journal=folder / "j", validation="loose"),
    ("emit_pattern_event", "InvalidEventError"): lambda folder: p.emit_pattern_event(
        "pattern.execution.began", *EVENT[1:], emitter=p.PatternEventEmitter(folder)
    ),
    ("PatternEventEmitter", "ConfigurationError"): lambda _: p.PatternEventEmitter(cast("str", 3)),
    ("PatternEventEmitter.emit", "InvalidEventError"): lambda folder: p.PatternEventEmitter(folder).emit(bad({})),
    ("PatternEventEmitter.get_events", "JournalError"): lambda folder: p.PatternEventEmitter(
        broken_journal(folder)
    ).get_events(),
    ("pattern_run", "InvalidEventError"): enter_run,
    ("pattern_run", "OtelPatternsError"): call_function,
    ("PatternEvent", "InvalidEventError"): lambda _: p.PatternEvent(**bad({})),
    ("PatternEvent.create", "InvalidEventError"): lambda _: p.PatternEvent.create("x", *EVENT[1:]),
    ("PatternEvent.from_document", "InvalidEventError"): lambda _: p.PatternEvent.from_document({}),
    ("PatternRun.create", "InvalidRunError"): lambda _: p.PatternRun.create("PAT-1", "job", "demo"),
    ("PatternRun.from_document", "InvalidRunError"): lambda _: p.PatternRun.from_document({}),
    ("fold_run", "OtelPatternsError"): lambda _: p.fold_run([]),
    ("PatternRunAggregator.rebuild_from_events", "JournalError"): lambda folder: aggregator_of(
        folder
    ).rebuild_from_events("JOB-1"),
    ("PatternRunAggregator.get_run", "JournalError"): lambda folder: aggregator_of(folder).get_run("PRUN-1"),
    ("JobStateStore", "ConfigurationError"): lambda _: p.JobStateStore(journal=bad(3)),
    ("JobStateStore.get_pattern_events", "JournalError"): lambda folder: store_of(folder).get_pattern_events("JOB-1"),
    ("JobStateStore.get_pattern_runs", "JournalError"): lambda folder: store_of(folder).get_pattern_runs("JOB-1"),
    ("JobStateStore.get_pattern_run", "JournalError"): lambda folder: store_of(folder).get_pattern_run("PRUN-1"),
    ("JsonlSpanProcessor", "ConfigurationError"): lambda folder: p.JsonlSpanProcessor(
        folder / "j", emitter=p.PatternEventEmitter(folder)
    ),
    ("events_from_trace", "InvalidTraceError"): lambda _: p.events_from_trace("{}"),
}


def test_documented_errors_are_those_that_are_tried() -> None:
    """No docstring speaks of an error that nothing raises, and none keeps quiet about one that is tried here."""
    of_testing = names_for_tests(PACKAGE)
    documented = {
        (name, error)
        for name in [*PAGE.names, *CALLABLES]
        if name.partition(".")[0] not in of_testing
        for error, _, _ in PAGE.parts(documentation_of(name)).raises
    }
    assert documented == set(RAISES)


@pytest.mark.parametrize(("name", "error"), RAISES, ids=" ".join)
def test_documented_error_is_raised(name: str, error: str, tmp_path: Path) -> None:
    """A call that should raise an error raises that one and no other."""
    with pytest.raises(p.OtelPatternsError) as caught:
        RAISES[name, error](tmp_path)
    assert type(caught.value).__name__ == error


# Settings.


def test_settings_page_is_what_the_code_says() -> None:
    """The page is generated: `python -m tests.contract.print_settings > docs/reference/settings.md`."""
    text = printed_settings()
    assert (REFERENCE / "settings.md").read_text(encoding="utf-8") == text
    assert [row.variable for row in TABLE if f"| `{row.variable}` |" not in text] == []


class Asked(dict[str, str]):
    """An environment that remembers which variables it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return what is set, which is nothing at first."""
        self.names.add(key)
        return super().get(key, default)


def test_settings_page_has_each_standard_variable_that_is_read() -> None:
    """The table of OpenTelemetry's variables is complete, and has none that nobody reads."""
    environment = Asked()
    endpoint.Endpoint.from_environment(environment)
    # Whether TLS is wanted is only asked without a scheme.
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "collector:4317"
    endpoint.Endpoint.from_environment(environment)
    endpoint.exports_traces(environment)
    # The argument of the sampler is read by the SDK, with the sampler.
    read = environment.names | set(origin.__dict__["_SDK_VARIABLES"]) | {"OTEL_TRACES_SAMPLER_ARG"}
    assert {name for names, _ in STANDARD for name in names} == read
    assert endpoint.__dict__["_PREFIX"] == print_settings.OTLP

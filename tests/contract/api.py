"""What the package offers, read from its source: public names, their members, and their docstrings in parts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from griffe import (
    Alias,
    Attribute,
    Class,
    Docstring,
    DocstringSectionKind,
    Expr,
    ExprCall,
    ExprName,
    ExprSubscript,
    Function,
    GriffeLoader,
    Module,
    Object,
    Parameter,
)

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "otel_patterns"
# What the package does not export, and its functions return or take.
COMPANIONS: Final = {
    "Cursor": "journal.cursor",
    "EventSource": "store.aggregator",
    "Execution": "runner.stages",
    "Problem": "errors",
    "Run": "runner",
    "RunSpan": "tracing.run_span",
    "Selection": "runner.stages",
    "Template": "runner.stages",
    "Validation": "runner.stages",
}
# How the docstring of a method says that users need not call it: it is not on the page.
NOT_FOR_CALLERS: Final = (
    "The `with` statement does it.",
    "The SDK calls it.",
    "The run does it.",
    "For the package itself.",
    "Do nothing",
)
TESTING: Final = "testing"
# pydantic's own.
_NO_FIELDS: Final = frozenset({"model_config"})
_TYPE_VARIABLE: Final = re.compile(r"\bT\b")
# A string as Python's parser gives it back, which the formatter would write with double quotes.
_SINGLE_QUOTED: Final = re.compile(r"'([^'\"\\]*)'")
# A union of a dozen types keeps its name.
_LONGEST_ALIAS: Final = 60


def load_package() -> Module:
    """Return the package as its source describes it; nothing of it is imported."""
    loaded = GriffeLoader(search_paths=[ROOT], allow_inspection=False).load(PACKAGE, try_relative_path=False)
    assert isinstance(loaded, Module)
    return loaded


def documented(package: Module, names: Iterable[str]) -> dict[str, Object]:
    """Return what these names stand for, and then what `otel_patterns.testing` offers, by name."""
    places = {name: f"{home}.{name}" for name, home in COMPANIONS.items()}
    found = {name: target(package[places.get(name, name)]) for name in names}
    return {**found, **names_for_tests(package)}


def names_for_tests(package: Module) -> dict[str, Object]:
    """Return the names of `otel_patterns.testing` in the order of its `__all__`; none when there is no such module."""
    module = package.modules.get(TESTING)
    if module is None:
        return {}
    return {str(name): target(module[str(name)]) for name in module.exports or ()}


def target(found: Object | Alias) -> Object:
    """Return what a name stands for, behind all imports of it."""
    return found.final_target if isinstance(found, Alias) else found


@dataclass
class Parts:
    """A docstring in parts; rows are (name, type, meaning)."""

    text: str = ""
    arguments: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    attributes: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    raises: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    more: list[str] = field(default_factory=list[str])


def parts_of(docstring: Docstring | None, annotate: Annotate) -> Parts:
    """Return a Google docstring in parts."""
    parts = Parts()
    texts: list[str] = []
    for section in docstring.parse("google", warnings=False) if docstring is not None else ():
        value: Any = section.value
        if section.kind is DocstringSectionKind.text:
            texts.append(value)
        elif section.kind is DocstringSectionKind.parameters:
            parts.arguments += [(item.name, annotate(item.annotation), item.description) for item in value]
        elif section.kind is DocstringSectionKind.attributes:
            owner = docstring.parent if docstring is not None else None
            parts.attributes += [
                (item.name, annotate(item.annotation or _inferred(owner, item.name)), item.description)
                for item in value
            ]
        elif section.kind is DocstringSectionKind.raises:
            parts.raises += [(str(item.annotation), "", item.description) for item in value]
        elif section.kind in (DocstringSectionKind.returns, DocstringSectionKind.yields):
            word = "Returns" if section.kind is DocstringSectionKind.returns else "Yields"
            parts.more += [f"{word}: {item.description}" for item in value]
        elif section.kind is DocstringSectionKind.examples:
            parts.more += [
                f"```python\n{text}\n```" if kind is DocstringSectionKind.examples else text for kind, text in value
            ]
        else:
            raise ValueError(f"{docstring and docstring.value!r}: the page cannot show {section.kind.value}")
    parts.text = "\n\n".join(texts)
    return parts


def _inferred(owner: Object | None, name: str) -> str | Expr | None:
    """Return the type of an attribute that its class only assigns: that of the argument or constant that it is."""
    member = owner.members.get(name) if owner is not None else None
    value = member.value if isinstance(member, Attribute) else None
    constructor = owner.members.get("__init__") if owner is not None else None
    if isinstance(value, ExprName) and isinstance(constructor, Function) and value.name in constructor.parameters:
        return constructor.parameters[value.name].annotation
    return type(ast.literal_eval(value)).__name__ if isinstance(value, str) else None


class Annotate:
    """Writes annotations as text, with the package's own aliases replaced by what they stand for."""

    def __init__(self, package: Module) -> None:
        self._package = package

    def __call__(self, annotation: str | Expr | None) -> str:
        """Return the text of an annotation; empty for none."""
        return _SINGLE_QUOTED.sub(r'"\1"', self._text(annotation)) if annotation is not None else ""

    def _text(self, part: str | Expr) -> str:
        if isinstance(part, ExprSubscript) and (value := self._alias(part.left)) is not None:
            return _TYPE_VARIABLE.sub(lambda _: self._text(part.slice), self._text(value))
        if isinstance(part, ExprName):
            value = self._alias(part)
            return part.name if value is None else self._text(value)
        if isinstance(part, Expr):
            return "".join(self._text(inner) for inner in part.iterate(flat=False))
        return part

    def _alias(self, part: str | Expr) -> str | Expr | None:
        """Return what an alias of the package stands for; type variables are none."""
        if not isinstance(part, ExprName) or not part.canonical_path.startswith(f"{PACKAGE}."):
            return None
        named = target(self._package[part.canonical_path.removeprefix(f"{PACKAGE}.")])
        if not isinstance(named, Attribute) or isinstance(named.value, ExprCall):
            return None
        return named.value if len(str(named.value)) <= _LONGEST_ALIAS else None


def bases(subject: Class) -> list[Class]:
    """Return the classes of the package that a class inherits from, nearest first."""
    return [base for base in subject.mro() if base.path.startswith(f"{PACKAGE}.")]


def members(subject: Class) -> dict[str, Object]:
    """Return the public members that a class itself has."""
    return {
        name: target(member)
        for name, member in subject.members.items()
        if not name.startswith("_") and name not in _NO_FIELDS
    }


def methods(subject: Class) -> dict[str, Function]:
    """Return the methods that users call, those of the bases last."""
    found: dict[str, Function] = {}
    for part in (subject, *bases(subject)):
        for name, member in members(part).items():
            if isinstance(member, Function) and name not in found and not is_left_out(member):
                found[name] = member
    return found


def is_left_out(member: Object) -> bool:
    """Tell whether a docstring says that users need not call what it describes."""
    return member.docstring is not None and any(words in member.docstring.value for words in NOT_FOR_CALLERS)


def constructor_of(subject: Class, parts: Parts) -> Function | None:
    """Return how a class is made, when its docstring describes the arguments; None for what only calls return."""
    if subject.name in COMPANIONS:
        return None
    found = subject.all_members.get("__init__")
    constructor = None if found is None else target(found)
    return constructor if parts.arguments and isinstance(constructor, Function) else None


def arguments(function: Function) -> list[Parameter]:
    """Return the parameters that a caller gives."""
    return [parameter for parameter in function.parameters if parameter.name not in ("self", "cls")]

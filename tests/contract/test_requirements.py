"""The pinned requirements keep to what `pyproject.toml` asks for."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent


def asked_for(table: str) -> list[Requirement]:
    """Return the requirements of an array in pyproject.toml. By text: Python 3.10 has no parser of TOML."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    array = re.search(rf"^{table} = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
    assert array is not None
    return [Requirement(item) for item in re.findall(r'"([^"]+)"', array[1])]


def pinned(name: str) -> list[Requirement]:
    """Return the requirements of a compiled file."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]


@pytest.mark.parametrize(
    ("table", "file"),
    [
        ("dependencies", "runtime.txt"),
        ("dependencies", "dev.txt"),
        ("dev", "dev.txt"),
        ("zstd", "dev.txt"),
        ("semgrep", "semgrep.txt"),
        ("dependencies", "logfire.txt"),
        ("logfire", "logfire.txt"),
    ],
)
def test_compiled_requirements_satisfy_pyproject(table: str, file: str) -> None:
    """Every dependency is pinned, in each of its variants to a version that pyproject.toml allows."""
    pins = pinned(file)
    assert asked_for(table)
    for wanted in asked_for(table):
        versions = [next(iter(pin.specifier)).version for pin in pins if pin.name == wanted.name]
        assert versions, f"{wanted.name} is not in {file}: run `make requirements`"
        assert [version for version in versions if version not in wanted.specifier] == [], wanted


def test_runtime_pins_are_those_of_dev() -> None:
    """The demo installs the one file and the tests the other: both run the same versions."""
    dev = {str(pin) for pin in pinned("dev.txt")}
    assert [str(pin) for pin in pinned("runtime.txt") if str(pin) not in dev] == []


@pytest.mark.parametrize("file", ["runtime.txt", "dev.txt", "semgrep.txt", "logfire.txt"])
def test_compiled_requirements_name_no_registry(file: str) -> None:
    """Where packages come from is the matter of whoever installs them."""
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    assert re.findall(r"://|--index|--find-links|--extra", text) == []

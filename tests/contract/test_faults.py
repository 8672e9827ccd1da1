"""The table of faults: every number has its row, and every test that it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBERS = [*(f"J{n}" for n in range(1, 25)), "R1", "R2", *(f"X{n}" for n in range(1, 12)), "A1"]
UNTESTED: list[str] = []


def rows() -> dict[str, str]:
    """Return what stands in the last column of each row, by its number."""
    text = (ROOT / "docs" / "reference" / "faults.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| ([A-Z]\d+) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert len(found) == len(dict(found)), "a number stands twice"
    return dict(found)


def test_every_fault_has_a_row() -> None:
    """None is left out, and none is invented."""
    assert list(rows()) == NUMBERS


def test_tests_of_the_table_are_there() -> None:
    """Each row names tests of this tree, except for those that say that they have none."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests").rglob("test_*.py")))
    defined = set(re.findall(r"^def (test_\w+)", code, re.MULTILINE))
    named = {number: re.findall(r"`(test_\w+)`", cell) for number, cell in rows().items()}
    assert [name for names in named.values() for name in names if name not in defined] == []
    assert [number for number, names in named.items() if not names] == UNTESTED
    assert all(rows()[number] == "no test" for number in UNTESTED)

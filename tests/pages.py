"""The pages of the documentation: their blocks of code, and a shell in which these run one after the other.

A comment above a block says what a test has to know. `<!-- key: value; key: value -->` with these keys:

| key | meaning |
|---|---|
| `needs: jaeger` | run only where this server or package is, with its addresses in place of the default ones |
| `start: jaeger`, `stop: jaeger` | not run: the test starts or stops its own server |
| `file: NAME` | saved under this name and not run |
| `exit: N` | ends with this exit code |
| `not run: REASON` | not run |
| `output: end` | of a text block: the end of what the block before printed |

A text block that follows a block at once is what it prints, but for ids, times and lengths.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
KEYS = {"needs", "start", "stop", "file", "exit", "not run", "output"}
TIMEOUT_SECONDS = 60
# Where a reader's collector is by default, and where nobody listens: it takes root to.
DEFAULT_OTLP = "http://localhost:4318"
DEAD_OTLP = "http://127.0.0.1:1"
_BLOCK = re.compile(
    r"^(?:<!-- (?P<notes>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A block of code and what the comment above it says; `output` is what it is said to print."""

    language: str
    code: str
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    output: str | None = None
    output_is_end: bool = False

    @property
    def is_run(self) -> bool:
        """Whether a test runs or saves it."""
        return ("file" in self.notes or self.language in ("bash", "python")) and not {"not run", "start", "stop"} & set(
            self.notes
        )


def pages() -> list[Path]:
    """Return every page that people read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def executed_pages() -> list[Path]:
    """Return the pages whose code is run from top to bottom."""
    return [
        ROOT / "README.md",
        DOCS / "tutorial.md",
        *sorted((DOCS / "how-to").glob("*.md")),
        *sorted((DOCS / "explanation").glob("*.md")),
    ]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that are code, with what they print."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        notes = _notes(match["notes"], page)
        is_end = notes.get("output") == "end"
        if match["language"] != "text":
            found.append(Block(match["language"], match["code"], notes))
        elif found and (is_end or not text[end : match.start()].strip()):
            last = found.pop()
            found.append(Block(last.language, last.code, last.notes, match["code"], is_end))
        end = match.end()
    return found


def _notes(comment: str | None, page: Path) -> dict[str, str]:
    notes: dict[str, str] = {}
    for note in comment.split("; ") if comment else ():
        key, colon, value = note.partition(": ")
        assert colon, f"{page.name}: {comment}"
        assert key in KEYS, f"{page.name}: {comment}"
        notes[key] = value
    return notes


class Shell:
    """Runs the blocks of a page in one folder; variables and the working directory go from block to block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "page"
        self._folder.mkdir()
        self._state = folder / "state.sh"
        self._state.write_text(f"cd {shlex.quote(str(self._folder))}\n", encoding="utf-8")
        self._working_directory = folder / "working-directory"
        # The defaults that pages name, and what stands for them here.
        self.addresses: dict[str, str] = {DEFAULT_OTLP: DEAD_OTLP}

    def run(self, block: Block) -> None:
        """Run or save a block, and compare its exit code and its output with what the page says."""
        code = block.code
        for default, here in self.addresses.items():
            code = code.replace(default, here)
        if "file" in block.notes:
            path = self._here() / block.notes["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
            return
        script = code if block.language == "bash" else f"python -c {shlex.quote(code)}\n"
        done = self._call(script)
        wanted = int(block.notes.get("exit", "0"))
        assert done.returncode == wanted, f"{code}\nended with {done.returncode}:\n{done.stdout}{done.stderr}"
        if block.output is not None:
            printed, shown = normal_form(done.stdout), normal_form(block.output)
            if block.output_is_end:
                printed = printed[-len(shown) :]
            assert printed == shown, f"{code}\nprinted:\n{done.stdout}"

    def _here(self) -> Path:
        if not self._working_directory.exists():
            return self._folder
        return Path(self._working_directory.read_text(encoding="utf-8").removesuffix("\n"))

    def _call(self, script: str) -> "subprocess.CompletedProcess[str]":
        state, here = (shlex.quote(str(path)) for path in (self._state, self._working_directory))
        # -a: what a block sets is there for the next one, as in a reader's shell.
        # What bash says when its own variables cannot be set again is of no interest.
        restore = f". {state} 2>/dev/null\nset -aeuo pipefail"
        save = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {state}; pwd > {here}"
        return subprocess.run(
            ["bash", "-c", f"{restore}\ntrap {shlex.quote(save)} EXIT\n{script}"],
            env=environment(self._folder),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )


def environment(home: Path) -> dict[str, str]:
    """Return a reader's environment: the package installed, nothing configured."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**inherited, "PATH": programs, "HOME": str(home), "NO_COLOR": "1", "PYTHONUTF8": "1"}


_CHANGING = (
    (re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b"), "ULID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "TRACE"),
    (re.compile(r"\b\d{4}-\d{2}-\d{2}T[\d:.]+Z"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:ms|s|m|h)\b"), "LENGTH"),
    (re.compile(r"[ \t]+"), " "),
)


def normal_form(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run."""
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.strip().splitlines()]


def code_spans(text: str) -> Iterator[str]:
    """Yield the lines of code in a text: those of blocks, and what stands between backticks."""
    for match in _BLOCK.finditer(text):
        yield from match["code"].splitlines()
    for match in re.finditer(r"`([^`\n]+)`", _BLOCK.sub("", text)):
        yield match[1]

"""The built package, installed with its run-time dependencies alone, on every Python at hand."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import otel_patterns
from otel_patterns.cli.commands import COMMANDS
from tests.backends.programs import cache_folder
from tests.integration.test_replay import GOLDEN, journal_of_runs
from tests.pages import ROOT

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
COMPILED = "compiled"
PINS = ROOT / "requirements" / "runtime.txt"
LOWEST = "lowest"
# The oldest releases that pyproject.toml allows.
LOWEST_PINS = ROOT / "requirements" / "lowest.txt"
INSTALL_SECONDS = 110
# All but the patterns that the executor imports.
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != "patterns.py")
BYTES_OF_JOURNAL = """\
import hashlib, sys
import otel_patterns
from otel_patterns.journal.read import read_events
from otel_patterns.tracing.otlp import encode_run
from otel_patterns.tracing.parcels import pack
runs = {}
for event in read_events(sys.argv[1]):
    runs.setdefault(event.pattern_run_id, []).append(event)
for run_id, events in runs.items():
    run = encode_run(events)
    print(hashlib.sha256(pack(run, run.spans).body).hexdigest(), run_id, sep="  ")
"""
TRACE_OF_JOURNAL = """\
import sys
from otel_patterns.journal.read import read_events
from otel_patterns.tracing.otlp import encode_run
from otel_patterns.tracing.parcels import pack
run = encode_run(read_events(sys.argv[1]))
sys.stdout.buffer.write(pack(run, run.spans).body)
"""
Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def interpreter(version: str) -> str:
    """Return a Python of that version, or skip."""
    if version == OWN_VERSION:
        return sys.executable
    for folder in os.get_exec_path():
        found = shutil.which(f"python{version}", path=folder)
        # Version managers put programs on PATH that only say what they would start.
        if found is not None and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
            return found
    pytest.skip(f"python{version} not found: put it on PATH")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the sdist and the wheel that is plain Python."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, OTEL_PATTERNS_PLAIN="1")
    return folder


def build(source: Path, folder: Path, *options: str, **environment: str) -> str:
    """Build what the options say, or sdist and wheel, and return what was said."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *options]
    inherited = {name: value for name, value in os.environ.items() if name != "OTEL_PATTERNS_PLAIN"}
    done = subprocess.run(
        command, cwd=source, capture_output=True, text=True, check=True, env={**inherited, **environment}
    )
    return done.stdout + done.stderr


def environment_of(version: str, wheel: Path, pins: Path = PINS) -> Path:
    """Return an environment with the wheel and its run-time dependencies, or skip when these cannot be installed.

    The dependencies are kept from one run of the tests to the next; the wheel is always the new one.
    """
    python = interpreter(version)
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    folder = cache_folder() / f"python{version}-{digest}"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for command in ([python, "-m", "venv", str(folder)], [*pip, "--requirement", str(pins)]):
                subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"the dependencies cannot be installed: {error}: {error.stderr}")
        (folder / "installed").touch()
    # With its dependencies checked, not installed: what it needs has to be among what was pinned.
    install = [*pip, "--no-index", "--force-reinstall", "--no-deps", str(wheel)]
    subprocess.run(install, capture_output=True, check=True)
    check = [str(folder / "bin" / "python"), "-m", "pip", "check"]
    assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    return folder / "bin"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel for this Python with compiled modules, or skip."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    folder = tmp_path_factory.mktemp("compiled")
    said = build(ROOT, folder, "-t", "wheel")
    assert "stays plain" not in said
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", params=[*VERSIONS, LOWEST, COMPILED])
def programs(request: pytest.FixtureRequest, built: Path) -> Path:
    """Return the folder of the programs of an environment with the wheel."""
    if request.param == COMPILED:
        return environment_of(OWN_VERSION, request.getfixturevalue("compiled"))
    (wheel,) = built.glob("*.whl")
    if request.param == LOWEST:
        return environment_of(OWN_VERSION, wheel, LOWEST_PINS)
    return environment_of(request.param, wheel)


@pytest.fixture
def run(programs: Path, tmp_path: Path) -> Iterator[Run]:
    """Yield a function that runs a program of the environment in an empty folder, with an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    environment = {**kept, "HOME": str(home), "OTEL_PATTERNS_JOURNAL": str(tmp_path / "journal.jsonl")}

    def run_program(*command: str, stdin: bytes = b"", exit_code: int = 0) -> subprocess.CompletedProcess[bytes]:
        argv = [str(programs / command[0]), *command[1:]]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, input=stdin, capture_output=True, check=False)
        assert done.returncode == exit_code, done.stderr.decode()
        return done

    yield run_program
    assert list(home.iterdir()) == [], "something was left in the home"


def test_sdist_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """Who builds from the source distribution gets what everybody gets."""
    (sdist,) = built.glob("*.tar.gz")
    (wheel,) = built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "again", "-t", "wheel", OTEL_PATTERNS_PLAIN="1")
    (again,) = (tmp_path / "again").glob("*.whl")
    assert contents(again) == contents(wheel)


def test_compiled_wheel_has_the_twins_beside_the_same_sources(built: Path, compiled: Path) -> None:
    """It is the plain wheel, and each function that is compiled as well stands beside its own."""
    (wheel,) = built.glob("*.whl")
    plain, files = contents(wheel), contents(compiled)
    sources = {name: digest for name, digest in plain.items() if ".dist-info/" not in name}
    assert {name: files.get(name) for name in sources} == sources
    modules = {name.partition(".")[0] + ".pyx" for name in files.keys() - plain.keys() if name.endswith(".so")}
    assert modules == {name for name in sources if name.endswith(".pyx")} != set()


def test_without_a_compiler_the_wheel_is_plain(tmp_path: Path) -> None:
    """Who has none can install it all the same, and is told what he goes without."""
    said = build(ROOT, tmp_path, "-t", "wheel", CC=str(tmp_path / "missing"))
    assert "stays plain Python" in said
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")


def contents(wheel: Path) -> dict[str, str]:
    """Return the digest of each file in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_every_command_works(run: Run, tmp_path: Path) -> None:
    """Each command of the command line, with the run-time dependencies alone."""
    program = "otel-patterns"
    tried: set[str] = set()

    def call(command: str, *arguments: str, stdin: bytes = b"", exit_code: int = 0) -> bytes:
        tried.add(command)
        return run(program, command, *arguments, stdin=stdin, exit_code=exit_code).stdout

    assert call("exec", "--job-id", "JOB-1", "--", "sh", "-c", "echo out; exit 3", exit_code=3) == b"out\n"
    events = call("events", "--json")
    assert [json.loads(line)["event_type"].split(".")[1] for line in events.splitlines()][-1] == "execution"
    (listed,) = call("runs", "--json").splitlines()
    run_id = json.loads(listed)["pattern_run_id"]
    assert json.loads(call("run", run_id, "--json"))["status"] == "failed"
    call("validate-pattern-event", stdin=events)
    call("validate-pattern-run", stdin=listed)
    assert run_id.encode() in call("replay", "--dry-run")
    saved = run("python", "-c", TRACE_OF_JOURNAL, str(tmp_path / "journal.jsonl")).stdout
    imported = str(tmp_path / "imported.jsonl")
    call("import-trace", "--journal", imported, "-", stdin=saved)
    assert len(call("events", "--json", "--journal", imported).splitlines()) == len(events.splitlines())
    call("finalize", "--dry-run")
    call("journal", "compress")
    call("ship", "--once", "--journal", str(tmp_path / "empty.jsonl"))
    assert json.loads(call("doctor", "--no-probe", "--json"))["problems"] == 0
    assert call("doctor", "--reconcile", "jaeger", "http://127.0.0.1:1", "--json", exit_code=1) == b""
    assert tried == {command.name for command in COMMANDS}


def test_version_says_whether_it_is_compiled(run: Run, request: pytest.FixtureRequest) -> None:
    """Whoever reports a fault sees which of the two it is."""
    is_compiled = request.node.callspec.params["programs"] == COMPILED
    shown = run("python", "-m", "otel_patterns", "--version").stdout.decode()
    assert shown == f"otel-patterns {otel_patterns.__version__}{', compiled' if is_compiled else ''}\n"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_works(run: Run, example: str, tmp_path: Path) -> None:
    """Each example, with the run-time dependencies alone."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    run("python", f"examples/{example}")
    journals = list(tmp_path.rglob("*.jsonl"))
    assert any(b"pattern.execution." in journal.read_bytes() for journal in journals), journals


def test_replay_bytes_are_the_same(run: Run, tmp_path: Path) -> None:
    """An upgrade of Python makes no doubles of what backends hold."""
    golden = tmp_path / "golden.jsonl"
    journal_of_runs(golden)
    shown = run("python", "-c", BYTES_OF_JOURNAL, str(golden)).stdout.decode()
    assert sorted(shown.splitlines()) == sorted((GOLDEN / "replay.sha256").read_text().splitlines())

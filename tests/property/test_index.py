"""A run is found by indexes as it is by reading everything, whatever becomes of journal and indexes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from otel_patterns.journal import compress, index, lines, lookup
from otel_patterns.journal.compress import is_plain
from otel_patterns.journal.index import index_directory
from otel_patterns.journal.lookup import read_run, read_run_documents
from otel_patterns.journal.read import Filter, read_documents, read_events
from otel_patterns.journal.segments import sealed_segments
from tests.unit.journal.lines import event_line, segment_at

RUNS = ("PRUN-01M82EMHAJSC324JXPRZTNWGK3", "PRUN-01M82EMHAJSC324JXPRZTNWGK4", "PRUN-OTHER", "PRUN-OTHE")
APPENDS = st.tuples(st.sampled_from(["event", "escaped", "damaged", "nested", "blank"]), st.sampled_from(RUNS))
STEPS = st.one_of(
    APPENDS,
    APPENDS,
    st.sampled_from(["look", "look", "seal", "gzip", "zstd", "cut", "lose"]),
    st.tuples(st.just("spoil"), st.integers(0, 10_000)),
)


@pytest.fixture(autouse=True, scope="module")
def small_files() -> Iterator[None]:
    """Have files of a few lines indexed, and read in blocks of one or two."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (lookup, index):
            monkeypatch.setattr(module, "INDEXED_BYTES", 300)
        monkeypatch.setattr(lines, "_CHUNK_BYTES", 512)
        yield


def line_of(kind: str, run_id: str, number: int) -> bytes:
    """Return a line that is one of a run, or seems to be."""
    line = event_line(number, run_id=run_id)
    if kind == "escaped":
        return line.replace(run_id.encode(), run_id.replace("R", "\\u0052").encode())
    if kind == "damaged":
        return line[:-20] + b"\n"
    if kind == "nested":
        details = json.dumps({"pattern_run_id": run_id}).encode()
        return event_line(number, run_id="PRUN-NESTED").replace(b'"details":{', b'"details":{"of":' + details + b",")
    return b"\n" if kind == "blank" else line


def perform(path: Path, step: str | tuple[str, str] | tuple[str, int], number: int) -> None:
    """Do what writers, operators and disks do."""
    if isinstance(step, str):
        STEP_BY_NAME[step](path)
    elif isinstance(step[1], str):
        with path.open("ab") as file:
            file.write(line_of(step[0], step[1], number))
    elif indexes := indexes_of(path):
        spoilt = indexes[step[1] % len(indexes)]
        data = bytearray(spoilt.read_bytes())
        data[step[1] * 7919 % len(data)] ^= 1 << number % 8
        spoilt.write_bytes(data)


def indexes_of(path: Path) -> list[Path]:
    """Return the files of all indexes."""
    return sorted(Path(index_directory(path)).glob("*"))


def look(path: Path) -> None:
    """Look for every run."""
    for run_id in RUNS:
        read_run(path, run_id)


def seal(path: Path) -> None:
    """Seal the active file, if there is one."""
    if path.exists() and path.stat().st_size:
        last = max((segment.number for segment in sealed_segments(path)), default=0)
        path.rename(path.with_name(f"pattern_events-{last + 1:08d}.jsonl"))


def pack(path: Path, form: compress.Form) -> None:
    """Compress what is sealed."""
    for segment in filter(is_plain, sealed_segments(path)):
        if segment_at(Path(segment.path)):
            compress.compress(str(path), segment, form)


def cut(path: Path) -> None:
    """Drop the second half of the active file."""
    if path.exists():
        data = path.read_bytes()
        path.write_bytes(data[: data.rfind(b"\n", 0, len(data) // 2) + 1])


def lose(path: Path) -> None:
    """Delete all indexes."""
    for each in indexes_of(path):
        each.unlink()


STEP_BY_NAME: dict[str, Callable[[Path], None]] = {
    "look": look,
    "seal": seal,
    "gzip": lambda path: pack(path, "gzip"),
    "zstd": lambda path: pack(path, "zstd"),
    "cut": cut,
    "lose": lose,
}


@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(steps=[("event", RUNS[0]), ("event", RUNS[2]), "look", "seal", ("event", RUNS[0]), "look", "zstd", "look"])
@example(steps=[*[("event", RUNS[2])] * 4, "look", "cut", *[("event", RUNS[0])] * 4, "look"])
@example(
    steps=[*[("event", RUNS[2])] * 4, "look", *[("event", RUNS[3])] * 4, "look", ("spoil", 5), ("spoil", 77), "look"]
)
def test_run_is_found_by_indexes_as_by_reading_everything(
    steps: list[str | tuple[str, str] | tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """After each step, and whoever makes the indexes; a spoilt one hides nothing."""
    path = tmp_path_factory.mktemp("journal") / "pattern_events.jsonl"
    for number, step in enumerate(steps):
        perform(path, step, number)
    for run_id in RUNS:
        wanted = Filter(pattern_run_id=run_id)
        documents = [(line.data, document) for line, document in read_documents(path, wanted)]
        assert [(line.data, document) for line, document in read_run_documents(path, wanted)] == documents
        expected = [event.to_line() for event in read_events(path, wanted)]
        assert [event.to_line() for event in read_run(path, run_id)] == expected
        assert [event.to_line() for event in read_run(path, run_id)] == expected, "the second look differs"

"""The tail of live runs when another file stands at the journal's path."""

from __future__ import annotations

import os

import pytest

from tests.unit.journal.lines import CountingFile
from tests.unit.journal.tails import Bench, ids_of


def test_events_of_live_run_go_on_in_replaced_journal(bench: Bench) -> None:
    """A live run keeps its events from the former file, also those that came after the last look at it."""
    tail = bench.tail()
    run, other = bench.run_id(), bench.run_id()
    ids_of(tail, run, bench.emit(run))
    ids_of(tail, other, bench.emit(other))
    bench.emit(other)
    bench.emit(run)
    before, other_before = bench.expected(run), bench.expected(other)
    bench.replace()
    # Another process writes into the new file first.
    bench.emit(other)
    assert ids_of(tail, run, bench.emit(run)) == before + bench.expected(run)
    assert ids_of(tail, other, bench.emit(other)) == other_before + bench.expected(other)
    assert [len(before), len(other_before), len(bench.expected(other))] == [2, 2, 2]


def test_events_of_run_in_replaced_journal_are_all_that_it_holds(bench: Bench) -> None:
    """Of a run that was not asked for before, a replaced journal's lines are found, the first one too."""
    bench.emit(bench.run_id())
    tail = bench.tail()
    tail.catch_up()
    bench.replace()
    run = bench.run_id(seconds_ago=5)
    bench.emit(run)
    assert ids_of(tail, run, bench.emit(run), made_here=False) == bench.expected(run)
    assert len(bench.expected(run)) == 2


def test_events_of_late_note_about_former_file_change_nothing(bench: Bench, counting: type[CountingFile]) -> None:
    """A note about a line of the former file neither loses nor repeats lines of the present one, nor reads it again."""
    tail = bench.tail()
    run, other = bench.run_id(), bench.run_id()
    ids_of(tail, run, bench.emit(run))
    # A long file, so that its cursor lies behind the end of the present one.
    late = bench.emit(run, size=20_000)
    bench.replace()
    bench.emit(other)
    first = ids_of(tail, other, bench.emit(other))
    before = counting.bytes_read
    assert len(ids_of(tail, run, late)) == 2
    bench.emit(other)
    assert len(ids_of(tail, run, late)) == 2
    assert counting.bytes_read == before
    assert ids_of(tail, other, bench.emit(other)) == bench.expected(other)
    assert [len(first), len(bench.expected(other))] == [2, 4]


def test_events_of_notes_about_file_that_was_replaced_meanwhile_are_found(bench: Bench) -> None:
    """While notes about the former file come, it is read although its path means another file by now."""
    tail = bench.tail()
    run = bench.run_id()
    ids_of(tail, run, bench.emit(run))
    late = bench.emit(run)
    expected = bench.expected(run)
    bench.replace()
    bench.emit(bench.run_id())
    assert ids_of(tail, run, late) == expected
    assert len(expected) == 2


@pytest.mark.parametrize("size_after", [0, 100, 50_000])
def test_events_of_run_go_on_in_truncated_journal(bench: Bench, size_after: int) -> None:
    """After copytruncate a run goes on, whether or not the file has grown beyond its former size by then."""
    tail = bench.tail()
    run, fresh = bench.run_id(), bench.run_id()
    bench.emit(bench.run_id(), size=20_000)
    ids_of(tail, run, bench.emit(run))
    before = bench.expected(run)
    size_before = bench.path.stat().st_size
    os.truncate(bench.path, 0)
    bench.emit(fresh)
    bench.emit(run)
    bench.emit(bench.run_id(), size=size_after)
    cursors = bench.emit(run)
    assert (bench.path.stat().st_size > size_before) == (size_after > 20_000)
    assert ids_of(tail, run, cursors) == before + bench.expected(run)
    assert ids_of(tail, fresh, bench.emit(fresh)) == bench.expected(fresh)
    assert [len(bench.expected(run)), len(bench.expected(fresh))] == [2, 2]


def test_events_of_deleted_journal_are_those_that_were_read(bench: Bench) -> None:
    """When the journal is deleted, the opened file is read on, and the next one from its beginning."""
    tail = bench.tail()
    run = bench.run_id()
    ids_of(tail, run, bench.emit(run))
    cursors = bench.emit(run)
    before = bench.expected(run)
    bench.path.unlink()
    assert ids_of(tail, run, cursors) == before
    assert ids_of(tail, run, bench.emit(run)) == before + bench.expected(run)

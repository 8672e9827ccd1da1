"""The tail of live runs: the events of a run equal those of a full read, at the cost of what is new."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_patterns.errors import JournalError
from otel_patterns.journal import tail as tail_module
from otel_patterns.journal.cursor import Cursor
from otel_patterns.journal.tail import RunTail
from otel_patterns.testing import START_UNIX_NANO, FakeClock
from tests.unit.journal.lines import CountingFile, event_ids
from tests.unit.journal.tails import Bench, ids_of


def test_events_of_run_begun_here_are_all_of_them(bench: Bench) -> None:
    """A run that begins and ends while the tail goes on is complete at each of its events."""
    tail = bench.tail()
    run = bench.run_id()
    for count in range(1, 6):
        cursors = bench.emit(run)
        assert ids_of(tail, run, cursors) == bench.expected(run)
        assert len(bench.expected(run)) == count


@pytest.mark.parametrize("made_here", [False, True])
def test_events_of_run_begun_before_tail_are_all_of_them(bench: Bench, *, made_here: bool) -> None:
    """Lines that stood in the journal when the tail began belong to the run as well."""
    run, other = bench.run_id(), bench.run_id()
    for _ in range(5):
        bench.emit(other)
        bench.emit(run)
    bench.clock.advance(300)
    tail = bench.tail()
    cursors = bench.emit(run)
    assert ids_of(tail, run, cursors, made_here=made_here) == bench.expected(run)
    assert len(bench.expected(run)) == 6


def test_events_of_run_another_process_began_after_tail_are_all_of_them(bench: Bench) -> None:
    """A run is complete also when the tail passed its first lines before anybody asked for it."""
    tail = bench.tail()
    ours, theirs = bench.run_id(), bench.run_id()
    bench.emit(theirs)
    assert ids_of(tail, ours, bench.emit(ours)) == bench.expected(ours)
    bench.emit(theirs)
    tail.catch_up()
    cursors = bench.emit(theirs)
    assert ids_of(tail, theirs, cursors, made_here=False) == bench.expected(theirs)
    assert len(bench.expected(theirs)) == 3


@pytest.mark.parametrize("step", [1, 700, 32 * 1024])
def test_events_read_ahead_are_those_read_one_run_after_the_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Many runs are read together, in steps of any size, old ones, interleaved ones and damaged lines included."""
    monkeypatch.setattr(tail_module, "_STEP_BYTES", step)
    old = bench.run_id()
    bench.emit(old)
    bench.clock.advance(300)
    tail = bench.tail()
    runs = [old, *(bench.run_id() for _ in range(5))]
    first: dict[str, Cursor] = {}
    last: dict[str, Cursor] = {}
    for number in range(3):
        for run in runs:
            start, last[run] = bench.emit(run)
            first.setdefault(run, start)
        if number == 1:
            bench.write(b'{"event_id": torn\n')
    tail.look_ahead((run, first[run], last[run], run != old) for run in runs)
    for run in runs:
        assert ids_of(tail, run, (first[run], last[run]), made_here=run != old) == bench.expected(run)
        if step > 1000:
            # Nothing is left to read.
            monkeypatch.setattr(tail_module, "read_blocks", None)
    assert len(bench.expected(old)) == 4


def test_events_of_run_from_host_with_slow_or_fast_clock_are_all_of_them(bench: Bench) -> None:
    """A run id stamped by a clock that is up to a minute off hides none of the run's lines."""
    for seconds in (-59, -1, 1, 59):
        run = bench.run_id(seconds_ago=seconds)
        bench.emit(run)
        tail = bench.tail()
        assert ids_of(tail, run, bench.emit(run), made_here=False) == bench.expected(run)
        assert len(bench.expected(run)) == 2


@pytest.mark.parametrize("run", ["PRUN-TEST-001", "PRUN-a.b_c-d", "PRUN-01KANBQ8M0000000000000000u"])
def test_events_of_run_whose_id_has_no_time_are_all_of_them(bench: Bench, run: str) -> None:
    """For an id that is no ULID the whole journal is searched: such a run may have begun at any time."""
    bench.emit(run)
    for _ in range(200):
        bench.emit(bench.run_id())
        bench.clock.advance(3600)
    tail = bench.tail()
    assert ids_of(tail, run, bench.emit(run), made_here=False) == bench.expected(run)
    assert len(bench.expected(run)) == 2


def test_events_searched_backward_stop_at_a_stretch_of_older_lines_alone(bench: Bench) -> None:
    """One writer with a slow clock among others does not hide what stands before its lines."""
    run = bench.run_id()
    bench.emit(run)
    for _ in range(40):
        bench.clock.advance(-7200)
        for _ in range(60):
            bench.emit(bench.run_id())
        bench.clock.advance(7200)
        bench.emit(bench.run_id())
    tail = bench.tail()
    assert ids_of(tail, run, bench.emit(run), made_here=False) == bench.expected(run)
    assert len(bench.expected(run)) == 2


def escape(text: bytes, part: bytes) -> bytes:
    """Write a part of a JSON text with escapes."""
    assert text.count(part) == 1
    return text.replace(part, b"".join(b"\\u%04x" % byte for byte in part))


@pytest.mark.parametrize("is_tail_first", [False, True])
@pytest.mark.parametrize("form", ["key", "id", "both", "spaces", "nested", "key, and nested", "id, and nested"])
def test_events_written_in_another_form_are_found(bench: Bench, form: str, *, is_tail_first: bool) -> None:
    """JSON may write key and id with escapes and spaces, and details may hold another run's id under the same key."""
    run, stranger = bench.run_id(), bench.run_id()
    tail = bench.tail() if is_tail_first else None
    for _ in range(3):
        line = bench.line(run)
        if "nested" in form:
            line = line.replace(b'"details":{', b'"details":{"pattern_run_id":"' + stranger.encode() + b'",')
        key, run_in_line = b'"pattern_run_id":"', run.encode()
        if form.startswith("key") or form == "both":
            line = line.replace(key + run_in_line, escape(key, b"run") + run_in_line)
        if form.startswith("id") or form == "both":
            line = escape(line, run_in_line)
        if form == "spaces":
            line = line.replace(b'"pattern_run_id":', b'"pattern_run_id" \t: ')
        assert json.loads(line)["pattern_run_id"] == run
        bench.write(line)
    tail = tail or bench.tail()
    assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert ids_of(tail, stranger, bench.emit(stranger)) == bench.expected(stranger)
    assert [len(bench.expected(run)), len(bench.expected(stranger))] == [4, 1]


def test_events_written_twice_count_where_they_came_first(bench: Bench) -> None:
    """A copy that is written later is no event."""
    tail = bench.tail()
    run = bench.run_id()
    first, second = bench.line(run), bench.line(run)
    for line in (first, second, first, second, second):
        cursors = bench.write(line)
    assert ids_of(tail, run, cursors) == bench.expected(run)  # pyright: ignore[reportPossiblyUnboundVariable]
    assert len(bench.expected(run)) == 2


def test_events_asked_for_out_of_order_are_all_of_them(bench: Bench) -> None:
    """A note about a later line may come first; the note about the earlier one then finds everything too."""
    tail = bench.tail()
    runs = [bench.run_id() for _ in range(3)]
    notes = [(run, bench.emit(run)) for _ in range(4) for run in runs]
    for run, cursors in reversed(notes):
        assert ids_of(tail, run, cursors) == bench.expected(run)
        assert len(bench.expected(run)) == 4


def test_events_damaged_and_torn_lines_between_change_nothing(bench: Bench) -> None:
    """Fragments, damage and oversized lines are passed over, and no line behind them is lost."""
    tail = bench.tail()
    run = bench.run_id()
    half = bench.line(run)[:-30]
    for damage in (b"\n\n", half + b"\n", b"\0" * 50 + b"\n", b"z" * 1_200_000 + b"\n", run.encode() + b"\n"):
        bench.write(damage)
        assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    bench.write(half)
    tail.catch_up()
    bench.write(b"\n")
    assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert len(bench.expected(run)) == 6


def test_events_of_line_completed_after_catching_up_are_seen(bench: Bench) -> None:
    """A line of which the tail saw a half is read whole when it is complete."""
    tail = bench.tail()
    run = bench.run_id()
    bench.emit(run)
    line = bench.line(run)
    start, _ = bench.write(line[:100])
    tail.catch_up()
    _, end = bench.write(line[100:])
    assert ids_of(tail, run, (start, end)) == bench.expected(run)
    assert len(bench.expected(run)) == 2


def test_events_after_forget_are_complete_again(bench: Bench) -> None:
    """An event after a run's end is seen with the run's whole past: with a part of it, it would look like the end."""
    tail = bench.tail()
    run = bench.run_id()
    bench.emit(run)
    ids_of(tail, run, bench.emit(run))
    for _ in range(3):
        tail.forget(run)
        assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert len(bench.expected(run)) == 5


def test_forget_of_unknown_run_does_nothing(bench: Bench) -> None:
    """A run that was never asked for can be forgotten."""
    bench.tail().forget("PRUN-UNKNOWN")


def test_events_of_more_runs_than_are_remembered_are_all_of_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what was dropped from it is found in the journal again."""
    monkeypatch.setattr(tail_module, "_REMEMBERED_RUNS", 4)
    tail = bench.tail()
    runs = [bench.run_id(), "PRUN-TEST-001"]
    for _ in range(18):
        bench.clock.advance(1)
        runs.append(bench.run_id())
    for _ in range(2):
        for run in runs:
            bench.emit(run)
    tail.catch_up()
    for _ in range(2):
        for run in runs:
            assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert {len(bench.expected(run)) for run in runs} == {4}
    assert len(tail._runs) <= 4  # pyright: ignore[reportPrivateUsage]  # a bound of memory shows nowhere else
    assert len(tail._lines) <= 4  # pyright: ignore[reportPrivateUsage]


def test_events_of_more_live_runs_than_are_remembered_are_all_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live run that was dropped from memory to make room comes back whole."""
    monkeypatch.setattr(tail_module, "_REMEMBERED_RUNS", 4)
    tail = bench.tail()
    bench.clock.advance(1)
    runs = [bench.run_id() for _ in range(6)]
    for count in (1, 2, 3):
        for run in runs:
            assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
            assert len(bench.expected(run)) == count


def test_events_when_journal_appears_after_tail_are_all_of_them(bench: Bench) -> None:
    """A tail may begin before there is a journal, and one that appears may hold older lines."""
    tail = bench.tail()
    tail.catch_up()
    run = bench.run_id()
    nowhere = Cursor("0-0", 0), Cursor("0-0", 100)
    assert ids_of(tail, run, nowhere) == []
    old = bench.run_id(seconds_ago=3600)
    bench.emit(old)
    bench.emit(run)
    assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert ids_of(tail, old, bench.emit(old), made_here=False) == bench.expected(old)


def test_events_after_clock_was_set_back_are_all_of_them(bench: Bench) -> None:
    """When the clock was set back before the tail began, a run from before then is still found whole."""
    run = bench.run_id()
    cursors = bench.emit(run)
    bench.clock.advance(-3600)
    tail = bench.tail()
    assert ids_of(tail, run, cursors) == bench.expected(run)
    assert ids_of(tail, run, bench.emit(run)) == bench.expected(run)
    assert len(bench.expected(run)) == 2


def test_tail_of_what_is_no_file_raises(tmp_path: Path) -> None:
    """A directory at the path is an error that names it."""
    with pytest.raises(JournalError, match="is no regular file"):
        RunTail(str(tmp_path), clock=FakeClock())


def test_tail_closed_leaves_no_descriptor(bench: Bench) -> None:
    """Replacing and closing leave no file open."""
    before = set(os.listdir("/proc/self/fd"))
    tail = bench.tail()
    for _ in range(3):
        run = bench.run_id()
        old = ids_of(tail, run, bench.emit(run))
        bench.replace()
        assert old
    tail.close()
    tail.close()
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def long_journal(bench: Bench) -> Bench:
    """Return a bench whose journal has 50 MB of runs of two hours ago."""
    block = b"".join(bench.line(bench.run_id(), size=100_000) for _ in range(10))
    with bench.path.open("wb") as file:
        for _ in range(50):
            file.write(block)
    bench.clock.advance(7200)
    return bench


def test_events_of_fresh_run_cost_what_was_written_since(long_journal: Bench, counting: type[CountingFile]) -> None:
    """In a journal of 50 MB a run that begins here costs its own lines, each about once."""
    tail = long_journal.tail()
    begun_with = counting.bytes_read
    long_journal.clock.advance(1)
    run = long_journal.run_id()
    for _ in range(50):
        assert ids_of(tail, run, long_journal.emit(run))
    assert len(ids_of(tail, run, long_journal.emit(run))) == 51
    written = 51 * len(long_journal.line(run))
    assert begun_with <= 512 * 1024
    assert counting.bytes_read - begun_with <= 2 * written


def test_events_of_run_passed_by_cost_its_lines(long_journal: Bench, counting: type[CountingFile]) -> None:
    """A run that the tail has passed is read from where its lines stand, not from the beginning of the search."""
    tail = long_journal.tail()
    long_journal.clock.advance(120)
    run = long_journal.run_id()
    for _ in range(20):
        long_journal.emit(run)
        long_journal.emit(long_journal.run_id(), size=50_000)
    tail.catch_up()
    before = counting.bytes_read
    cursors = long_journal.emit(run)
    assert ids_of(tail, run, cursors, made_here=False) == long_journal.expected(run)
    assert counting.bytes_read - before <= 2 * 21 * len(long_journal.line(run))


def test_events_of_run_that_began_minutes_ago_cost_those_minutes(
    long_journal: Bench, counting: type[CountingFile]
) -> None:
    """A run that began before the tail is sought back to its birth, not through the whole journal."""
    run = long_journal.run_id()
    for _ in range(20):
        long_journal.emit(run)
    long_journal.clock.advance(300)
    tail = long_journal.tail()
    cursors = long_journal.emit(run)
    assert ids_of(tail, run, cursors, made_here=False) == long_journal.expected(run)
    # Its own lines, 64 older ones of 100 kB, and the chunks that these begin in.
    assert counting.bytes_read <= 64 * 101_000 + 3 * 256 * 1024


RUNS = range(5)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.sampled_from(RUNS)),
        st.tuples(st.just("emit"), st.sampled_from(RUNS)),
        st.tuples(st.just("copy"), st.sampled_from(RUNS)),
        st.tuples(st.just("ask"), st.integers(0, 10)),
        st.tuples(st.just("ask"), st.integers(0, 10)),
        st.tuples(st.just("forget"), st.sampled_from(RUNS)),
        st.tuples(st.sampled_from(["catch up", "garbage", "pass time"]), st.just(0)),
        st.tuples(st.just("begin"), st.just(0)),
    ),
    max_size=40,
)


@given(
    actions=ACTIONS, made_here=st.lists(st.booleans(), min_size=5, max_size=5), remembered=st.sampled_from([2, 20_000])
)
@settings(max_examples=250, deadline=None)
def test_events_in_any_history_are_a_prefix_of_full_read_up_to_note(
    actions: list[tuple[str, int]],
    made_here: list[bool],
    remembered: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """For any mix of runs, writers, notes in any order and forgetting: the full read's events, at least to the note."""
    bench = Bench(tmp_path_factory.mktemp("tail") / "journal")
    runs: dict[int, str] = {}
    notes: list[tuple[int, tuple[Cursor, Cursor], str]] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tail_module, "_REMEMBERED_RUNS", remembered)
        tail = bench.tail()
        for action, which in actions:
            if action == "emit":
                if which not in runs:
                    # Other hosts' clocks may be off; this process's is the one that the tail looks at.
                    runs[which] = bench.run_id(0 if made_here[which] else which * 25 - 50)
                cursors = bench.emit(runs[which])
                notes.append((which, cursors, event_ids(bench.path)[-1]))
            elif action == "copy" and which in runs:
                number = int(bench.expected(runs[which])[0].removeprefix("EVT-"))
                bench.write(bench.line(runs[which], number=number))
            elif action == "ask" and notes:
                number, cursors, event_id = notes[-1 - which % len(notes)]
                found = ids_of(tail, runs[number], cursors, made_here=made_here[number])
                expected = bench.expected(runs[number])
                assert found == expected[: len(found)]
                assert event_id in found
            elif action == "forget" and which in runs:
                tail.forget(runs[which])
            elif action == "catch up":
                tail.catch_up()
            elif action == "garbage":
                bench.write(b'{"half\n')
            elif action == "pass time":
                bench.clock.advance(45)
            elif action == "begin":
                tail.close()
                tail = bench.tail()
    bench.close()


def test_bench_starts_at_fixed_time(bench: Bench) -> None:
    """The tests depend on no clock."""
    assert bench.clock.unix_nano == START_UNIX_NANO

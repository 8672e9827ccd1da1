"""`otel-patterns exec` when it, its command or its journal is killed."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.commands import DEADLINE_SECONDS, ended, events, execute, executing, is_alive, wait_until
from tests.receiver import Receiver, Reply

ENDING = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
# A command with a child, both of which tell their ids.
FAMILY = "sleep 60 & echo $! $$; wait"
STUBBORN = "trap '' TERM HUP; (trap '' TERM HUP; sleep 60) & echo $! $$; while :; do sleep 0.2; done"


def pids_of(line: bytes) -> list[int]:
    """Return the process ids that a command has printed."""
    return [int(word) for word in line.split()]


@pytest.mark.parametrize("number", ENDING)
def test_exec_killed_ends_command_and_run(tmp_path: Path, number: int) -> None:
    """Who ends us ends the command's whole group; the run is cancelled, and the signal is told to our parent."""
    # Told by the child itself: until it runs, Python forgets the signals that come.
    family = (
        "import os, time; end, begin = os.pipe(); child = os.fork(); child or os.write(begin, b'.'); "
        "child and os.read(end, 1) and print(os.getpid(), child, flush=True); time.sleep(60)"
    )
    with executing("--", sys.executable, "-c", family, folder=tmp_path) as process:
        assert process.stdout is not None
        pids = pids_of(process.stdout.readline())
        assert len(pids) == 2
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == -number
        wait_until(lambda: not any(is_alive(pid) for pid in pids))
    end = ended(tmp_path)
    assert (end.details["exit_code"], end.details["error_type"], end.result) == (-number, "signal", "cancellation")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_exec_killed_waits_for_a_stubborn_command_with_a_bound(tmp_path: Path, number: int) -> None:
    """A command that ignores its end is killed after the grace, and the run has its end."""
    with executing("--grace", "1", "--", "sh", "-c", STUBBORN, folder=tmp_path) as process:
        assert process.stdout is not None
        pids = pids_of(process.stdout.readline())
        begin = time.monotonic()
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
        assert time.monotonic() - begin >= 1
        wait_until(lambda: not any(is_alive(pid) for pid in pids))
    assert ended(tmp_path).result == "cancellation"


def test_exec_killed_passes_the_commands_own_end_on(tmp_path: Path) -> None:
    """A command that takes SIGTERM to clean up has its own exit code; the run was cancelled all the same."""
    script = "trap 'echo cleaned; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    with executing("--", "bash", "-c", script, folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"cleaned\n"
        assert process.wait(DEADLINE_SECONDS) == 7
    end = ended(tmp_path)
    assert (end.details["error_message"], end.result) == ("exit code 7 after SIGTERM", "cancellation")


def test_exec_killed_with_a_reader_that_stalls_ends(tmp_path: Path) -> None:
    """Nobody reads what the command wrote: we still end, and so does the run."""
    with executing("--grace", "1", "--", "yes", folder=tmp_path) as process:
        wait_until(lambda: len(events(tmp_path)) == 2)
        time.sleep(0.5)
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGTERM
    assert ended(tmp_path).result == "cancellation"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_exec_command_killed_is_cancelled(tmp_path: Path, number: int) -> None:
    """A command that a signal ends ends us by the same signal, without another core file."""
    done = execute("--", "sh", "-c", f"ulimit -c 0; kill -{number} $$", folder=tmp_path)
    assert (done.code, done.err) == (-number, b"")
    end = ended(tmp_path)
    assert (end.details["exit_code"], end.details["error_type"], end.result) == (-number, "signal", "cancellation")
    assert end.details["error_message"] == f"ended by {signal.Signals(number).name}"


def test_exec_shell_sees_128_and_the_signal(tmp_path: Path) -> None:
    """For a shell the exit code is what it would be without us."""
    script = f'{sys.executable} -m otel_patterns exec -- sh -c "kill -KILL \\$\\$"; echo $?'
    done = execute("--", "sh", "-c", script, folder=tmp_path)
    assert done.out == b"137\n"


def test_exec_time_out_ends_grandchildren_that_ignore_it(tmp_path: Path) -> None:
    """Nothing of the command's process group outlives a time-out and its grace."""
    done = execute("--timeout", "0.5", "--grace", "0.5", "--", "sh", "-c", STUBBORN, folder=tmp_path)
    assert done.code == 124
    assert ended(tmp_path).details["error_message"] == "timed out after 0.5 s, ended by SIGKILL"
    assert not any(is_alive(pid) for pid in pids_of(done.out))


def test_exec_time_out_ends_grandchildren_of_a_command_that_obeys(tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM is killed although the command itself has ended in time."""
    script = "(trap '' TERM; sleep 60) & echo $! $$; exec sleep 61"
    done = execute("--timeout", "0.5", "--grace", "1", "--", "sh", "-c", script, folder=tmp_path)
    assert done.code == 124
    assert ended(tmp_path).details["error_message"] == "timed out after 0.5 s, ended by SIGTERM"
    assert not any(is_alive(pid) for pid in pids_of(done.out))


def test_exec_time_out_is_as_quick_as_the_command(tmp_path: Path) -> None:
    """A family that obeys is not waited for."""
    begin = time.monotonic()
    done = execute("--timeout", "0.5", "--grace", "25", "--", "sh", "-c", FAMILY, folder=tmp_path)
    assert done.code == 124
    assert time.monotonic() - begin < 20
    wait_until(lambda: not any(is_alive(pid) for pid in pids_of(done.out)))


def test_exec_time_out_ends_a_stopped_command(tmp_path: Path) -> None:
    """A command that was stopped from outside is continued, so that it can obey."""
    with executing(
        "--timeout", "1", "--grace", "25", "--", "sh", "-c", "echo $$; exec sleep 60", folder=tmp_path
    ) as process:
        assert process.stdout is not None
        os.kill(pids_of(process.stdout.readline())[0], signal.SIGSTOP)
        assert process.wait(DEADLINE_SECONDS) == 124
    assert ended(tmp_path).details["error_message"] == "timed out after 1 s, ended by SIGTERM"


@pytest.mark.parametrize("journal", ["file/journal.jsonl", "folder"])
def test_exec_journal_that_cannot_be_written_does_not_matter(tmp_path: Path, journal: str) -> None:
    """The command runs, its exit code is ours, and one line says that the run is not on record."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    done = execute("--journal", journal, "--", "sh", "-c", "echo ran; exit 4", folder=tmp_path)
    assert (done.code, done.out) == (4, b"ran\n")
    assert done.err.startswith(b"otel-patterns: journal ")
    assert done.err.count(b"\n") == 1
    assert str(tmp_path / journal).encode() in done.err


def test_exec_settings_that_cannot_be_used_do_not_matter(tmp_path: Path) -> None:
    """A variable that is wrong must not fail a pipeline: the command runs, and one line says it."""
    env = {"OTEL_PATTERNS_JOIN": "both", "OTEL_EXPORTER_OTLP_ENDPOINT": "nowhere"}
    done = execute("--", "echo", "ran", folder=tmp_path, env=env)
    assert (done.code, done.out) == (0, b"ran\n")
    assert done.err.count(b"\n") == 1
    assert ended(tmp_path).result == "success"


def test_exec_collector_that_hangs_costs_two_seconds_at_most(tmp_path: Path) -> None:
    """Nobody answers: the exit code comes, and the run is on record."""
    with Receiver(lambda _: Reply(hang=True)) as receiver:
        begin = time.monotonic()
        done = execute(
            "--", "sh", "-c", "exit 3", folder=tmp_path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url}
        )
        took = time.monotonic() - begin
        assert receiver.requests
    assert done.code == 3
    # Two are promised beside the start; the rest is for a busy machine.
    assert took < 15
    assert ended(tmp_path).details["exit_code"] == 3


@pytest.mark.parametrize("script", ["exit 0", "kill -KILL $$"])
def test_exec_run_is_delivered_however_the_command_ends(tmp_path: Path, script: str) -> None:
    """Before we end by the command's signal, which leaves no time for it, the run is sent."""
    with Receiver() as receiver:
        execute("--", "sh", "-c", script, folder=tmp_path, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url})
        assert sorted(span.name for _, span in receiver.spans) == ["execution PAT-SH", "sh PAT-SH"]

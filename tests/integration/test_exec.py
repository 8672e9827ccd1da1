"""`otel-patterns exec` on real commands whose streams are pipes and files."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_patterns.model import ids, names
from otel_patterns.model.details import check_details
from otel_patterns.model.fold import find_anomalies, fold_run
from otel_patterns.runner.preview import PREVIEW_CHARACTERS
from otel_patterns.tracing.projection import project
from tests.commands import DEADLINE_SECONDS, EXEC, ended, environment, events, execute, executing, wait_until

PYTHON = sys.executable


def test_exec_records_a_run(tmp_path: Path) -> None:
    """A command is a run: selection, execution, end, with all that the guide's table requires."""
    arguments = ("--pattern-id", "PAT-BUILD", "--job-id", "JOB-7", "--step-id", "STEP-2", "--timeout", "1m")
    inputs = ("--input", "stage=test", "--input", "replicas=3", "--operation-kind", "build")
    done = execute(*arguments, *inputs, "--", "sh", "-c", "echo one; echo two >&2", folder=tmp_path)
    assert (done.code, done.out, done.err) == (0, b"one\n", b"two\n")
    recorded = events(tmp_path)
    assert [list(check_details(event.event_type, event.details)) for event in recorded] == [[]] * 3
    assert find_anomalies(recorded) == []
    run = fold_run(recorded)
    assert (run.pattern_id, run.job_id, run.step_id, run.operation_kind) == ("PAT-BUILD", "JOB-7", "STEP-2", "build")
    assert (run.status, run.inputs) == ("success", {"stage": "test", "replicas": 3})
    started = recorded[1].details
    assert (started["executor"], started["command"]) == ("subprocess", "sh -c 'echo one; echo two >&2'")
    assert (started["working_dir"], started["timeout_seconds"], started["tool_name"]) == (str(tmp_path), 60, "sh")
    last = ended(tmp_path).details
    assert (last["stdout_lines"], last["stdout_preview"]) == (1, "one\n")
    assert (last["stderr_lines"], last["stderr_preview"]) == (1, "two\n")
    assert last["duration_seconds"] > 0


def test_exec_gives_the_span_of_the_execution_its_process(tmp_path: Path) -> None:
    """The projection finds executable, process id and exit code, and nothing of our own code."""
    done = execute("--", "sh", "-c", "echo $$; exit 3", folder=tmp_path)
    trace = project(events(tmp_path))
    assert trace is not None
    assert trace.root is not None
    attributes = dict(trace.stages[-1].attributes)
    assert attributes[names.ATTR_EXECUTABLE_NAME] == "sh"
    assert attributes[names.ATTR_PID] == int(done.out)
    assert attributes[names.ATTR_EXIT_CODE] == 3
    assert names.ATTR_CODE_FILE not in dict(trace.root.attributes)


def test_exec_defaults_follow_from_the_command(tmp_path: Path) -> None:
    """Without options pattern and operation kind are the command's name, and the job is a new one."""
    for _ in range(2):
        assert execute("/bin/echo", "-n", "x", folder=tmp_path).out == b"x"
    first, second = (event for event in events(tmp_path) if event.is_terminal)
    assert first.pattern_id == "PAT-ECHO"
    assert ids.ulid_number(first.job_id.removeprefix("JOB-")) is not None
    assert first.job_id != second.job_id
    assert fold_run(events(tmp_path)[:3]).operation_kind == "echo"


@pytest.mark.parametrize("code", [0, 1, 3, 124, 126, 127, 130, 255])
def test_exec_passes_the_exit_code_on(tmp_path: Path, code: int) -> None:
    """The exit code is the command's own, whatever it is."""
    assert execute("--", "sh", "-c", f"exit {code}", folder=tmp_path).code == code
    assert ended(tmp_path).details["exit_code"] == code


def test_exec_failure_has_what_the_command_said(tmp_path: Path) -> None:
    """The end of stderr is the message of a failed run."""
    execute("--", "sh", "-c", "echo out; echo bad >&2; exit 3", folder=tmp_path)
    end = ended(tmp_path)
    assert (end.type, end.result) == ("failed", "failure")
    assert (end.details["error_type"], end.details["error_message"]) == ("tool_error", "bad\n")


def test_exec_streams_pass_unchanged(tmp_path: Path) -> None:
    """Every byte passes: stdin to the command, stdout and stderr apart, also what is no text."""
    data = os.urandom(3_000_000)
    program = (
        "import os; d = os.read(0, 1); [os.write(1, c) and os.write(2, c) for c in iter(lambda: os.read(0, 9999), b'')]"
    )
    done = execute("--", PYTHON, "-c", program, folder=tmp_path, stdin=data)
    assert hashlib.sha256(done.out).digest() == hashlib.sha256(data[1:]).digest()
    assert hashlib.sha256(done.err).digest() == hashlib.sha256(data[1:]).digest()
    details = ended(tmp_path).details
    count = data[1:].count(b"\n") + (not data.endswith(b"\n"))
    assert (details["stdout_lines"], details["stderr_lines"]) == (count, count)
    assert len(details["stdout_preview"]) == PREVIEW_CHARACTERS


def test_exec_output_comes_at_once(tmp_path: Path) -> None:
    """What a command writes is there before it writes more, also without a newline."""
    program = "import os; os.write(1, b'part'); os.read(0, 1); os.write(1, b'ial'); os.read(0, 1)"
    with executing("--", PYTHON, "-c", program, folder=tmp_path, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for wanted in (b"part", b"ial"):
            assert select.select([process.stdout], [], [], DEADLINE_SECONDS)[0]
            assert os.read(process.stdout.fileno(), 99) == wanted
            process.stdin.write(b"x")
            process.stdin.flush()
        assert process.wait(DEADLINE_SECONDS) == 0


def test_exec_gigabyte_without_newline_costs_no_memory(tmp_path: Path) -> None:
    """A stream of any length passes through a bounded buffer."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peaks: list[int] = []
    for size in (1, 1_000_000_000):
        command = (*EXEC, "--", "head", "-c", str(size), "/dev/zero")
        argv = (PYTHON, "-c", program, *command)
        peaks.append(int(subprocess.check_output(argv, env=environment(tmp_path), cwd=tmp_path, timeout=60)))
    assert peaks[1] - peaks[0] < 10_000


def test_exec_one_pipe_for_both_streams_keeps_their_order(tmp_path: Path) -> None:
    """With `2>&1` the lines come in the order in which they were written, and count as stdout."""
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo o$i; echo e$i >&2; done"
    done = subprocess.run(
        (*EXEC, "--", "sh", "-c", script),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout == b"".join(b"o%d\ne%d\n" % (number, number) for number in range(1, 10))
    details = ended(tmp_path).details
    assert details["stdout_lines"] == 18
    assert "stderr_lines" not in details


def test_exec_files_are_written_where_they_are(tmp_path: Path) -> None:
    """Redirected to files, both opened for appending, everything lands in its own."""
    (tmp_path / "out").write_text("before\n")
    with (tmp_path / "out").open("ab") as out, (tmp_path / "err").open("ab") as err:
        subprocess.run(
            (*EXEC, "--", "sh", "-c", "echo one; echo two >&2"),
            stdout=out,
            stderr=err,
            env=environment(tmp_path),
            cwd=tmp_path,
            check=True,
        )
    assert ((tmp_path / "out").read_text(), (tmp_path / "err").read_text()) == ("before\none\n", "two\n")


def test_exec_prints_nothing_of_its_own(tmp_path: Path) -> None:
    """A wrapper is silent; `--verbose` says on stderr which run it was."""
    done = execute("--", "true", folder=tmp_path)
    assert (done.out, done.err) == (b"", b"")
    done = execute("--verbose", "--", "false", folder=tmp_path)
    run_id = events(tmp_path)[-1].pattern_run_id
    assert (done.code, done.out) == (1, b"")
    assert done.err.decode().startswith(f"otel-patterns: {run_id} exit code 1 in ")
    assert done.err.count(b"\n") == 1


@pytest.mark.parametrize("argv", [("ls", "--color=never", "-a"), ("--", "ls", "--color=never", "-a")])
def test_exec_flags_behind_the_command_are_its_own(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """With and without `--`, what stands behind the command is not ours, even if we know such a flag."""
    assert b"..\n" in execute(*argv, folder=tmp_path).out


def test_exec_dashes_behind_the_command_are_its_own(tmp_path: Path) -> None:
    """Only the first `--` is ours."""
    assert execute("--", "printf", "%s,", "--", "--verbose", folder=tmp_path).out == b"--,--verbose,"
    assert execute("echo", "--", "-n", "--help", folder=tmp_path).out == b"-- -n --help\n"


@pytest.mark.parametrize("name", ["no-such-command", "./no/such/command"])
def test_exec_missing_command_is_127(tmp_path: Path, name: str) -> None:
    """A command that is not there ends as with `env`, and the run had no verdict."""
    done = execute("--", name, folder=tmp_path)
    assert (done.code, done.out) == (127, b"")
    assert done.err.decode() == f"otel-patterns: {name}: command not found\n"
    end = ended(tmp_path)
    assert (end.type, end.details["error_type"], end.result) == ("failed", "command_not_found", "error")


def test_exec_command_that_may_not_be_executed_is_126(tmp_path: Path) -> None:
    """A file without the permission ends as with `env`."""
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    done = execute("--", "./tool", folder=tmp_path)
    assert (done.code, done.err.decode()) == (126, "otel-patterns: ./tool: Permission denied\n")
    end = ended(tmp_path)
    assert (end.details["exit_code"], end.details["error_type"], end.result) == (126, "permission_denied", "error")


def test_exec_script_without_an_interpreter_line_runs(tmp_path: Path) -> None:
    """As in a shell, a script that does not say otherwise is one for `sh`."""
    (tmp_path / "script").write_text("echo $1\n")
    (tmp_path / "script").chmod(0o755)
    assert execute("./script", "one", folder=tmp_path).out == b"one\n"
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert execute("script", "two", folder=tmp_path, env=path).out == b"two\n"


def test_exec_gives_the_command_the_trace(tmp_path: Path) -> None:
    """`TRACEPARENT` names the execution's span, so that spans of the tool hang below it."""
    done = execute("--", "sh", "-c", "echo $TRACEPARENT", folder=tmp_path, env={"TRACEPARENT": "of somebody else"})
    trace = project(events(tmp_path))
    assert trace is not None
    assert done.out.decode() == f"00-{trace.trace_id}-{trace.stages[-1].span_id}-01\n"


def test_exec_environment_is_passed_on(tmp_path: Path) -> None:
    """The command has the variables it would have had, and one more."""
    program = f"{PYTHON} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    env = {"ODD": "a=b\nc", "EMPTY": ""}
    done = execute("--", "sh", "-c", f"unset _; exec {program}", folder=tmp_path, env=env)
    found = json.loads(done.out)
    found.pop("TRACEPARENT")
    wanted = {name: value for name, value in environment(tmp_path, env).items() if name not in ("_", "PWD", "OLDPWD")}
    assert {name: found.get(name) for name in wanted} == wanted


def test_exec_descriptors_are_passed_on(tmp_path: Path) -> None:
    """What the caller has opened for the command, like `diff <(a) <(b)` or make's job server, is there."""
    reader, writer = os.pipe()
    argv = (*EXEC, "--", "sh", "-c", f"echo through > /dev/fd/{writer}")
    subprocess.run(argv, pass_fds=[writer], env=environment(tmp_path), cwd=tmp_path, check=True)
    os.close(writer)
    with open(reader, "rb") as file:
        assert file.read() == b"through\n"


def test_exec_command_has_no_signals_of_ours(tmp_path: Path) -> None:
    """It starts with the dispositions and the mask it would have had: pipes that break end it, Ctrl-C does too."""
    done = execute("--", "sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status", folder=tmp_path)
    words = done.out.split()
    assert words[::2] == [b"SigBlk:", b"SigIgn:"]
    # Above the first 31 are those that the C library uses itself.
    assert [int(mask, 16) & 0x7FFF_FFFF for mask in words[1::2]] == [0, 0]


def test_exec_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """`nohup otel-patterns exec …` protects the command."""
    argv = ("nohup", *EXEC, "--", "sh", "-c", "kill -HUP $$; kill -HUP $PPID; echo still here")
    done = subprocess.run(argv, capture_output=True, env=environment(tmp_path), cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (0, b"still here\n")


def test_exec_reader_that_leaves_ends_the_command(tmp_path: Path) -> None:
    """`exec -- yes | head -1` ends as without us: by SIGPIPE."""
    with executing("--", "yes", folder=tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGPIPE
    assert ended(tmp_path).details["error_message"] == "ended by SIGPIPE"


def test_exec_reader_that_is_slow_gets_everything(tmp_path: Path) -> None:
    """What a command has written is passed on after its end, however long that takes."""
    with executing("--", "head", "-c", "150000", "/dev/zero", folder=tmp_path) as process:
        assert process.stdout is not None
        # The command has ended: what it wrote stands in two pipes. Longer than anything left behind may take.
        time.sleep(2)
        assert len(process.stdout.read()) == 150_000
        assert process.wait(DEADLINE_SECONDS) == 0


def test_exec_nonblocking_stdout_gets_everything(tmp_path: Path) -> None:
    """A caller that made its pipe non-blocking loses nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with executing("--", "head", "-c", "3000000", "/dev/zero", folder=tmp_path, stdout=writer) as process:
        os.close(writer)
        time.sleep(0.5)
        with open(reader, "rb") as file:
            assert len(file.read()) == 3_000_000
        assert process.wait(DEADLINE_SECONDS) == 0


def test_exec_last_words_of_what_is_left_behind_come_through(tmp_path: Path) -> None:
    """A `tee` that a script has started is heard to its end, as in `exec > >(tee log)`."""
    done = execute("--", "sh", "-c", "(sleep 0.3; echo last) & echo first", folder=tmp_path)
    assert done.out == b"first\nlast\n"


def test_exec_does_not_wait_for_what_is_left_behind(tmp_path: Path) -> None:
    """A server that a script has started does not keep it from ending, and lives on."""
    begin = time.monotonic()
    done = execute("--", "sh", "-c", "sleep 60 & echo $!", folder=tmp_path)
    assert time.monotonic() - begin < 20
    os.kill(int(done.out), signal.SIGKILL)


def test_exec_closed_streams_do_not_matter(tmp_path: Path) -> None:
    """A caller that has closed stdin, stdout or stderr gets its command run all the same."""
    script = f'"$@" <&- >&- 2>&-; echo $? > {tmp_path}/code'
    subprocess.run(
        ("sh", "-c", script, "sh", *EXEC, "--", "sh", "-c", "exit 7"),
        env=environment(tmp_path),
        cwd=tmp_path,
        check=True,
    )
    assert (tmp_path / "code").read_text() == "7\n"
    assert ended(tmp_path).details["exit_code"] == 7


def test_exec_artifacts_are_recorded(tmp_path: Path) -> None:
    """Files that match and are new or changed are the run's artifacts, also when the command fails."""
    (tmp_path / "old.whl").touch()
    script = "mkdir dist; touch dist/b.whl dist/a.whl dist/c.txt; exit 1"
    execute("--artifact", "*.whl", "--artifact", "dist/*.whl", "--", "sh", "-c", script, folder=tmp_path)
    assert ended(tmp_path).details["artifacts"] == ["dist/a.whl", "dist/b.whl"]


def test_exec_time_out_ends_the_command(tmp_path: Path) -> None:
    """A command that takes too long gets SIGTERM; the exit code is that of timeout(1)."""
    done = execute("--timeout", "0.5", "--", "sh", "-c", "echo begun; exec sleep 60", folder=tmp_path)
    assert (done.code, done.out, done.err) == (124, b"begun\n", b"")
    end = ended(tmp_path)
    assert (end.details["exit_code"], end.details["error_type"], end.result) == (124, "timeout", "timeout")
    assert end.details["error_message"] == "timed out after 0.5 s, ended by SIGTERM"
    assert 0.5 <= end.details["duration_seconds"] < 20


def test_exec_time_out_that_is_not_reached_does_nothing(tmp_path: Path) -> None:
    """A command in time is not concerned."""
    assert execute("--timeout", "1h", "--", "true", folder=tmp_path).code == 0
    assert ended(tmp_path).result == "success"


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_exec_passes_signals_on_once(tmp_path: Path, name: str) -> None:
    """The command gets each signal once and decides what it means."""
    number = getattr(signal, name)
    program = (
        "import os, signal, time\n"
        "got = []\n"
        f"signal.signal({int(number)}, lambda *_: (got.append(1), os.write(1, b'got ')))\n"
        "os.write(1, b'ready ')\n"
        "while not got: time.sleep(0.05)\n"
        "time.sleep(0.5)\n"
        "os._exit(5)"
    )
    with executing("--", PYTHON, "-c", program, folder=tmp_path) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 99) == b"ready "
        process.send_signal(number)
        assert process.wait(DEADLINE_SECONDS) == 5
        assert process.stdout.read() == b"got "
    asked_to_end = name not in ("SIGUSR1", "SIGUSR2")
    assert ended(tmp_path).details["error_type"] == ("cancelled" if asked_to_end else "tool_error")
    assert ended(tmp_path).result == ("cancellation" if asked_to_end else "failure")


def test_exec_without_an_endpoint_loads_no_heavy_library(tmp_path: Path) -> None:
    """What runs before and after every command of a pipeline must start fast."""
    program = (
        "import sys; from otel_patterns.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'pydantic', 'opentelemetry', 'asyncio', 'subprocess', 'urllib3'};"
        "print(code, sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    argv = (PYTHON, "-c", program, "exec", "--", "true")
    done = subprocess.run(argv, env=environment(tmp_path), cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b"0 []\n"


def test_exec_of_exec_is_a_run_of_each(tmp_path: Path) -> None:
    """Wrapped twice a command runs once, and both runs tell the same exit code."""
    done = execute("--", *EXEC, "--", "sh", "-c", "echo once; exit 3", folder=tmp_path)
    assert (done.code, done.out) == (3, b"once\n")
    wait_until(lambda: len(events(tmp_path)) == 6)
    assert [event.details["exit_code"] for event in events(tmp_path) if event.is_terminal] == [3, 3]

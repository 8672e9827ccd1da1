"""`otel-patterns exec` with somebody at a terminal: what he types, what he sees, Ctrl-C and Ctrl-Z."""

import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.commands import EXEC, ended, environment, events, is_alive, wait_until
from tests.terminals import CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, Screen, screen

PYTHON = sys.executable
SHELL = ("bash", "--norc", "--noprofile", "-i")
PROMPT = "at-your-service "
ISIG = 3  # Index of the local modes.


@contextmanager
def at(folder: Path, argv: Sequence[str], **more: Any) -> Generator[Screen, None, None]:
    """Yield a terminal on which a program runs in a folder."""
    more.setdefault("env", environment(folder, {"PS1": PROMPT, "HOME": str(folder)}))
    with screen(argv, cwd=str(folder), **more) as opened:
        yield opened


@contextmanager
def at_exec(folder: Path, *argv: str, **more: Any) -> Generator[Screen, None, None]:
    """Yield a terminal on which `otel-patterns exec` runs; its modes are in the end what they were."""
    with at(folder, (*EXEC, "--", *argv), **more) as opened:
        before = opened.modes
        yield opened
        assert opened.modes == before


class Shell:
    """A shell with job control, at its prompt."""

    def __init__(self, opened: Screen) -> None:
        self.screen = opened
        self._prompts = 0

    def enter(self, line: str) -> None:
        """Type a line when the prompt is there: what is typed earlier is the command's."""
        self._prompts += 1
        self.screen.wait_for(PROMPT, times=self._prompts)
        self.screen.type(f"{line}\r")

    def leave(self) -> None:
        """Wait for the last command and end."""
        self.enter("exit")
        self.screen.end()


@contextmanager
def at_shell(folder: Path) -> Generator[Shell, None, None]:
    """Yield a shell in which `ex` is `otel-patterns exec --`."""
    with at(folder, SHELL) as opened:
        shell = Shell(opened)
        shell.enter(f'ex() {{ {" ".join(EXEC)} -- "$@"; }}')
        yield shell


def test_command_on_a_terminal_has_one(tmp_path: Path) -> None:
    """All three streams are a terminal of the same size, which is also /dev/tty; what is shown is what it would be."""
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo to the terminal > /dev/tty; exit 5"
    with at_exec(tmp_path, "sh", "-c", script, rows=33, columns=111) as opened:
        assert opened.end() == 5
    assert opened.seen == b"33 111\r\nto the terminal\r\n"
    details = ended(tmp_path).details
    assert (details["stdout_lines"], details["stdout_preview"]) == (2, "33 111\nto the terminal\n")
    assert "stderr_lines" not in details


def test_partial_lines_and_control_sequences_are_shown_at_once(tmp_path: Path) -> None:
    """A prompt without a newline is there before the answer, colours are not touched."""
    with at_exec(tmp_path, "sh", "-c", r"printf '\033[31mname? \033[0m'; read x; echo hello $x") as opened:
        opened.wait_for("\033[31mname? \033[0m")
        opened.type("you\r")
        opened.wait_for("hello you")
        assert opened.end() == 0
    assert opened.seen == b"\033[31mname? \033[0myou\r\nhello you\r\n"


def test_keys_come_as_the_command_wants_them(tmp_path: Path) -> None:
    """A command may switch its terminal to single keys without echo; then Ctrl-C is a key like any other."""
    program = "import tty, os; tty.setraw(0); os.write(1, b'?'); print(os.read(0, 1) + os.read(0, 1), end='')"
    with at_exec(tmp_path, PYTHON, "-c", program) as opened:
        opened.wait_for("?")
        opened.type("k" + CTRL_C)
        assert opened.end() == 0
    assert opened.seen == b"?b'k\\x03'"


def test_end_of_input_reaches_the_command(tmp_path: Path) -> None:
    """Ctrl-D ends what reads."""
    with at_exec(tmp_path, "cat") as opened:
        opened.type("line\r")
        opened.wait_for("line", times=2)
        opened.type(CTRL_D)
        assert opened.end() == 0


def test_paste_that_is_not_read_does_not_block(tmp_path: Path) -> None:
    """Keys that the command does not read keep us neither from its output nor from signals."""
    with at_exec(tmp_path, PYTHON, "-c", "import tty, time; tty.setraw(0); print('ready'); time.sleep(60)") as opened:
        opened.wait_for("ready")

        def paste() -> None:
            # More than all terminals in between hold; it ends when the window is closed.
            with suppress(OSError):
                opened.type("x" * 100_000)

        pasting = threading.Thread(target=paste, daemon=True)
        pasting.start()
        pasting.join(1)
        assert pasting.is_alive()
        os.kill(opened.process.pid, signal.SIGTERM)
        assert opened.end() == -signal.SIGTERM


@pytest.mark.parametrize(("key", "number"), [(CTRL_C, signal.SIGINT), (CTRL_BACKSLASH, signal.SIGQUIT)])
def test_key_that_ends_reaches_the_command_once(tmp_path: Path, key: str, number: int) -> None:
    """Ctrl-C comes once, and a command that ends by it ends us by it: a shell's loop stops only then."""
    program = (
        "import os, signal, time\n"
        "def end(number, frame):\n"
        "    print('once', flush=True)\n"
        "    signal.signal(number, signal.SIG_DFL)\n"
        "    os.kill(os.getpid(), number)\n"
        f"signal.signal({int(number)}, end)\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)"
    )
    with at_exec(tmp_path, PYTHON, "-c", program) as opened:
        opened.wait_for("ready")
        opened.type(key)
        assert opened.end() == -number
    assert opened.seen.count(b"once") == 1
    assert (ended(tmp_path).details["error_type"], ended(tmp_path).result) == ("signal", "cancellation")


def test_window_that_changes_is_told(tmp_path: Path) -> None:
    """The command gets SIGWINCH and sees the new size."""
    script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.1; done"
    with at_exec(tmp_path, "bash", "-c", script) as opened:
        opened.wait_for("24 80")
        opened.resize(50, 132)
        opened.wait_for("50 132")
        assert opened.end() == 0


def test_stderr_elsewhere_stays_apart(tmp_path: Path) -> None:
    """With stderr in a file the rest is a terminal all the same."""
    script = "test -t 1 && echo out; echo err >&2"
    with (tmp_path / "err").open("wb") as err, at_exec(tmp_path, "sh", "-c", script, stderr=err) as opened:
        assert opened.end() == 0
    assert (opened.seen, (tmp_path / "err").read_bytes()) == (b"out\r\n", b"err\n")
    details = ended(tmp_path).details
    assert (details["stdout_lines"], details["stderr_lines"]) == (1, 1)


def test_stdin_from_elsewhere_is_inherited(tmp_path: Path) -> None:
    """`… | otel-patterns exec CMD` reads the pipe, shows on a terminal, and is told of its size."""
    script = "trap 'stty size < /dev/stdout; exit' WINCH; cat; stty size < /dev/stdout; while :; do sleep 0.1; done"
    with at_exec(tmp_path, "bash", "-c", script, stdin=subprocess.PIPE) as opened:
        assert opened.process.stdin is not None
        with opened.process.stdin as stdin:
            stdin.write(b"piped\n")
        opened.wait_for("piped\r\n24 80\r\n")
        opened.resize(30, 90)
        opened.wait_for("\r\n30 90\r\n")
        assert opened.end() == 0
    assert b"\r\r" not in opened.seen


def test_last_words_on_a_terminal_come_through(tmp_path: Path) -> None:
    """The end of a script does not hang up on the `tee` that it writes through."""
    script = "exec > >(sleep 0.3; tee log) 2>&1; echo first; echo last"
    with at_exec(tmp_path, "bash", "-c", script) as opened:
        assert opened.end() == 0
    assert opened.seen == b"first\r\nlast\r\n"
    assert (tmp_path / "log").read_bytes() == b"first\nlast\n"


def test_modes_are_restored_when_the_command_dies(tmp_path: Path) -> None:
    """Whatever ends the command, the terminal is as before."""
    with at_exec(tmp_path, "sh", "-c", "stty raw -echo; kill -9 $$") as opened:
        assert opened.end() == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_modes_are_restored_when_we_are_killed(tmp_path: Path, number: int) -> None:
    """Who ends us gets his terminal back, and the run its end."""
    with at_exec(tmp_path, "sh", "-c", "echo ready; exec sleep 60") as opened:
        opened.wait_for("ready")
        assert not opened.modes[ISIG] & termios.ISIG
        os.kill(opened.process.pid, number)
        assert opened.end() == -number
    assert ended(tmp_path).result == "cancellation"


def test_command_whose_session_is_killed_ends(tmp_path: Path) -> None:
    """The process between us and the command is killed: both the command and the run have an end."""
    with at_exec(tmp_path, "sh", "-c", "echo $PPID $$ ready; exec sleep 60") as opened:
        opened.wait_for("ready")
        leader, command = (int(word) for word in opened.seen.split()[:2])
        os.kill(leader, signal.SIGKILL)
        assert opened.end() == -signal.SIGKILL
        wait_until(lambda: not is_alive(command))
    assert ended(tmp_path).result == "cancellation"


def test_terminal_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    """A closed window ends the command by SIGHUP, and the run is on record."""
    with at(tmp_path, (*EXEC, "--", "sh", "-c", "echo ready; exec sleep 60")) as opened:
        opened.wait_for("ready")
        opened.hang_up()
        wait_until(lambda: opened.process.poll() is not None)
    assert ended(tmp_path).details["error_message"] == "ended by SIGHUP"


def test_missing_command_on_a_terminal_is_127(tmp_path: Path) -> None:
    """The message of a command that is not there is shown like any other."""
    with at_exec(tmp_path, "no-such-command") as opened:
        assert opened.end() == 127
    assert opened.seen == b"otel-patterns: no-such-command: command not found\r\n"


def test_time_out_on_a_terminal_ends_the_command(tmp_path: Path) -> None:
    """A time-out works as elsewhere."""
    with at(tmp_path, (*EXEC, "--timeout", "0.5", "--", "sh", "-c", "sleep 60; true")) as opened:
        assert opened.end() == 124
    assert ended(tmp_path).result == "timeout"


def test_ctrl_z_stops_and_fg_continues(tmp_path: Path) -> None:
    """Ctrl-Z gives the shell back with its modes; the command goes on where it was."""
    with at_shell(tmp_path) as shell:
        shell.enter("ex cat")
        shell.screen.wait_raw()
        shell.screen.type("one\r")
        shell.screen.wait_for("one\r\n", times=2)
        shell.screen.type(CTRL_Z)
        shell.screen.wait_for("Stopped")
        shell.enter("echo shell=$((1 + 1))")
        shell.screen.wait_for("shell=2")
        shell.enter("fg")
        shell.screen.wait_raw()
        shell.screen.type("two\r")
        shell.screen.wait_for("two\r\n", times=2)
        shell.screen.type(CTRL_D)
        shell.enter("echo code=$?")
        shell.screen.wait_for("code=0")
        shell.leave()
    assert ended(tmp_path).result == "success"


def test_command_in_the_background_reads_when_it_is_brought_forward(tmp_path: Path) -> None:
    """`exec … &` touches neither keys nor modes of the shell; after `fg` the keys are its own."""
    with at_shell(tmp_path) as shell:
        shell.enter("ex sh -c 'echo be\"\"gun; read x; echo got=$x' &")
        shell.screen.wait_for("begun")
        shell.enter("echo shell=$((1 + 1))")
        shell.screen.wait_for("shell=2")
        shell.enter("fg")
        shell.screen.wait_raw()
        shell.screen.type("key\r")
        shell.screen.wait_for("got=key")
        shell.leave()
    assert ended(tmp_path).result == "success"


def test_command_in_a_pipeline_may_ask_on_the_terminal(tmp_path: Path) -> None:
    """`exec sudo … | tee log` gets its password: the keys are the command's when it reads."""
    with at_shell(tmp_path) as shell:
        shell.enter("ex sh -c 'read x < /dev/tty; echo got=$x' | cat")
        wait_until(lambda: len(events(tmp_path)) == 2)
        shell.screen.type("key\r")
        shell.screen.wait_for("got=key")
        shell.leave()


def test_command_in_a_pipeline_leaves_the_keys_to_others(tmp_path: Path) -> None:
    """In `exec make | less` the keys are those of `less`."""
    with at_shell(tmp_path) as shell:
        shell.enter("ex sh -c 'echo ready; sleep 3' | sh -c 'cat; read y < /dev/tty; echo other=$y'")
        shell.screen.wait_for("ready\r\n")
        shell.screen.type("mine\r")
        shell.screen.wait_for("other=mine")
        shell.leave()


def test_ctrl_c_in_a_pipeline_reaches_the_command_once(tmp_path: Path) -> None:
    """With stdout in a pipe the system interrupts us, and we the command."""
    script = "trap 'echo once' INT; echo ready; sleep 1; sleep 1"
    with at_shell(tmp_path) as shell:
        shell.enter(f'ex bash -c "{script}" | (trap "" INT; cat)')
        shell.screen.wait_for("ready\r\n")
        shell.screen.type(CTRL_C)
        shell.leave()
    assert shell.screen.seen.count(b"once\r\n") == 1


def test_ctrl_z_in_a_pipeline_stops_and_fg_continues(tmp_path: Path) -> None:
    """The whole pipeline stops and goes on."""
    with at_shell(tmp_path) as shell:
        shell.enter("ex sh -c 'echo ready; sleep 2; echo last; exit' | cat")
        shell.screen.wait_for("ready\r\n")
        time.sleep(0.3)
        shell.screen.type(CTRL_Z)
        shell.screen.wait_for("Stopped")
        shell.enter("fg")
        shell.screen.wait_for("last\r\n")
        shell.leave()
    assert ended(tmp_path).result == "success"

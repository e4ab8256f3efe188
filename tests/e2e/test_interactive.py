"""The shell as a person uses it: on a real terminal, under tmux, through the script of the runbook."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.labs import Lab
from tests.support.ptys import Terminal
from tests.support.shells import TOOLBOX
from toolbox.launcher.image import repository_root


@pytest.fixture
def scripts(lab: Lab, tmp_path: Path) -> Path:
    """Our own scripts, and one more that a person wrote."""
    directory = tmp_path / "scripts"
    shutil.copytree(lab.scripts, directory)
    (directory / "hello.sh").write_text('#!/bin/sh\necho "hello, $1"\n', encoding="utf-8")
    (directory / "hello.sh").chmod(0o755)
    return directory


@pytest.fixture
def terminal(lab: Lab, scripts: Path) -> Iterator[Terminal]:
    with Terminal([*TOOLBOX, "shell", "--scripts", str(scripts)], lab.environment) as opened:
        opened.expect("files in /scripts")
        # The prompt of the far side is the image's; ours is one that cannot be mistaken.
        opened.send("bind 'set enable-bracketed-paste off'; PS1='ready''> '\n")
        opened.expect("ready> ")
        yield opened
    lab.stop_toolbox_tasks()


def ask(terminal: Terminal, command: str, seconds: float = 30.0) -> str:
    """What the far side prints for `command`, without its echo."""
    terminal.send(f"{command}; printf 'e''nd\\n'\n")
    answer = terminal.expect("end\r\n", seconds)
    terminal.expect("ready> ")
    return answer.partition("\r\n")[2].removesuffix("end\r\n").replace("\r\n", "\n")


def test_right_size_from_the_start_and_after_a_resize(terminal: Terminal) -> None:
    assert ask(terminal, "stty size") == "30 100\n"
    terminal.resize(132, 43)
    deadline = time.monotonic() + 5
    while ask(terminal, "stty size") != "43 132\n":
        assert time.monotonic() < deadline


def test_greeting_and_prompt_say_that_this_is_a_task_and_which(lab: Lab) -> None:
    with Terminal([*TOOLBOX, "shell"], lab.environment, columns=160) as opened:
        opened.expect("temporary task (lab)")
        opened.expect("ends with this shell")
        (task,) = lab.toolbox_tasks()
        opened.expect(f"[lab task {task.rpartition('/')[2][:8]}]")
        opened.send("exit\n")
        assert opened.end() == 0


def test_the_probe_on_the_screen(terminal: Terminal) -> None:
    answer = ask(terminal, "toolbox probe db; echo code $?")
    assert "√" in answer
    assert answer.endswith("code 0\n")


def test_scripts_are_there_and_run(scripts: Path, terminal: Terminal) -> None:
    assert ask(terminal, "ls -1A /scripts").split() == sorted(entry.name for entry in scripts.iterdir())
    assert ask(terminal, "hello.sh world") == "hello, world\n"


def test_ctrl_c_interrupts_and_the_shell_lives(terminal: Terminal) -> None:
    terminal.send("echo sleeping; sleep 100; echo not reached\n")
    terminal.expect("sleeping\r\n")
    terminal.send("\x03")
    terminal.expect("ready> ", seconds=5)
    assert ask(terminal, "echo alive") == "alive\n"


def test_a_paste_arrives_uncorrupted(terminal: Terminal) -> None:
    text = "".join(f"{number:04d} {'x' * 58}\n" for number in range(1024))
    assert len(text) == 65536
    ask(terminal, "stty -echo")
    terminal.send("cat > /tmp/paste\n")
    terminal.send(text)
    terminal.send("\x04")
    terminal.expect("ready> ")
    terminal.send("sha256sum /tmp/paste\n")
    terminal.expect(hashlib.sha256(text.encode()).hexdigest())


def test_exit_7_ends_it_with_7_and_all_is_as_before(lab: Lab, terminal: Terminal) -> None:
    terminal.send("exit 7\n")
    assert terminal.end() == 7
    assert terminal.settings() == terminal.before
    lab.wait_for_no_task(seconds=10)


def test_tilde_dot_leaves(lab: Lab, terminal: Terminal) -> None:
    terminal.send("\r~.")
    assert terminal.end() == 255
    assert "You left the session" in terminal.seen.decode()
    assert "×" not in terminal.seen.decode(), "leaving on purpose is no failure"
    assert terminal.settings() == terminal.before
    lab.wait_for_no_task(seconds=10)


def test_a_task_that_is_killed_ends_the_session_with_its_reason(lab: Lab, terminal: Terminal) -> None:
    (task,) = lab.toolbox_tasks()
    lab.aws("ecs", "stop-task", "--cluster", lab.cluster, "--task", task, "--reason", "the drill of the day")
    began = time.monotonic()
    assert terminal.end(seconds=10) == 255
    assert time.monotonic() - began < 10
    words = terminal.seen.decode(errors="replace")
    assert "UserInitiated" in words
    assert "the drill of the day" in words
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("number", ["TERM", "HUP"])
def test_a_signal_restores_the_terminal(lab: Lab, terminal: Terminal, number: str) -> None:
    subprocess.run(["kill", f"-{number}", str(terminal.process.pid)], check=True)
    assert terminal.end() > 128
    assert terminal.settings() == terminal.before
    lab.wait_for_no_task(seconds=10)


def test_what_the_far_side_prints_on_leaving_is_not_lost(terminal: Terminal) -> None:
    terminal.send("seq 1 20000; exit 0\n")
    assert terminal.end() == 0
    assert b"\r\n20000\r\n" in terminal.seen


class Tmux:
    """A tmux server of our own."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._socket = directory / "tmux"
        self._environment = environment

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words],
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    def wait_for(self, pattern: str, seconds: float = 40) -> str:
        deadline = time.monotonic() + seconds
        while not re.search(pattern, screen := self("capture-pane", "-p", "-J"), re.MULTILINE):
            assert time.monotonic() < deadline, f"'{pattern}' did not appear:\n{screen}"
        return screen


def test_the_runbook_s_own_line_under_tmux(lab: Lab, tmp_path: Path) -> None:
    assert shutil.which("tmux"), "install tmux: it is one of the real terminals that this must work in"
    environment = {**lab.environment, "TERM": "xterm-256color", "HOME": os.environ["HOME"], "SHELL": "/bin/sh"}
    tmux = Tmux(tmp_path, environment)
    script = repository_root() / "scripts" / "open_tracker_ecs_shell.sh"
    tmux("-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "24", f"{script}; echo ended $?; exec cat")
    try:
        tmux.wait_for(r"files in /scripts")
        tmux("send-keys", "stty size && ls /scripts", "Enter")
        tmux.wait_for(r"^24 90$")
        tmux.wait_for(r"open_tracker_ecs_shell\.sh")
        tmux("resize-window", "-x", "120", "-y", "40")
        tmux("send-keys", "clear; stty size", "Enter")
        tmux.wait_for(r"^40 120$")
        tmux("send-keys", "toolbox probe db", "Enter")
        tmux.wait_for("√")
        tmux("send-keys", "exit 7", "Enter")
        tmux.wait_for(r"^ended 7$")
    finally:
        tmux("kill-server")
    lab.wait_for_no_task(seconds=10)

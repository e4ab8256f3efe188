"""The task's clock: PID 1 ends by itself when nobody needs the task any more."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolbox.launcher.image import repository_root

ENTRYPOINT = repository_root() / "entrypoint.sh"


@contextmanager
def running(tmp_path: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    terminals = tmp_path / "terminals"
    terminals.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [ENTRYPOINT],
        env={
            "PATH": os.environ["PATH"],
            "TOOLBOX_RUN": str(tmp_path / "run"),
            "TOOLBOX_TERMINALS": str(terminals),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def last_words(process: "subprocess.Popen[str]", within: float) -> str:
    output, _ = process.communicate(timeout=within)
    return output


def test_ends_when_its_lifetime_is_over_even_in_use(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="2", TOOLBOX_IDLE="600") as process:
        in_future = time.time() + 3600
        (tmp_path / "run" / "activity").touch()
        os.utime(tmp_path / "run" / "activity", (in_future, in_future))
        assert "the lifetime of 2 s is over" in last_words(process, within=10)
    assert process.returncode == 0


def test_ends_when_nobody_uses_it(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="600", TOOLBOX_IDLE="2") as process:
        assert "nobody used this task for 2 s" in last_words(process, within=10)


def test_use_keeps_it_alive(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="4", TOOLBOX_IDLE="2") as process:
        later = time.time() + 600
        (tmp_path / "run" / "activity").touch()
        os.utime(tmp_path / "run" / "activity", (later, later))
        assert "the lifetime of 4 s is over" in last_words(process, within=12)


def test_a_terminal_in_use_keeps_it_alive_where_there_are_no_marks(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="4", TOOLBOX_IDLE="2") as process:
        later = time.time() + 600
        (tmp_path / "terminals" / "0").touch()
        os.utime(tmp_path / "terminals" / "0", (later, later))
        assert "the lifetime of 4 s is over" in last_words(process, within=12)


def test_marks_outweigh_terminals_that_carry_heartbeats(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="600", TOOLBOX_IDLE="2") as process:
        later = time.time() + 600
        (tmp_path / "terminals" / "0").touch()
        os.utime(tmp_path / "terminals" / "0", (later, later))
        (tmp_path / "run" / "activity").touch()
        assert "nobody used this task" in last_words(process, within=10)


def test_ends_when_its_client_falls_silent(tmp_path: Path) -> None:
    with running(tmp_path, TOOLBOX_LIFETIME="600", TOOLBOX_IDLE="600", TOOLBOX_HEARTBEAT="2") as process:
        (tmp_path / "run" / "heartbeat").touch()
        assert "the client has been silent for 2 s" in last_words(process, within=10)


def test_no_heartbeat_rule_before_the_first_one_nor_when_it_is_off(tmp_path: Path) -> None:
    clock = {"TOOLBOX_LIFETIME": "4", "TOOLBOX_IDLE": "600"}
    with running(tmp_path, TOOLBOX_HEARTBEAT="1", **clock) as process:
        assert "the lifetime of 4 s is over" in last_words(process, within=12)
    with running(tmp_path, TOOLBOX_HEARTBEAT="0", **clock) as process:
        (tmp_path / "run" / "heartbeat").touch()
        assert "the lifetime of 4 s is over" in last_words(process, within=12)


def test_stop_is_obeyed_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        assert "asked to stop" in last_words(process, within=2)
    assert process.returncode == 143


def test_leaves_no_process_behind(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        process.send_signal(signal.SIGTERM)
        last_words(process, within=2)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("value", ["4h", "", "-1"])
def test_refuses_what_is_no_number(tmp_path: Path, value: str) -> None:
    done = subprocess.run(
        [ENTRYPOINT],
        env={"PATH": os.environ["PATH"], "TOOLBOX_RUN": str(tmp_path), "TOOLBOX_IDLE": value or "x"},
        capture_output=True,
        text=True,
        timeout=5,
        check=False,
    )
    assert done.returncode == 64
    assert "whole seconds" in done.stdout

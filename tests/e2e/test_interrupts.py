"""A signal at any step of the launch, a reply that is lost, a launcher that is killed: no task stays."""

import fcntl
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.cutproxy import CutProxy
from tests.support.labs import Lab
from tests.support.ptys import Terminal
from tests.support.shells import TOOLBOX, start
from tests.support.waiting import until_now

# A part of each step's line on stderr, in order, up to the command that runs.
STEPS = (
    "in account",
    "starting a task",
    "not visible yet",
    "its exec agent has started",
    "agent ready, opening the session",
    "files in /scripts",
    "the command runs",
    "stopping task",
)
# Each call of a launch in order: the signal comes while its answer is on the way.
CALLS = (
    "AmazonEC2ContainerServiceV20141113.DescribeServices",
    "AmazonEC2ContainerRegistry_V20150921.DescribeImages",
    "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition",
    "AmazonEC2ContainerServiceV20141113.RunTask",
    "AmazonEC2ContainerServiceV20141113.DescribeTasks",
    "AmazonEC2ContainerServiceV20141113.ExecuteCommand",
    "AmazonEC2ContainerServiceV20141113.StopTask",
)
COMMAND = "echo the command runs >&2; exec sleep 600"
QUICK = "echo the command runs >&2"


@pytest.fixture(autouse=True)
def swept(lab: Lab) -> Iterator[None]:
    """What one test left behind, having failed, must not fail the next one."""
    yield
    lab.stop_toolbox_tasks()


@contextmanager
def launched(lab: Lab, *options: str, command: str = COMMAND) -> Iterator["subprocess.Popen[bytes]"]:
    words = ["shell", "--scripts", str(lab.scripts), *options, "--", command]
    with start(lab, words, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: "subprocess.Popen[bytes]", step: str) -> None:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line.decode())
        if step in seen[-1]:
            return
    raise AssertionError(f"'{step}' never came: {''.join(seen)}")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_task_stays_after_a_signal(lab: Lab, step: str, number: signal.Signals) -> None:
    with launched(lab, command=QUICK if step == "stopping task" else COMMAND) as process:
        read_until(process, step)
        process.send_signal(number)
        process.communicate(timeout=30)
        # Ctrl-C reaches a command that runs, and a signal that comes while all is over changes no outcome.
        assert process.returncode in ((128 + number, 0) if step == "stopping task" else (128 + number,))
    lab.wait_for_no_task(seconds=10)


def test_no_task_stays_when_nobody_reads_what_it_says(lab: Lab) -> None:
    with launched(lab, command="exec yes >&2") as process:
        assert process.stderr is not None
        stderr = process.stderr.fileno()
        full = fcntl.fcntl(stderr, fcntl.F_GETPIPE_SZ)
        until_now(lambda: _waiting(stderr) > full - 2 * 4096, 30, "the pipe is full, but for pages that are not")
        process.terminate()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    lab.wait_for_no_task(seconds=10)


def _waiting(pipe: int) -> int:
    """How many bytes there are to read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("step", ["in account", "agent ready", "files in /scripts"])
def test_no_task_stays_when_the_terminal_is_closed(lab: Lab, step: str) -> None:
    with Terminal([*TOOLBOX, "shell", "--scripts", str(lab.scripts)], lab.environment) as terminal:
        terminal.expect(step)
        terminal.hang_up()
        assert terminal.process.wait(timeout=30) == 128 + signal.SIGHUP
    lab.wait_for_no_task(seconds=10)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_task_stays_after_a_signal_while_a_call_is_under_way(lab: Lab, call: str, number: signal.Signals) -> None:
    with CutProxy(lab.endpoint, hold=call.encode()) as proxy:
        through = lab.with_environment({**lab.environment, "AWS_ENDPOINT_URL": proxy.url})
        with launched(through, command=QUICK) as process:
            assert proxy.held.wait(timeout=30), "the call never came"
            process.send_signal(number)
            if call.endswith("RunTask"):
                read_until(process, "looking for what may have been started")
            proxy.release.set()
            process.communicate(timeout=30)
            assert process.returncode in ((128 + number, 0) if call.endswith("StopTask") else (128 + number,))
    lab.wait_for_no_task(seconds=10)


def test_ctrl_c_goes_to_the_command_once_it_runs(lab: Lab) -> None:
    with launched(lab) as process:
        read_until(process, "the command runs")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130, "sleep ends by SIGINT, and that is what is reported"
    lab.wait_for_no_task(seconds=10)


def test_a_second_ctrl_c_stops_the_task_of_a_command_that_will_not_end(lab: Lab) -> None:
    command = "trap 'echo not yet >&2' INT; echo it waits >&2; while :; do sleep 600; done"
    with launched(lab, command=command) as process:
        read_until(process, "it waits")
        process.send_signal(signal.SIGINT)
        read_until(process, "not yet")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130
    lab.wait_for_no_task(seconds=10)


def test_a_launcher_that_is_killed_leaves_a_task_that_ends_by_its_clock(lab: Lab) -> None:
    with launched(lab, "--idle", "4s") as process:
        read_until(process, "agent ready")
        process.kill()
        process.communicate()
    began = time.monotonic()
    lab.wait_for_no_task(seconds=20)
    assert time.monotonic() - began > 1, "it ended before its clock said so"


RUN_TASK = b"AmazonEC2ContainerServiceV20141113.RunTask"


@pytest.mark.parametrize("status", [None, 500])
def test_a_reply_that_is_lost_leaves_no_task(lab: Lab, status: int | None) -> None:
    """RunTask is carried out, but what comes is no answer, or AWS's own failure: the task is found by its tag."""
    with CutProxy(lab.endpoint, cut=RUN_TASK, status=status) as proxy:
        through = lab.with_environment({**lab.environment, "AWS_ENDPOINT_URL": proxy.url})
        with launched(through, command="true") as process:
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 255, errors
    assert b"looking for what may have been started" in errors
    assert proxy.cuts > 0
    lab.wait_for_no_task(seconds=10)


def test_no_task_stays_after_a_signal_while_one_is_looked_for(lab: Lab) -> None:
    list_tasks = b"AmazonEC2ContainerServiceV20141113.ListTasks"
    with CutProxy(lab.endpoint, cut=RUN_TASK, hold=list_tasks) as proxy:
        through = lab.with_environment({**lab.environment, "AWS_ENDPOINT_URL": proxy.url})
        with launched(through, command="true") as process:
            assert proxy.held.wait(timeout=30), "it never looked"
            process.send_signal(signal.SIGINT)
            proxy.release.set()
            process.communicate(timeout=30)
            assert process.returncode == 128 + signal.SIGINT
    lab.wait_for_no_task(seconds=10)

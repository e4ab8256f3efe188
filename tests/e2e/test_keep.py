"""A task that is kept, and coming back to it."""

from collections.abc import Iterator

import pytest

from tests.support.labs import Lab
from tests.support.ptys import Terminal
from tests.support.shells import TOOLBOX, run


@pytest.fixture(autouse=True)
def swept(lab: Lab) -> Iterator[None]:
    """A kept task is the test's to end."""
    yield
    lab.stop_toolbox_tasks()
    lab.wait_for_no_task(seconds=10)


def test_a_kept_task_can_be_entered_again(lab: Lab) -> None:
    done = run(lab, ["shell", "--keep", "--", "echo left > /tmp/note"])
    (arn,) = lab.toolbox_tasks()
    short = arn.rpartition("/")[2][:8]
    assert done.returncode == 0
    assert f"come back with --attach {short}".encode() in done.stderr
    again = run(lab, ["shell", "--attach", short, "--", "cat /tmp/note; exit 4"])
    assert (again.returncode, again.stdout) == (4, b"left\n")
    assert lab.toolbox_tasks() == [arn]


def test_leaving_a_shell_leaves_its_kept_task(lab: Lab) -> None:
    with Terminal([*TOOLBOX, "shell", "--keep"], lab.environment, columns=160) as terminal:
        terminal.expect("outlives this shell; ends after 20 min unused or at ")
        terminal.expect("[lab task ")
        terminal.send("\r~.")
        assert terminal.end() == 255
        assert b"come back with --attach" in terminal.seen
    with Terminal([*TOOLBOX, "shell", "--attach", ""], lab.environment) as terminal:
        terminal.expect("outlives this shell; ends at ")
        terminal.send("exit 5\n")
        assert terminal.end() == 5
    assert len(lab.toolbox_tasks()) == 1


def test_a_launch_that_was_interrupted_keeps_nothing(lab: Lab) -> None:
    with Terminal([*TOOLBOX, "shell", "--keep"], lab.environment) as terminal:
        terminal.expect("starting a task")
        terminal.send("\x03")
        assert terminal.end() == 130
    lab.wait_for_no_task(seconds=10)


def test_nothing_to_attach_to_is_said(lab: Lab) -> None:
    done = run(lab, ["shell", "--attach", "", "--", "true"])
    assert done.returncode == 255
    assert b"nothing to attach to" in done.stderr

"""Progress as a person sees it on a terminal, where lines are replaced and wrapped, and as a log gets it."""

import os
import re
import subprocess
import sys

from tests.support.ptys import Terminal

LONG = "word " * 20 + "end"


def program(*steps: str) -> list[str]:
    body = "\n    ".join(steps)
    code = f"from toolbox.cli.progress import Progress\nwith Progress() as progress:\n    {body}\nprint('over')"
    return [sys.executable, "-c", code]


def on_terminal(*steps: str, columns: int = 40) -> list[str]:
    """The lines that stay on a terminal, without the seconds."""
    with Terminal(program(*steps), dict(os.environ), columns=columns) as terminal:
        assert terminal.end() == 0
        lines = terminal.seen.decode().split("\r\n")
    shown = [line.rpartition("\r\x1b[K")[2] for line in lines]
    assert all(len(line) <= columns for line in shown)
    return [re.sub(r"^ +\d+\.\d s ", "", line).rstrip() for line in shown]


def test_what_stays_is_whole_however_narrow_the_terminal() -> None:
    stayed = on_terminal(f"progress({LONG!r})")
    assert " ".join(" ".join(stayed).split()) == f"{LONG} over"
    assert stayed[1].startswith(" " * 9), "what is wrapped stands below its sentence"


def test_what_is_told_is_whole_too() -> None:
    assert " ".join(" ".join(on_terminal(f"progress.tell({LONG!r})")).split()) == f"{LONG} over"


def test_what_is_told_comes_after_the_step_that_led_to_it() -> None:
    stayed = on_terminal("progress('first')", "progress.tell('told')", "progress('second')")
    assert stayed[:4] == ["first", "         told", "second", "over"]
    assert on_terminal("progress.tell('a')", "progress.tell('b')", "progress('')")[:2] == [" " * 9 + "a", " " * 9 + "b"]


def test_what_is_told_while_a_program_has_the_terminal_is_a_line_of_its_own() -> None:
    """The session's terminal is raw: there a line feed alone does not go back to the margin."""
    raw = "import sys, tty; tty.setraw(0); progress('step'); progress(''); sys.stdout.write('$ '); sys.stdout.flush()"
    with Terminal(program(raw, "progress.tell('told')"), dict(os.environ)) as terminal:
        assert terminal.end() == 0
        assert b"$ \r\n         told\r\n" in terminal.seen


def test_a_log_gets_every_step_as_one_line() -> None:
    done = subprocess.run(program(f"progress({LONG!r})"), capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr.splitlines() == [done.stderr.rstrip("\n")]
    assert done.stderr.endswith(f" s {LONG}\n")

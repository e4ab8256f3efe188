"""What tells a tired person where they are: the greeting before a shell, and the prompt in it."""

import os
import subprocess
from datetime import UTC, datetime

import pytest

from toolbox.launcher.greeting import greeting, prompt
from toolbox.launcher.plan import Clock

ENDS = datetime(2026, 11, 24, 6, 20, tzinfo=UTC)


def test_the_greeting_says_where_one_is_and_when_it_ends() -> None:
    where, when = greeting("production", ENDS, Clock(14400, 1200))
    assert "production" in where
    assert "temporary task" in where
    assert when.startswith("ends with this shell")
    assert "after 20 min unused" in when
    assert max(len(where), len(when)) <= 70, "behind the indent of progress it fits 80 columns"
    assert ENDS.astimezone().strftime("%H:%M") in when


def test_a_task_that_is_kept_or_was_there_before_outlives_the_shell() -> None:
    for ending in (greeting("staging", ENDS, Clock(90, 90), outlives=True)[1], greeting("staging", ENDS, None)[1]):
        assert ending.startswith("outlives this shell")
        assert ENDS.astimezone().strftime("%H:%M") in ending
    assert "after 90 s unused" in greeting("staging", ENDS, Clock(90, 90), outlives=True)[1]


@pytest.mark.parametrize(
    ("environ", "bold"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_the_prompt_is_bold_only_where_that_is_wanted(environ: dict[str, str], bold: bool) -> None:
    assert ("\\e[1m" in prompt("production", "8b2ea7d9", environ)["PROMPT_COMMAND"]) is bold


def test_a_shell_shows_the_prompt_whatever_its_start_files_say() -> None:
    variables = prompt("production", "8b2ea7d9", {"TERM": "dumb"})
    done = subprocess.run(
        ["bash", "--norc", "-i"],
        input="cd /tmp\necho \"$PROMPT_COMMAND\"\nPS1='mine> '\necho\n",
        env={**os.environ, **variables, "PS1": "overridden "},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        start_new_session=True,
    )
    assert "[production task 8b2ea7d9] /tmp" in done.stderr
    assert "mine> " in done.stderr, "it is set once, and is the person's from then on"
    assert done.stdout.strip() == ""


def test_a_name_cannot_run_anything_in_the_prompt() -> None:
    variables = prompt("a'$(touch x)`\\u", "id", {})
    assert not set("'$(`\\") & set(variables["PS1"].removesuffix("$ "))
    assert "touch x" not in variables["PROMPT_COMMAND"]

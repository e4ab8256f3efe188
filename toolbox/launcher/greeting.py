"""What tells a person that the shell is one in a temporary task: in which environment, and when it ends."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from toolbox.launcher.plan import Clock

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")


def greeting(
    environment: str, ends: datetime | None, clock: Clock | None, *, outlives: bool = False
) -> tuple[str, ...]:
    """Where one is, and when the task ends: two lines that fit a narrow terminal.

    `clock` None: a task that was there before, which outlives the shell.
    """
    ways = [] if clock is None else [f"after {_duration(clock.idle)} unused"]
    ways += [] if ends is None else [f"at {ends.astimezone():%H:%M %Z}"]
    if outlives or clock is None:
        ending = f"outlives this shell; ends {' or '.join(ways) or 'by its own clock'}"
    else:
        ending = f"ends with this shell (exit, ~.), {' or '.join(ways)}"
    return f"temporary task ({environment}): the api's network, environment, secrets", ending


def prompt(environment: str, task: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that give a far shell a prompt which names environment and task; bold as `environ` allows.

    The start files of a distribution's bash set PS1; PROMPT_COMMAND comes after them, sets it once, and is gone.
    """
    where = f"[{_UNSAFE.sub('_', environment)} task {_UNSAFE.sub('_', task)}]"
    plain = bool(environ.get("NO_COLOR")) or environ.get("TERM", "dumb") == "dumb"
    shown = where if plain else rf"\[\e[1m\]{where}\[\e[0m\]"
    return {"PS1": f"{where} $ ", "PROMPT_COMMAND": rf"PS1='{shown} \w \$ '; unset PROMPT_COMMAND"}


def _duration(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"

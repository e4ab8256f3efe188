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
    """Where one is, and when the task ends. `clock` None: a task that was there before, which outlives the shell."""
    ways = []
    if clock is not None:
        ways.append(f"after {_duration(clock.idle)} without use")
    if ends is not None:
        ways.append(f"at {ends.astimezone():%H:%M %Z} at the latest")
    if outlives or clock is None:
        ending = f"it outlives this shell, and stops {' or '.join(ways) or 'by its own clock'}"
    else:
        ending = f"it stops with this shell (exit, Ctrl-D or ~.), {', '.join(ways)}"
    return f"a shell in a temporary task: {environment}, with the api's network, environment and secrets", ending


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

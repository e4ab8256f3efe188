"""Whole process sessions (setsid(2)): who is in them, and their end."""

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

_GRACE: Final = 2.0
_PERSISTENCE: Final = 5.0


def members(sessions: Collection[int]) -> list[int]:
    """The processes of `sessions`, from /proc; [] where there is no /proc. Zombies are not among them."""
    found = []
    with suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and _session(entry.name) in sessions:
                found.append(int(entry.name))
    return found


def _session(pid: str) -> int | None:
    """The session of a live process: the fourth field after the name, which may hold anything (proc(5))."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split(maxsplit=4)[:4]
    except (OSError, ValueError):  # it ended meanwhile
        return None
    return None if state == b"Z" else int(session)


def end(sessions: Collection[int], grace: float = _GRACE) -> None:
    """End every process of `sessions`: SIGTERM, and SIGKILL to what is left after `grace` seconds.

    A closed terminal has sent SIGHUP already where there is one; interactive shells heed that and not SIGTERM.
    """
    _signal(members(sessions), signal.SIGTERM, signal.SIGCONT)
    deadline = time.monotonic() + grace
    while members(sessions) and time.monotonic() < deadline:
        time.sleep(0.02)
    deadline = time.monotonic() + _PERSISTENCE
    while (left := members(sessions)) and time.monotonic() < deadline:  # again: it may have forked meanwhile
        _signal(left, signal.SIGKILL)
        time.sleep(0.02)


def _signal(pids: list[int], *signals: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            for number in signals:
                os.kill(pid, number)

"""The files by which the task's first process judges whether anybody still needs the task.

`heartbeat` is touched while a client is there, `activity` when somebody does something: ECS's own idle limit cannot
tell them apart, because our heartbeats are traffic.
"""

import time
from contextlib import suppress
from pathlib import Path

_EVERY = 1.0


class Clock:
    """Touches the files in `directory`, each at most once a second; does without where that cannot be written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._touched: dict[str, float] = {}

    def heartbeat(self) -> None:
        """The client is there."""
        self._touch("heartbeat")

    def activity(self) -> None:
        """Something was typed, printed, delivered, or a command is running."""
        self._touch("activity")

    def _touch(self, name: str) -> None:
        now = time.monotonic()
        if now - self._touched.get(name, -_EVERY) < _EVERY:
            return
        self._touched[name] = now
        with suppress(OSError):
            (self._directory / name).touch()

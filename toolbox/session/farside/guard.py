"""The guard: a process that outlives a killed relay just long enough to end the relay's children.

When a session is terminated, amazon-ssm-agent kills the relay before it can clean up. The guard notices because the
pipe between them closes, however the relay ends; so the relay itself needs no second way to end its children.
"""

import os
import signal
from typing import Final

from toolbox.session.farside import sessions

_LONGEST_LINE: Final = 64


class Guard:
    """The relay's side of the pipe."""

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        if os.fork() == 0:
            try:
                os.close(self._pipe)
                _detach(reading)
                _watch(reading)
            finally:
                os._exit(0)
        os.close(reading)

    def watch(self, session: int) -> None:
        """End `session` when the relay ends."""
        self._tell(b"+%d\n" % session)

    def forget(self, session: int) -> None:
        """It ended by itself; its number may be used again."""
        self._tell(b"-%d\n" % session)

    def _tell(self, line: bytes) -> None:
        """Shorter than PIPE_BUF, so never in pieces. A guard that was killed leaves the task's own clock."""
        try:
            os.write(self._pipe, line)
        except BrokenPipeError:
            return


def _detach(keep: int) -> None:
    """Leave the relay's terminal, so that its end does not reach us, and hold nothing of it open."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))  # whatever the agent may have left open


def _watch(pipe: int) -> None:
    watched: set[int] = set()
    rest = b""
    while data := os.read(pipe, 4096):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            number = int(line[1:_LONGEST_LINE])
            watched.add(number) if line.startswith(b"+") else watched.discard(number)
    if watched:
        sessions.end(watched)

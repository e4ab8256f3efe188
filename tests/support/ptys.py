"""A real pseudo-terminal with a program on it: what a person types, and what they get to see."""

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Terminal:
    """A program on a terminal of its own. We keep its other side open, so its settings can be looked at afterwards."""

    def __init__(
        self, argv: Sequence[str | Path], environment: Mapping[str, str], columns: int = 100, rows: int = 30
    ) -> None:
        self._master, self._slave = os.openpty()
        self.resize(columns, rows)
        self.before = self.settings()
        self._unread = b""
        self.seen = b""
        self.process = subprocess.Popen(
            argv,
            env={**environment, "TERM": "xterm-256color"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            preexec_fn=self._take,
        )

    def _take(self) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def settings(self) -> list[Any]:
        """The terminal's settings as the kernel holds them."""
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, rows: int) -> None:
        """Change the window, as dragging its corner does."""
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text: str | bytes) -> None:
        """Type `text`; blocks while the program does not read."""
        data = text.encode() if isinstance(text, str) else text
        while data:
            self._gather(0)
            _, writable, _ = select.select([], [self._master], [], 0.1)
            if writable:
                data = data[os.write(self._master, data[:1024]) :]

    def expect(self, text: str, seconds: float = 30.0) -> str:
        """Wait until `text` appears in what was not expected yet; returns everything up to and with it."""
        wanted = text.encode()
        deadline = time.monotonic() + seconds
        while wanted not in self._unread:
            left = deadline - time.monotonic()
            assert left > 0, f"'{text}' did not appear in {self._unread[-3000:].decode(errors='replace')}"
            if not self._gather(min(left, 0.2)) and self.process.poll() is not None and not self._gather(0.2):
                raise AssertionError(f"ended without '{text}': {self._unread[-3000:].decode(errors='replace')}")
        before, found, self._unread = self._unread.partition(wanted)
        return (before + found).decode(errors="replace")

    def hang_up(self) -> None:
        """Close the window: the program gets SIGHUP, and whatever it asks of its terminal from now on fails."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def end(self, seconds: float = 30.0) -> int:
        """The program's exit code; what it still says is kept in `seen`."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.seen[-3000:].decode(errors='replace')}"
            self._gather(0.1)
        while self._gather(0.05):
            pass
        return self.process.returncode

    def _gather(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._master], [], [], seconds)
        if not readable:
            return False
        data = os.read(self._master, 65536)
        self._unread += data
        self.seen += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)

"""The near side of a session: this process's standard input, output and error, a terminal or not.

Reading and writing block, so each has a thread of its own: that needs no O_NONBLOCK, which would be set for every
process that shares the terminal, and it works alike for terminals, pipes, files and /dev/null.
"""

import asyncio
import errno
import os
import queue
import select
import signal
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self

from toolbox.session.escapes import HELP, Escape, Escapes
from toolbox.session.failures import OutputFailed, SessionLeft
from toolbox.session.wire import Size

_READ: Final = 32 * 1024
_JOIN_SECONDS: Final = 0.5
# What a full-screen program leaves behind when it cannot end properly: alternate screen, mouse, bracketed paste, hidden
# cursor, colours (xterm's control sequences). Each of them does nothing where it was not set.
_LEAVE_FULL_SCREEN: Final = b"\x1b[?1049l"
_CALM: Final = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[?25h\x1b[0m"
_ENTER_FULL_SCREEN: Final = b"\x1b[?1049h"


@contextmanager
def lent(stdin: int = 0) -> Iterator[None]:
    """Let another program have the terminal; its settings are restored afterwards, which AWS's plugin does not do."""
    saved = termios.tcgetattr(stdin) if os.isatty(stdin) else None
    try:
        yield
    finally:
        if saved is not None:
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(stdin, termios.TCSADRAIN, saved)


class LocalStdio:
    """The standard streams as `FarSide.run` wants them; `async with`, in the main thread.

    `raw`: make the terminal on stdin, if it is one, raw for as long as the block lasts, and watch for tilde escapes.
    Its settings are restored byte for byte on every way out. `read` raises SessionLeft at `~.`.
    """

    def __init__(self, *, raw: bool, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._raw = raw and os.isatty(stdin)
        self._saved: list[Any] | None = None
        self._escapes = Escapes()
        self._ready: list[bytes | Escape] = []
        self._reader = _Reader(stdin)
        self._writer = _Writer()
        self._resized: Callable[[], None] | None = None
        self._full_screen = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._changed)
        if self._raw:
            self._saved = termios.tcgetattr(self._stdin)
            loop.add_signal_handler(signal.SIGCONT, self._continued)
            self._make_raw()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._saved is not None and error is not None:
                with suppress(OSError, TimeoutError):  # a terminal that takes nothing is restored all the same
                    async with asyncio.timeout(_JOIN_SECONDS):
                        await self._writer.write(
                            self._stdout, (_LEAVE_FULL_SCREEN if self._full_screen else b"") + _CALM
                        )
        finally:
            if self._saved is not None:
                with suppress(termios.error):  # the terminal has gone
                    termios.tcsetattr(self._stdin, termios.TCSANOW, self._saved)
            loop.remove_signal_handler(signal.SIGWINCH)
            loop.remove_signal_handler(signal.SIGCONT)
            self._reader.stop()
            self._writer.stop()

    async def read(self) -> bytes:
        """What was typed, or stands in the file; b"" at its end. Raises SessionLeft."""
        while True:
            while self._ready:
                item = self._ready.pop(0)
                if item is Escape.LEAVE:
                    raise SessionLeft("~.")
                if item is Escape.HELP:
                    await self._writer.write(self._stdout, HELP.encode())
                elif isinstance(item, bytes):
                    return item
            data = await self._reader.read()
            if not self._raw or not data:
                return data
            self._ready = self._escapes.feed(data)

    async def write(self, data: bytes, *, error: bool) -> None:
        """Write to stdout, or stderr; returns once all of it was taken. BrokenPipeError: nobody reads it.

        Raises OutputFailed when it cannot be written for another reason.
        """
        if self._raw:
            entered, left = data.rfind(_ENTER_FULL_SCREEN), data.rfind(_LEAVE_FULL_SCREEN)
            self._full_screen = entered > left or (self._full_screen and left < 0)
        try:
            await self._writer.write(self._stderr if error else self._stdout, data)
        except BrokenPipeError:
            raise
        except OSError as problem:
            raise OutputFailed(problem) from problem

    def size(self) -> Size | None:
        """The size of the terminal on stdout, else on stdin; None when neither is one."""
        for descriptor in (self._stdout, self._stdin):
            with suppress(OSError):
                columns, rows = os.get_terminal_size(descriptor)
                return Size(columns, rows)
        return None

    def on_resize(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` at each SIGWINCH."""
        self._resized = callback

    def _changed(self) -> None:
        if self._resized is not None:
            self._resized()

    def _continued(self) -> None:
        """After a stop the job's shell has put its own settings, and the window may have changed."""
        with suppress(termios.error):
            self._make_raw()
        self._changed()

    def _make_raw(self) -> None:
        """As cfmakeraw(3), on top of what was set: keys arrive as they are, and output is left alone."""
        attributes = termios.tcgetattr(self._stdin)
        attributes[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )  # fmt: skip
        attributes[1] &= ~termios.OPOST
        attributes[2] = attributes[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        attributes[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        attributes[6] = list(attributes[6])
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._stdin, termios.TCSANOW, attributes)


class _Reader:
    """Reads a descriptor in a thread, one piece ahead of nobody: each read is asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._wakeup, self._waker = os.pipe()
        self._wanted: queue.SimpleQueue[asyncio.Future[bytes] | None] = queue.SimpleQueue()
        self._current: asyncio.Future[bytes] | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="stdin", daemon=True)
        self._thread.start()

    async def read(self) -> bytes:
        """The next piece. A cancelled read is not lost: the next one gets what it would have got."""
        if self._current is None:
            self._current = self._loop.create_future()
            self._wanted.put(self._current)
        data = await asyncio.shield(self._current)
        self._current = None
        return data

    def stop(self) -> None:
        os.write(self._waker, b"x")
        self._wanted.put(None)
        self._thread.join(_JOIN_SECONDS)
        if not self._thread.is_alive():
            os.close(self._wakeup)
            os.close(self._waker)

    def _work(self) -> None:
        while (future := self._wanted.get()) is not None:
            data = self._read()
            if data is None:
                return
            with suppress(RuntimeError):  # the loop has ended while we were blocked
                self._loop.call_soon_threadsafe(_resolve, future, data)

    def _read(self) -> bytes | None:
        """The next piece, b"" at the end, None when told to stop."""
        while True:
            try:
                ready, _, _ = select.select(
                    [self._descriptor, self._wakeup], [], []
                )  # poll(2) has no terminals on macOS
                if self._wakeup in ready:
                    return None
                return os.read(self._descriptor, _READ)
            except BlockingIOError:  # whoever shares the terminal made it so, and was faster
                continue
            except OSError:  # EIO: the terminal has gone; EBADF: stdin is closed
                return b""


class _Writer:
    """Writes in a thread, in order, so that a terminal that is stopped (Ctrl-S) stops nothing else."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[int, bytes, asyncio.Future[OSError | None]] | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="stdout", daemon=True)
        self._thread.start()

    async def write(self, descriptor: int, data: bytes) -> None:
        """Returns once all was taken. Raises BrokenPipeError when nobody reads, else the OSError."""
        future: asyncio.Future[OSError | None] = self._loop.create_future()
        self._jobs.put((descriptor, data, future))
        error = await future
        if error is not None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads it") if error.errno == errno.EIO else error

    def stop(self) -> None:
        self._jobs.put(None)
        self._thread.join(_JOIN_SECONDS)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            descriptor, data, future = job
            error: OSError | None = None
            try:
                _write_all(descriptor, data)
            except OSError as problem:
                error = problem
            with suppress(RuntimeError):  # the loop has ended while we were blocked
                self._loop.call_soon_threadsafe(_resolve, future, error)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # whoever shares the terminal made it so
            select.select([], [descriptor], [])


def _resolve(future: "asyncio.Future[Any]", result: object) -> None:
    if not future.done():
        future.set_result(result)

"""Progress on stderr: what happens now, and for how long; one line that ticks on a terminal, plain lines elsewhere."""

import os
import select
import sys
import textwrap
import threading
import time
from types import TracebackType
from typing import Final, Self

from toolbox.cli import streams
from toolbox.model.text import printable

_TICK_SECONDS: Final = 0.1
_BLOCKED_SECONDS: Final = 1.0  # after which a line is lost
_CLEAR: Final = "\r\x1b[K"
_INDENT: Final = " " * 9  # as wide as the seconds before a step
_NARROWEST: Final = 20


class Progress:
    """A callable that takes the sentence of the current step; "" ends the waiting. Entered, it ticks by itself.

    The same sentence again changes nothing. `tell` writes a line that stays. On a terminal a step's line is
    replaced by its last state, so that the screen keeps one line a step.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._started = time.monotonic()
        self._step = ""
        self._paused = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def __call__(self, step: str) -> None:
        """Show `step` as what happens now."""
        step = printable(step)
        with self._lock:
            if step == self._step:
                self._paused = not step
                return
            if self._live and self._step:
                self._write(self._last(self._step))
            elif self._live and self._paused:
                # A program had the terminal meanwhile and may have left the cursor behind its last word.
                self._write("\n")
            self._paused = not step
            self._step = step
            if step:
                self._write(self._line(step) if self._live else f"{self._line(step)}\n")

    def tell(self, text: str) -> None:
        """Write a line that stays, below the step that led to it; on a terminal that step ticks no more."""
        with self._lock:
            if self._live and self._step:
                self._write(self._last(self._step))
                self._step = ""
            told = self._wrapped(f"{_INDENT}{printable(text)}")
            if self._live and self._paused:
                # A program has the terminal, which is raw then, and the cursor stands anywhere.
                told = f"\n{told}".replace("\n", "\r\n")
            self._write(told)

    def __enter__(self) -> Self:
        if self._live:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self("")
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()

    def _tick(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            with self._lock:
                if self._step:
                    self._write(f"{_CLEAR}{self._line(self._step)}")

    def _line(self, step: str) -> str:
        """A step that goes on: it is replaced, which only works within one line of the terminal."""
        text = self._timed(step)
        return text[: self._width()] if self._live else text

    def _last(self, step: str) -> str:
        """A step that is over, in as many lines as it takes."""
        return f"{_CLEAR}{self._wrapped(self._timed(step))}"

    def _timed(self, step: str) -> str:
        return f"{time.monotonic() - self._started:6.1f} s {step}"

    def _wrapped(self, text: str) -> str:
        lines = [text]
        if self._live:
            lines = textwrap.wrap(text, self._width(), subsequent_indent=_INDENT, break_on_hyphens=False)
        return "".join(f"{line}\n" for line in lines)

    def _width(self) -> int:
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:  # the terminal has gone
            columns = 0
        return max(columns - 1, _NARROWEST)

    def _write(self, text: str) -> None:
        try:
            # Whoever reads this may have stopped reading. That must not hold up the session, or its task's end.
            if select.select([], [sys.stderr], [], _BLOCKED_SECONDS)[1]:
                sys.stderr.write(text)
                sys.stderr.flush()
        except OSError:
            # The terminal has gone (SIGHUP). Nobody reads this any more, and the cleaning up must go on.
            self._live = False
            streams.give_up(sys.stderr)

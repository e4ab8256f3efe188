"""Progress on stderr: what happens now, and for how long; one line that ticks on a terminal, plain lines elsewhere."""

import os
import sys
import threading
import time
from types import TracebackType
from typing import Final, Self

from toolbox.render.text import printable

_TICK_SECONDS: Final = 0.1
_CLEAR: Final = "\r\x1b[K"


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
                return
            if self._live and self._step:
                self._write(f"{_CLEAR}{self._line(self._step)}\n")
            elif self._live and self._paused:
                # A program had the terminal meanwhile and may have left the cursor behind its last word.
                self._write("\n")
            self._paused = not step
            self._step = step
            if step:
                self._write(self._line(step) if self._live else f"{self._line(step)}\n")

    def tell(self, text: str) -> None:
        """Write a line that stays, beside what is going on."""
        with self._lock:
            waiting = self._live and self._step
            self._write(f"{_CLEAR if waiting else ''}         {printable(text)}\n")
            if waiting:
                self._write(self._line(self._step))

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
        width = os.get_terminal_size(sys.stderr.fileno()).columns - 1 if self._live else None
        return f"{time.monotonic() - self._started:6.1f} s {step}"[:width]

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            # The terminal has gone (SIGHUP). Nobody reads this any more, and the cleaning up must go on.
            self._live = False

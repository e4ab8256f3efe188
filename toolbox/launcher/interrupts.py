"""INT, TERM and HUP as a request to leave in good order: the launcher is cancelled, and stops its task on the way."""

import asyncio
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TWICE_SECONDS: Final = 1.0


class Interrupts:
    """While entered, a signal cancels `task`; Ctrl-C goes to `forward` instead while that is set and takes it.

    A second Ctrl-C within a second of a forwarded one cancels as well. `received` is the signal that cancelled.
    A signal that was ignored when we started (`nohup`) stays ignored.
    """

    def __init__(self, task: "asyncio.Task[object]", notify: Callable[[str], None]) -> None:
        self.received: signal.Signals | None = None
        self.forward: Callable[[], bool] | None = None
        self._task = task
        self._notify = notify
        self._forwarded_at = float("-inf")

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal, number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        now = asyncio.get_running_loop().time()
        again = now - self._forwarded_at <= _TWICE_SECONDS
        if number is signal.SIGINT and not again and self.forward is not None and self.forward():
            self._forwarded_at = now
        elif self.received is None:
            self.received = number
            self._task.cancel()
        else:
            self._notify("still cleaning up; what cannot be stopped now ends by its own clock")

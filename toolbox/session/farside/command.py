"""The channel of a running command or shell: stdin, stdout, stderr, signals, window size, exit status."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from toolbox.session import frames
from toolbox.session.farside import children
from toolbox.session.farside.children import Child, Order
from toolbox.session.frames import CREDIT, MAX_PAYLOAD, Frame, FrameError, Kind

Emit = Callable[[Kind, bytes], None]

_GRANT: Final = CREDIT // 4
_END_OF_FILE: Final = b"\x04"
_SIGNALS: Final = {number.name: number for number in signal.Signals}


class CommandChannel:
    """One child and its client. `emit` sends a frame of this channel; it never blocks."""

    def __init__(self, order: Order, child: Child, emit: Emit) -> None:
        self.finished = False
        self.pid = child.pid
        self.one_shot = order.words is not None
        self._pty = order.pty
        self._emit = emit
        self._stdin: int | None = child.stdin
        self._pending = bytearray()
        self._ends = False  # close stdin once what is pending was written
        self._delivered = 0  # to stdin, and not yet granted again
        self._credit = CREDIT
        self._outputs = {child.stdout: Kind.DATA}
        if child.stderr is not None:
            self._outputs[child.stderr] = Kind.DATA_STDERR
        self._status: int | None = None

    def interests(self, room: bool) -> Iterator[tuple[int, int]]:
        """Which descriptors to wait for. `room`: whether the way to the client takes more output."""
        reads = self._outputs if room and self._credit else {}
        if self._stdin is not None and self._pending:
            both = select.POLLIN if self._stdin in reads else 0
            yield self._stdin, select.POLLOUT | both
        for descriptor in reads:
            if descriptor != self._stdin or not self._pending:
                yield descriptor, select.POLLIN

    def ready(self, descriptor: int, events: int) -> None:
        """Move what can be moved."""
        if descriptor == self._stdin and events & (select.POLLOUT | select.POLLERR):
            self._write()
        if descriptor in self._outputs and events & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._read(descriptor)

    def frame(self, frame: Frame) -> None:
        """Do what the client says; raises FrameError when it makes no sense here."""
        match frame.kind:
            case Kind.DATA:
                self._take(frame.payload)
            case Kind.EOF:
                self._end_of_input()
            case Kind.CREDIT:
                self._credit = min(CREDIT, self._credit + frames.decode_credit(frame.payload))
            case Kind.SIGNAL:
                self._signal(frame.payload)
            case Kind.SIZE:
                self._resize(*frames.decode_size(frame.payload))
            case Kind.UNREAD:
                self._unread(frame.payload)
            case _:
                raise FrameError(f"{frame.kind.name} on a command's channel")

    def exited(self, status: int) -> None:
        """The child ended, with `status` as waitpid(2) gives it."""
        self._status = status

    def settle(self) -> None:
        """Finish if the child ended and all its output is on its way.

        As with ssh, a command's pipes are read to their end, even if a child in the background holds them open; a
        terminal is read until it is empty.
        """
        if self._status is None or (self._outputs and not (self._pty and self._drained())):
            return
        code = os.waitstatus_to_exitcode(self._status)
        fields: dict[str, object] = {"code": code if code >= 0 else 128 - code}
        self._emit(Kind.EXIT, frames.encode_json(fields))
        self.close()

    def close(self) -> None:
        """Let go of the child's terminal or pipes."""
        self.finished = True
        for descriptor in {*self._outputs, *([] if self._stdin is None else [self._stdin])}:
            os.close(descriptor)
        self._outputs.clear()
        self._stdin = None

    def _drained(self) -> bool:
        poll = select.poll()
        for descriptor in self._outputs:
            poll.register(descriptor, select.POLLIN)
        return not poll.poll(0)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, min(MAX_PAYLOAD, self._credit))
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody holds the terminal's other side any more
            data = b""
        if data:
            self._credit -= len(data)
            self._emit(self._outputs[descriptor], data)
            return
        del self._outputs[descriptor]
        if descriptor != self._stdin:
            os.close(descriptor)

    def _take(self, data: bytes) -> None:
        if len(self._pending) + len(data) > CREDIT:
            raise FrameError("more input than was granted")
        if self._stdin is None:  # the child closed its stdin: as with ssh, the rest is thrown away
            self._grant(len(data))
            return
        self._pending += data
        self._write()

    def _write(self) -> None:
        assert self._stdin is not None
        try:
            written = os.write(self._stdin, self._pending) if self._pending else 0
        except BlockingIOError:
            return
        except OSError:  # EPIPE, EIO: nobody reads it any more
            self._grant(len(self._pending))
            self._pending.clear()
            self._close_stdin()
            return
        del self._pending[:written]
        self._grant(written)
        if self._ends and not self._pending:
            self._close_stdin()

    def _grant(self, count: int) -> None:
        self._delivered += count
        if self._delivered >= _GRANT:
            self._emit(Kind.CREDIT, frames.encode_credit(self._delivered))
            self._delivered = 0

    def _end_of_input(self) -> None:
        """A pipe is closed; a terminal, which the child also writes to, gets its end-of-file character."""
        if self._pty:
            self._pending += _END_OF_FILE
        else:
            self._ends = True
        if self._stdin is not None:
            self._write()

    def _close_stdin(self) -> None:
        if self._stdin is not None and self._stdin not in self._outputs:
            os.close(self._stdin)
        self._stdin = None

    def _signal(self, name: bytes) -> None:
        number = _SIGNALS.get(name.decode("ascii", "replace"))
        if number is None:
            raise FrameError("a signal that we do not know")
        with suppress(ProcessLookupError, OSError):
            group = os.tcgetpgrp(next(iter(self._outputs))) if self._pty and self._outputs else self.pid
            os.killpg(group, number)

    def _resize(self, columns: int, rows: int) -> None:
        if self._pty:
            with suppress(OSError):  # it ended just now
                for descriptor in self._outputs:
                    children.set_size(descriptor, columns, rows)

    def _unread(self, payload: bytes) -> None:
        """Close our end: the child's next write gets SIGPIPE, as with a local pipe."""
        if self._pty:
            return
        for descriptor, kind in list(self._outputs.items()):
            if payload == bytes([kind]):
                del self._outputs[descriptor]
                os.close(descriptor)

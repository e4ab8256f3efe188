"""The far side of a session: `toolbox relay`, which ECS Exec starts on a pseudo-terminal in the task.

It makes its terminal raw, says so, and from then on speaks frames: each channel is a command, a shell or a delivery.
It ends when its client says so, falls silent or goes away; the guard then ends its children.
"""

import os
import pwd
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from toolbox import __version__
from toolbox.session import frames
from toolbox.session.farside import children
from toolbox.session.farside.clock import Clock
from toolbox.session.farside.command import CommandChannel, Emit
from toolbox.session.farside.delivery import DeliveryChannel
from toolbox.session.farside.guard import Guard
from toolbox.session.farside.outbox import Outbox
from toolbox.session.frames import Decoder, Frame, FrameError, Kind

DEFAULT_SILENCE: Final = 30.0
"""Seconds without a word from the client after which it counts as gone; it speaks every three."""

_MAX_QUEUED: Final = 8 * 1024  # so that an urgent frame never waits long behind bulk
_MAX_ANSWERS: Final = 64 * 1024  # beyond it the client is not listening, and not listened to
_MAX_CHANNELS: Final = 64
_FAREWELL_SECONDS: Final = 1.0
_TICK: Final = 1.0
_READ: Final = 64 * 1024
_USAGE: Final = 64


class _Channel(Protocol):
    """What the relay asks of a channel, whatever it carries."""

    finished: bool
    pid: int
    one_shot: bool

    def interests(self, room: bool) -> Iterator[tuple[int, int]]: ...
    def ready(self, descriptor: int, events: int) -> None: ...
    def frame(self, frame: Frame) -> None: ...
    def exited(self, status: int) -> None: ...
    def settle(self) -> None: ...
    def close(self) -> None: ...


class Relay:
    """The loop: one thread, one poll. `terminal` is raw and does not block."""

    def __init__(self, terminal: int, guard: Guard, *, silence: float, scripts: str, clock: Clock) -> None:
        self._terminal = terminal
        self._guard = guard
        self._silence = silence
        self._scripts = scripts
        self._clock = clock
        self._outbox = Outbox(terminal)
        self._decoder = Decoder()
        self._channels: dict[int, _Channel] = {}
        self._prepared: dict[int, bytearray] = {}
        self._heard = time.monotonic()
        self._over = False
        self._wakeup, waker = os.pipe()
        for end in (self._wakeup, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hang_up)

    def run(self) -> int:
        """Serve until the end; 0 if the client said goodbye, else 1."""
        self._outbox.put(frames.MARKER)
        self._emitter(0)(Kind.HELLO, frames.encode_json(_hello(self._scripts)))
        try:
            while not self._over:
                if time.monotonic() > self._heard + self._silence:
                    return self._farewell(f"Nothing was heard of the client for {self._silence:g} s.")
                self._turn()
        except FrameError as error:
            return self._farewell(error.sentence)
        except OSError as error:  # the terminal is gone
            return self._farewell(f"The terminal failed: {error.strerror}.")
        return 0

    def _turn(self) -> None:
        for descriptor, events in self._poll():
            if descriptor == self._terminal:
                self._outbox.flush() if events & select.POLLOUT else None
                self._listen() if events & (select.POLLIN | select.POLLHUP | select.POLLERR) else None
            elif descriptor == self._wakeup:
                os.read(descriptor, _READ)
            else:
                self._serve(descriptor, events)
        self._reap()
        room = self._outbox.queued < _MAX_QUEUED
        for number, channel in list(self._channels.items()):
            if room:
                channel.settle()
            if channel.one_shot:
                self._clock.activity()
            if channel.finished:
                self._forget(number)
        self._outbox.flush()

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        listening = select.POLLIN if self._outbox.queued < _MAX_ANSWERS else 0
        poll.register(self._terminal, listening | (select.POLLOUT if self._outbox.queued else 0))
        poll.register(self._wakeup, select.POLLIN)
        for channel in self._channels.values():
            for descriptor, events in channel.interests(self._outbox.queued < _MAX_QUEUED):
                poll.register(descriptor, events)
        return poll.poll(min(self._silence, _TICK) * 1000)

    def _serve(self, descriptor: int, events: int) -> None:
        """Only channels that wait for a descriptor get it: another may have closed it in this very turn."""
        for channel in self._channels.values():
            if any(descriptor == one for one, _ in channel.interests(self._outbox.queued < _MAX_QUEUED)):
                channel.ready(descriptor, events)
                self._clock.activity()
                return

    def _listen(self) -> None:
        try:
            data = os.read(self._terminal, _READ)
        except BlockingIOError:
            return
        if not data:
            self._over = True
            return
        for frame in self._decoder.feed(data):
            self._heard = time.monotonic()
            self._obey(frame)

    def _obey(self, frame: Frame) -> None:
        if frame.channel == 0:
            self._obey_about_us(frame)
        elif frame.kind is Kind.PREPARE:
            self._prepare(frame)
        elif frame.kind is Kind.OPEN:
            self._open(frame)
        elif frame.channel in self._channels:
            self._channels[frame.channel].frame(frame)
            if frame.kind in (Kind.DATA, Kind.SIZE, Kind.SIGNAL):
                self._clock.activity()
        # else: it ended while this frame was under way

    def _obey_about_us(self, frame: Frame) -> None:
        if frame.kind is Kind.PING:
            self._clock.heartbeat()
            self._emitter(0)(Kind.PONG, frame.payload)
        elif frame.kind is Kind.BYE:
            self._over = True
        else:
            raise FrameError(f"{frame.kind.name} on channel 0")

    def _prepare(self, frame: Frame) -> None:
        beginning = self._prepared.setdefault(frame.channel, bytearray())
        beginning += frame.payload
        if len(beginning) > frames.MAX_OPENING or len(self._prepared) > _MAX_CHANNELS:
            raise FrameError("an order that never ends")

    def _open(self, frame: Frame) -> None:
        if frame.channel in self._channels or len(self._channels) >= _MAX_CHANNELS:
            raise FrameError("a channel that is open already, or one too many")
        fields = frames.decode_json(self._prepared.pop(frame.channel, b"") + frame.payload)
        emit = self._emitter(frame.channel)
        # A further kind of channel is one line here.
        openers: dict[str, Callable[[dict[str, object], Emit], _Channel]] = {
            "command": self._start_command,
            "delivery": self._start_delivery,
        }
        opener = openers.get(str(fields.get("kind")))
        if opener is None:
            emit(Kind.FAILED, _failure("unsupported", f"this relay has no channel of kind {fields.get('kind')!r}"))
            return
        try:
            self._channels[frame.channel] = opener(fields, emit)
        except OSError as error:
            emit(Kind.FAILED, _failure("start-failed", f"no process or terminal to be had: {error.strerror}"))
        self._clock.activity()

    def _start_command(self, fields: dict[str, object], emit: Emit) -> _Channel:
        order = children.parse_order(fields)
        child = children.start(order, self._scripts)
        self._guard.watch(child.pid)
        return CommandChannel(order, child, emit)

    def _start_delivery(self, fields: dict[str, object], emit: Emit) -> _Channel:
        return DeliveryChannel(fields, self._scripts, emit)

    def _emitter(self, channel: int) -> Emit:
        def emit(kind: Kind, payload: bytes) -> None:
            self._outbox.put(frames.encode_guarded(Frame(channel, kind, payload)))

        return emit

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for channel in self._channels.values():
                if channel.pid == pid:
                    channel.exited(status)

    def _forget(self, number: int) -> None:
        channel = self._channels.pop(number)
        if channel.pid:
            self._guard.forget(channel.pid)

    def _hang_up(self, number: int, frame: object) -> None:
        self._over = True

    def _farewell(self, text: str) -> int:
        """Say why, if anybody still listens."""
        self._emitter(0)(Kind.BYE, _failure("relay-garbled", text))
        deadline = time.monotonic() + _FAREWELL_SECONDS
        poll = select.poll()
        poll.register(self._terminal, select.POLLOUT)
        try:
            while self._outbox.queued and poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                self._outbox.flush()
        except OSError:
            return 1
        return 1


def _failure(cause: str, text: str) -> bytes:
    return frames.encode_json({"cause": cause, "text": text[:1000]})


def _hello(scripts: str) -> dict[str, object]:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return {"version": __version__, "pid": os.getpid(), "scripts": scripts, "user": user}


def _raw(attributes: list[Any]) -> list[Any]:
    """`attributes` so that all 256 bytes pass both ways: termios(3), cfmakeraw, and no parity whatever was set."""
    control = list(attributes[6])
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    return [0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0, attributes[4], attributes[5], control]


def main(argv: Sequence[str]) -> int:
    """Be the far side on our standard input, a terminal. `--silence SECONDS`: when the client counts as gone."""
    if not os.isatty(0) or not os.isatty(1) or len(argv) not in (0, 2) or (argv and argv[0] != "--silence"):
        sys.stderr.write("toolbox relay is the far side of 'toolbox shell'; it is not started by hand.\n")
        return _USAGE
    silence = float(argv[1]) if argv else DEFAULT_SILENCE
    before = termios.tcgetattr(0)
    guard = Guard()
    termios.tcsetattr(0, termios.TCSANOW, _raw(before))
    os.set_blocking(0, False)
    relay = Relay(
        0,
        guard,
        silence=silence,
        scripts=os.environ.get("TOOLBOX_SCRIPTS", "/scripts"),
        clock=Clock(Path(os.environ.get("TOOLBOX_RUN", "/run/toolbox"))),
    )
    return relay.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

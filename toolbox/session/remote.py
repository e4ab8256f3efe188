"""The relay's client: commands, shells and deliveries over one session, as ssh would give them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from toolbox.errors import SessionError
from toolbox.session import frames, running
from toolbox.session.access import Gateway, SessionEvent, Settings, Ticket
from toolbox.session.channel import Channel
from toolbox.session.client import DataChannel
from toolbox.session.failures import AgentRefused, RelayGarbled, RelayMissing, SessionClosed, SessionLost, safe
from toolbox.session.frames import Frame, FrameError, GuardedDecoder, Kind
from toolbox.session.jobs import put_to_rest
from toolbox.session.running import Command, Stdio
from toolbox.session.wire import Size

__all__ = ["Command", "Delivery", "FarSide", "Hello", "Stdio", "connect"]

_MAX_NOISE: Final = 64 * 1024
_MAX_ANSWER: Final = 4 * 1024 * 1024
_GOODBYE_SECONDS: Final = 1.0
_NO_SIZE: Final = Size(80, 24)  # what programs take a terminal of unknown size to have


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the relay is: its version and process, where it puts scripts, and whose rights it has."""

    version: str
    pid: int
    scripts_directory: str
    user: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is now in the scripts directory: paths relative to it, sorted; the archive's sha256; how long it took."""

    files: tuple[str, ...]
    sha256: str
    seconds: float


@asynccontextmanager
async def connect(
    ticket: Ticket,
    gateway: Gateway,
    *,
    deadline: float,
    on_event: Callable[[SessionEvent], None] = lambda event: None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> AsyncIterator["FarSide"]:
    """A session with the relay that `ticket` leads to; it is closed, and all that runs in it ended, with the block.

    `deadline`: seconds until the relay's marker must be there. Raises SessionRefused, SessionClosed, SessionLost,
    AgentRefused, RelayMissing, RelayGarbled.
    """
    greeting = _Greeting()
    wire = DataChannel(ticket, gateway, greeting.receive, on_event=on_event, settings=settings)
    began = time.monotonic()
    async with wire.opened(deadline):
        far = FarSide(wire, settings)
        greeting.far = far
        jobs = [asyncio.create_task(far._watch(greeting)), asyncio.create_task(far._stay_alive(greeting))]
        try:
            await greeting.wait(deadline - (time.monotonic() - began))
            try:
                yield far
            finally:
                await far.close()
        finally:
            await put_to_rest(*jobs)


class FarSide:
    """An open session with a relay at its other end. Made by `connect`."""

    hello: Hello

    def __init__(self, wire: DataChannel, settings: Settings) -> None:
        self._wire = wire
        self._settings = settings
        self._decoder = GuardedDecoder()
        self._channels: dict[int, Channel] = {}
        self._opened = 0
        self._heard = time.monotonic()
        self._running: Channel | None = None

    @property
    def running(self) -> bool:
        """Whether `run` has a command under way that a signal would reach."""
        return self._running is not None

    async def deliver(self, archive: bytes) -> Delivery:
        """Put the scripts of `archive` (tar or tar.gz) in place of those that are there, verified by sha256.

        Raises ChannelFailed when the far side refuses it, else what ended the session.
        """
        began = time.monotonic()
        digest = sha256(archive).hexdigest()
        answer = bytearray()
        async with self._channel({"kind": "delivery", "size": len(archive), "sha256": digest}) as channel:
            await channel.write(archive)
            await channel.send(Kind.EOF)
            async for frame in channel.output():
                answer += frame.payload if frame.kind is Kind.DATA else b""
                if len(answer) > _MAX_ANSWER:
                    raise FrameError("an answer that never ends")
        files = frames.decode_json(answer).get("files")
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise FrameError("an answer without files")
        return Delivery(tuple(files), digest, time.monotonic() - began)

    async def run(self, command: Command, stdio: Stdio) -> int:
        """Run `command` with our end of its stdin, stdout and stderr in `stdio`; returns its exit code.

        The code is one that was observed: whatever keeps us from seeing it is raised (SessionError). When this is
        cancelled, the command goes on unheard until the session is closed.
        """
        size = stdio.size() or _NO_SIZE
        async with self._channel(running.order(command, size)) as channel:
            self._running = channel
            try:
                return await running.follow(channel, command, stdio, size)
            finally:
                if self._running is channel:
                    self._running = None

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to what `run` was last asked to run: a command's process group, a terminal's foreground."""
        if self._running is not None:
            await self._running.send(Kind.SIGNAL, number.name.encode())

    async def close(self) -> None:
        """Say goodbye and wait a moment for the session's end. Never raises: it is over either way."""
        with suppress(SessionError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._send(Frame(0, Kind.BYE))
                await self._wire.ended()

    def receive(self, data: bytes) -> Frame | None:
        """Sort frames to their channels; returns HELLO if it was among them. Raises FrameError, RelayGarbled."""
        hello = None
        for frame in self._decoder.feed(data):
            self._heard = time.monotonic()
            if frame.channel in self._channels:
                self._channels[frame.channel].arrived(frame)
            elif frame.channel == 0 and frame.kind is Kind.HELLO:
                hello = frame
            elif frame.channel == 0 and frame.kind is Kind.BYE:
                text = str(frames.decode_json(frame.payload).get("text"))
                raise RelayGarbled(f"The relay gave up: {safe(text.encode())}")
            # a PONG was for `_heard`; the rest is for channels that we have left
        return hello

    async def _send(self, frame: Frame) -> None:
        await self._wire.send(frames.encode(frame))

    @asynccontextmanager
    async def _channel(self, fields: dict[str, object]) -> AsyncIterator[Channel]:
        self._opened += 1
        number = self._opened
        self._channels[number] = channel = Channel(number, self._send)
        try:
            for frame in frames.opening(number, fields):
                await self._send(frame)
            yield channel
        finally:
            del self._channels[number]

    async def _stay_alive(self, greeting: "_Greeting") -> None:
        """Heartbeats, from the greeting on; and the relay's silence, which the agent's acknowledgements may hide."""
        await greeting.over.wait()
        count = 0
        while True:
            count += 1
            await self._send(Frame(0, Kind.PING, b"%d" % count))
            await asyncio.sleep(self._settings.heartbeat)
            if self._wire.connected_at is None:
                continue
            silence = time.monotonic() - max(self._heard, self._wire.connected_at)
            if silence > self._settings.patience + self._settings.heartbeat:
                self._wire.fail(SessionLost(f"The relay has been silent for {silence:.0f} s."))

    async def _watch(self, greeting: "_Greeting") -> None:
        """Tell everybody who waits when the session ends."""
        error = await self._wire.ended()
        greeting.fail(error)
        for channel in self._channels.values():
            channel.ended(error)


class _Greeting:
    """The beginning of a session: what comes before the relay's marker, the marker, and its HELLO."""

    def __init__(self) -> None:
        self.far: FarSide | None = None
        self.over = asyncio.Event()
        self._failure: SessionError | None = None
        self._greeted = False
        self._seen: bytearray | None = bytearray()

    def receive(self, data: bytes) -> None:
        """What the session delivers, from its first byte to its last."""
        if self._seen is not None:
            self._seen += data
            before, marker, rest = self._seen.partition(frames.MARKER)
            if not marker:
                if len(before) > _MAX_NOISE:
                    raise RelayGarbled("Something else than our relay answers.", bytes(before))
                return
            self._seen, data = None, bytes(rest)
        assert self.far is not None
        hello = self.far.receive(data)
        if hello is not None:
            self.far.hello = _read_hello(hello.payload)
            self._greeted = True
            self.over.set()

    def fail(self, error: SessionError) -> None:
        """The session ended."""
        self._failure = error
        self.over.set()

    async def wait(self, seconds: float) -> None:
        """Wait for HELLO; raises what kept it from coming."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()
        seen = bytes(self._seen or b"")
        if self._greeted:
            return
        if self._failure is not None:
            raise _in_other_words(self._failure, seen)
        if seen:
            raise RelayGarbled(f"Something else than our relay answers; it began with '{safe(seen[:80])}'.", seen)
        raise RelayMissing(f"The relay did not say that it is ready within {seconds:.0f} s.")


def _in_other_words(error: SessionError, seen: bytes) -> SessionError:
    """What it means that the session ended before the relay was there."""
    if not isinstance(error, SessionClosed):
        return error
    if "Unable to start command" in error.output:
        return RelayMissing("The task's image has no toolbox relay.", error.output.encode())
    if "initiating handshake" in error.output:
        return AgentRefused(error.output)
    return RelayMissing("The relay ended before it was ready.", seen + b"\n" + error.output.encode())


def _read_hello(payload: bytes) -> Hello:
    fields = frames.decode_json(payload)
    pid = fields.get("pid")
    return Hello(
        version=safe(str(fields.get("version")).encode()),
        pid=pid if isinstance(pid, int) else 0,
        scripts_directory=safe(str(fields.get("scripts")).encode()),
        user=safe(str(fields.get("user")).encode()),
    )

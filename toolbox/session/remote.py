"""The relay's client: commands, shells and deliveries over one session, as ssh would give them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, Protocol

from toolbox.errors import SessionError
from toolbox.session import frames
from toolbox.session.client import DataChannel, Gateway, SessionEvent, Settings, Ticket
from toolbox.session.failures import (
    ChannelFailed,
    RelayGarbled,
    RelayMissing,
    SessionClosed,
    SessionLeft,
    SessionLost,
    safe,
)
from toolbox.session.frames import CREDIT, Frame, FrameError, GuardedDecoder, Kind
from toolbox.session.wire import Size

_GRANT: Final = CREDIT // 8
_MAX_NOISE: Final = 64 * 1024
_MAX_ANSWER: Final = 4 * 1024 * 1024
_MAX_WRITE: Final = 64 * 1024
_GOODBYE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Hello:
    """Who the relay is: its version and process, where it puts scripts, and whose rights it has."""

    version: str
    pid: int
    scripts_directory: str
    user: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is now in the scripts directory: paths relative to it, sorted."""

    files: tuple[str, ...]
    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `words` are joined by spaces and run by `sh -c`; None is a login shell.

    `pty`: on a terminal of its own, else on three pipes. `environment` is added to the container's.
    """

    words: tuple[str, ...] | None
    pty: bool
    environment: Mapping[str, str] = field(default_factory=dict)


class Stdio(Protocol):
    """The near side of a command: a terminal, or files and pipes."""

    async def read(self) -> bytes:
        """What to send to its stdin; b"" at the end. Raises SessionLeft when the person leaves."""

    async def write(self, data: bytes, *, error: bool) -> None:
        """Deliver what it wrote to stdout, or stderr; returns once done. BrokenPipeError: nobody reads it."""

    def size(self) -> Size | None:
        """The terminal's size, None without one."""

    def on_resize(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever `size()` changes; None: no longer."""


class _Channel:
    """One channel's bookkeeping: frames that wait to be taken, and how much may be sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox: asyncio.Queue[Frame | SessionError] = asyncio.Queue()
        self.credit = CREDIT
        self.granted = asyncio.Event()
        self._owed = CREDIT  # what the far side may still send
        self._taken = 0

    def arrived(self, frame: Frame) -> None:
        """Keep `frame` for its reader; raises FrameError when it was not granted."""
        if frame.kind is Kind.CREDIT:
            self.credit = min(CREDIT, self.credit + frames.decode_credit(frame.payload))
            self.granted.set()
            return
        self._owed -= len(frame.payload) if frame.kind in (Kind.DATA, Kind.DATA_STDERR) else 0
        if self._owed < 0:
            raise FrameError("more output than was granted")
        self.inbox.put_nowait(frame)

    def taken(self, count: int) -> int:
        """Note that `count` bytes were delivered; how many to grant now, often 0."""
        self._taken += count
        if self._taken < _GRANT:
            return 0
        granted, self._taken = self._taken, 0
        self._owed += granted
        return granted


class FarSide:
    """An open session with a relay at its other end. Made by `connect`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoder = GuardedDecoder()
        self._noise: bytearray | None = bytearray()
        self._greeted: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._channels: dict[int, _Channel] = {}
        self._next = 1
        self._one_frame_at_a_time = asyncio.Lock()
        self._wire: DataChannel | None = None
        self._heard = time.monotonic()
        self._running: _Channel | None = None

    @property
    def hello(self) -> Hello:
        """Who is there."""
        return self._greeted.result()

    async def deliver(self, archive: bytes) -> Delivery:
        """Put the scripts of `archive` (tar or tar.gz) in place of those that are there, verified by sha256.

        Raises ChannelFailed when the far side refuses it, else what ended the session.
        """
        began = time.monotonic()
        digest = sha256(archive).hexdigest()
        answer = bytearray()
        async with self._channel({"kind": "delivery", "size": len(archive), "sha256": digest}) as channel:
            await self._write(channel, archive)
            await self._send(Frame(channel.number, Kind.EOF))
            async for frame in self._output(channel):
                answer += frame.payload
                if len(answer) > _MAX_ANSWER:
                    raise FrameError("an answer that never ends")
                await self._grant(channel, len(frame.payload))
        files = frames.decode_json(answer).get("files")
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise FrameError("an answer without files")
        return Delivery(tuple(files), digest, time.monotonic() - began)

    async def run(self, command: Command, stdio: Stdio) -> int:
        """Run `command` with our end of its stdin, stdout and stderr in `stdio`; returns its exit code.

        The code is one that was observed: whatever keeps us from seeing it is raised (SessionError).
        """
        size = stdio.size() or Size(0, 0)
        order: dict[str, object] = {
            "kind": "command",
            "words": None if command.words is None else list(command.words),
            "pty": command.pty,
            "environment": dict(command.environment),
            "columns": size.columns,
            "rows": size.rows,
        }
        async with self._channel(order) as channel:
            self._running = channel
            jobs = [
                asyncio.create_task(self._feed(channel, stdio)),
                asyncio.create_task(self._follow_size(channel, stdio, size)),
            ]
            output = asyncio.create_task(self._drain(channel, stdio, command.pty))
            try:
                return await _first_failure(output, *jobs)
            finally:
                self._running = None
                stdio.on_resize(None)
                for job in (output, *jobs):
                    job.cancel()
                await asyncio.gather(output, *jobs, return_exceptions=True)

    async def signal(self, number: signal.Signals) -> None:
        """Send a signal to what `run` is running: a command's process group, a terminal's foreground."""
        if self._running is not None:
            await self._send(Frame(self._running.number, Kind.SIGNAL, number.name.encode()))

    async def close(self) -> None:
        """Say goodbye and wait a moment for the session's end. Never raises: it is over either way."""
        assert self._wire is not None
        with suppress(SessionError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self._send(Frame(0, Kind.BYE))
                await self._wire.ended()

    async def _feed(self, channel: _Channel, stdio: Stdio) -> None:
        while data := await stdio.read():
            await self._write(channel, data)
        await self._send(Frame(channel.number, Kind.EOF))

    async def _follow_size(self, channel: _Channel, stdio: Stdio, known: Size) -> None:
        changed = asyncio.Event()
        stdio.on_resize(changed.set)
        while True:
            size = stdio.size()
            if size is not None and size != known:
                known = size
                payload = frames.encode_size(size.columns, size.rows)
                await self._send(Frame(channel.number, Kind.SIZE, payload))
            await changed.wait()
            changed.clear()

    async def _drain(self, channel: _Channel, stdio: Stdio, pty: bool) -> int:
        """Deliver the output; returns the exit code. Output that nobody reads is refused, as a closed pipe does."""
        unread: set[Kind] = set()
        code = 0
        async for frame in self._output(channel):
            if frame.kind is Kind.EXIT:
                code = _exit_code(frame.payload)
                continue
            if frame.kind not in unread:
                try:
                    await stdio.write(frame.payload, error=frame.kind is Kind.DATA_STDERR)
                except BrokenPipeError:
                    if pty:
                        raise SessionLeft("nobody reads the terminal's output") from None
                    unread.add(frame.kind)
                    await self._send(Frame(channel.number, Kind.UNREAD, bytes([frame.kind])))
            await self._grant(channel, len(frame.payload))
        return code

    async def _output(self, channel: _Channel) -> AsyncIterator[Frame]:
        """The channel's frames up to and with EXIT; neighbouring data in one piece. Raises ChannelFailed."""
        held: Frame | SessionError | None = None
        while True:
            frame = held if held is not None else await channel.inbox.get()
            held = None
            if isinstance(frame, SessionError):
                raise frame
            if frame.kind is Kind.FAILED:
                fields = frames.decode_json(frame.payload)
                raise ChannelFailed(safe(str(fields.get("cause")).encode()), str(fields.get("text")))
            if frame.kind is Kind.EXIT:
                yield frame
                return
            pieces = [frame.payload]
            size = len(frame.payload)
            while size < _MAX_WRITE and not channel.inbox.empty():
                held = channel.inbox.get_nowait()
                if isinstance(held, SessionError) or held.kind is not frame.kind:
                    break
                pieces.append(held.payload)
                size += len(held.payload)
                held = None
            yield frame._replace(payload=b"".join(pieces))

    async def _grant(self, channel: _Channel, count: int) -> None:
        if granted := channel.taken(count):
            await self._send(Frame(channel.number, Kind.CREDIT, frames.encode_credit(granted)))

    async def _write(self, channel: _Channel, data: bytes) -> None:
        start = 0
        while start < len(data):
            while channel.credit == 0:
                channel.granted.clear()
                await channel.granted.wait()
            piece = data[start : start + min(channel.credit, frames.MAX_PAYLOAD)]
            channel.credit -= len(piece)
            start += len(piece)
            await self._send(Frame(channel.number, Kind.DATA, piece))

    async def _send(self, frame: Frame) -> None:
        assert self._wire is not None
        async with self._one_frame_at_a_time:
            await self._wire.send(frames.encode(frame))

    @asynccontextmanager
    async def _channel(self, fields: dict[str, object]) -> AsyncIterator[_Channel]:
        channel = _Channel(self._next)
        self._next += 1
        self._channels[channel.number] = channel
        assert self._wire is not None
        if self._wire.failure is not None:
            raise self._wire.failure
        try:
            for frame in frames.opening(channel.number, fields):
                await self._send(frame)
            yield channel
        finally:
            del self._channels[channel.number]

    def _receive(self, data: bytes) -> None:
        """What the session delivers: noise up to the marker, then frames. Raises FrameError, RelayGarbled."""
        if self._noise is not None:
            self._noise += data
            before, marker, rest = self._noise.partition(frames.MARKER)
            if not marker:
                if len(before) > _MAX_NOISE:
                    raise RelayGarbled("Something else than our relay answers.", bytes(before))
                return
            self._noise, data = None, bytes(rest)
        for frame in self._decoder.feed(data):
            self._heard = time.monotonic()
            self._dispatch(frame)

    def _dispatch(self, frame: Frame) -> None:
        if frame.channel in self._channels:
            self._channels[frame.channel].arrived(frame)
        elif frame.channel == 0 and frame.kind is Kind.HELLO and not self._greeted.done():
            self._greeted.set_result(_read_hello(frame.payload))
        elif frame.channel == 0 and frame.kind is Kind.BYE:
            text = str(frames.decode_json(frame.payload).get("text"))
            raise RelayGarbled(f"The relay gave up: {safe(text.encode())}")
        # PONG was for `_heard`; the rest belongs to channels that we have left

    async def _alive(self, wire: DataChannel) -> None:
        """Heartbeats, from the marker on; and the relay's silence, which the agent's acknowledgements may hide."""
        await self._greeted
        count = 0
        while True:
            count += 1
            await self._send(Frame(0, Kind.PING, b"%d" % count))
            await asyncio.sleep(self._settings.heartbeat)
            if wire.connected_at is None:
                continue
            silence = time.monotonic() - max(self._heard, wire.connected_at)
            if silence > self._settings.patience + self._settings.heartbeat:
                wire.fail(SessionLost(f"The relay has been silent for {silence:.0f} s."))

    async def _watch(self, wire: DataChannel) -> None:
        """Tell everybody who waits when the channel ends."""
        error = await wire.ended()
        if not self._greeted.done():
            self._greeted.set_exception(_before_hello(error, bytes(self._noise or b"")))
        for channel in self._channels.values():
            channel.inbox.put_nowait(error)
            channel.credit = max(channel.credit, 1)  # a writer that waits goes on, and meets the error
            channel.granted.set()

    @asynccontextmanager
    async def _opened(self, wire: DataChannel, deadline: float) -> AsyncIterator["FarSide"]:
        async with wire.opened():
            self._wire = wire
            jobs = [asyncio.create_task(self._watch(wire)), asyncio.create_task(self._alive(wire))]
            try:
                await self._wait_for_hello(deadline)
                yield self
                await self.close()
            finally:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)

    async def _wait_for_hello(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._greeted)
        except TimeoutError:
            seen = bytes(self._noise or b"")
            if seen:
                raise RelayGarbled(
                    f"Something else than our relay answered: it began with '{safe(seen[:80])}'.", seen
                ) from None
            raise RelayMissing(f"The relay did not say that it is ready within {seconds:g} s.") from None


@asynccontextmanager
async def connect(
    ticket: Ticket,
    gateway: Gateway,
    *,
    deadline: float,
    on_event: Callable[[SessionEvent], None] = lambda event: None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> AsyncIterator[FarSide]:
    """A session with the relay that `ticket` leads to; it is closed when the block ends.

    `deadline`: seconds until the relay's marker must be there. Raises SessionRefused, SessionClosed, SessionLost,
    RelayMissing, RelayGarbled.
    """
    far = FarSide(settings)
    wire = DataChannel(ticket, gateway, far._receive, on_event=on_event, settings=settings)
    async with far._opened(wire, deadline):
        yield far


async def _first_failure(result: "asyncio.Task[int]", *jobs: "asyncio.Task[None]") -> int:
    """What `result` returns; but a job that fails before it does is raised."""
    pending: set[asyncio.Task[int] | asyncio.Task[None]] = {result, *jobs}
    while not result.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task is not result:
                task.result()
    return result.result()


def _before_hello(error: SessionError, seen: bytes) -> SessionError:
    """What it means that the session ended before the relay was there."""
    if not isinstance(error, SessionClosed):
        return error
    if "Unable to start command" in error.output:
        return RelayMissing("The image has no toolbox relay.", error.output.encode())
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


def _exit_code(payload: bytes) -> int:
    code = frames.decode_json(payload).get("code")
    if not isinstance(code, int) or not 0 <= code <= 255:
        raise FrameError("an exit without a code")
    return code

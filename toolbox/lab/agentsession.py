"""One session on the agent's side: a process on a terminal, and a stream that outlives its websockets."""

import asyncio
import fcntl
import os
import struct
import termios
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from toolbox.lab.agenthandshake import Decrypt, Handshake, HandshakeFailed
from toolbox.lab.agenttext import HeldBack
from toolbox.lab.contract import Channel, PtyProcess, SessionKey
from toolbox.net.descriptor import ready
from toolbox.session import wire
from toolbox.session.encryption import Encryption, SealBroken
from toolbox.session.stream import Receiver, Sender
from toolbox.session.wire import Message, PayloadType, Size, WireError

_TICK: Final = 0.1
_AHEAD: Final = 1000
_FOR_EVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How the agent behaves. Real agents: no handshake (unless with KMS), 1 s, 1024 bytes, 1 ms, 2 s, no window."""

    handshake: bool = True
    first_output_after: float = 0.05
    read_bytes: int = 1024
    pause: float = 0.0
    answer_within: float = 15.0
    drain: float = 5.0
    window: int = 256


class StartRefused(Exception):
    """The command does not start; `output` is what channel_closed says then, in the agent's words."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


class AgentSession:
    """State of one session. `start` starts its process, or raises StartRefused; `on_over` is told of the end."""

    def __init__(
        self,
        session_id: str,
        start: Callable[[], Awaitable[PtyProcess]],
        on_over: Callable[[str], None],
        settings: AgentSettings,
        key: SessionKey | None,
        decrypt: Decrypt,
    ) -> None:
        self._on_over = on_over
        self._session_id = session_id
        self._start = start
        self._settings = settings
        self._sender = Sender(window=settings.window, patience=_FOR_EVER)
        self._receiver: Receiver[Message] = Receiver(limit=_AHEAD)
        self._channel: Channel | None = None
        self._attached = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._handshake = (
            Handshake(session_id, key, decrypt, self._send, self._answers, settings.answer_within)
            if settings.handshake or key
            else None
        )
        self._encryption: Encryption | None = None
        self._ready = False
        self._process: PtyProcess | None = None
        self._input: deque[Message] = deque()
        self._typed = asyncio.Event()
        self._jobs: list[asyncio.Task[None]] = []
        self._silent = False

    async def serve(self, channel: Channel) -> None:
        """Use `channel`, which was opened with the right token, until its peer has gone."""
        previous, self._channel = self._channel, channel
        self._attached.set()
        if previous is not None:
            self._jobs.append(asyncio.create_task(previous.close()))  # its peer may be long gone
        if not self._jobs and not self._silent:
            self._jobs = [asyncio.create_task(job) for job in (self._live(), self._type(), self._repeat())]
        for data in self._sender.reconnected(time.monotonic()):
            await channel.send(data)
        while (received := await channel.receive()) is not None:
            if not self._silent:
                await self._receive(received if isinstance(received, bytes) else received.encode())
        if self._channel is channel:
            self._channel = None
            self._attached.clear()

    def terminate(self) -> None:
        """End the process at once; the session then ends as it does after any process."""
        if self._process is not None:
            self._process.hang_up()

    async def fall_silent(self) -> None:
        """The agent is gone: nothing is answered any more, and nothing says so."""
        self._silent = True
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        self._release()

    async def _live(self) -> None:
        """From the first websocket to channel_closed."""
        output = ""
        try:
            if self._handshake is not None:
                self._encryption = await self._handshake.shake()
            self._process = await self._start()
            self._ready = True
            await self._pump(self._process)
            await self._process.wait()
        except (StartRefused, HandshakeFailed) as error:
            output = error.output
        finally:
            self._release()
        await self._close(output)

    async def _pump(self, process: PtyProcess) -> None:
        """The agent's output loop, until the terminal's other side is closed."""
        await asyncio.sleep(self._settings.first_output_after)
        os.set_blocking(process.master, False)
        text = HeldBack()
        while True:
            try:
                data = os.read(process.master, self._settings.read_bytes)
            except BlockingIOError:
                await ready(process.master, writing=False)
                continue
            except OSError:  # EIO: the terminal is closed on the other side
                return
            if not data:
                return
            if passed := text.pass_on(data):
                await self._send(PayloadType.OUTPUT, passed)
            await asyncio.sleep(self._settings.pause)

    async def _close(self, output: str) -> None:
        """Wait for what is under way to arrive, tell the client, and let it hang up."""
        try:
            async with asyncio.timeout(self._settings.drain):
                while self._sender.pending:
                    self._acknowledged.clear()
                    await self._acknowledged.wait()
                await self._attached.wait()
        except TimeoutError:
            pass  # as the agent: what is not acknowledged by now is lost
        if self._channel is not None:
            await self._channel.send(wire.encode_closed(self._session_id, output))
        self._on_over(self._session_id)
        for job in self._jobs:
            if job is not asyncio.current_task():
                job.cancel()

    async def _send(self, payload_type: PayloadType, payload: bytes) -> None:
        """Number, list and send one message, once there is room and somebody to send it to."""
        while not self._sender.room or self._channel is None:
            self._acknowledged.clear()
            await (self._acknowledged.wait() if self._channel is not None else self._attached.wait())
        flags = 1 if self._sender.is_new else 0
        sealed = self._encryption.outgoing(payload_type, payload) if self._encryption else payload
        data = self._sender.send(
            lambda number: wire.encode(Message(wire.OUTPUT, number, sealed, payload_type, flags)), time.monotonic()
        )
        await self._channel.send(data)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            if self._channel is not None and (late := self._sender.overdue(time.monotonic())) is not None:
                await self._channel.send(late)

    async def _receive(self, data: bytes) -> None:
        """Act on one message; what cannot be read is ignored, as the agent does."""
        try:
            message = wire.decode(data)
            if message.kind == wire.ACKNOWLEDGE:
                self._sender.acknowledge(wire.acknowledged(message), time.monotonic())
                self._sender.forget_ignored()
                self._acknowledged.set()
            elif message.kind == wire.INPUT:
                await self._accept(message)
        except WireError:
            return

    async def _accept(self, message: Message) -> None:
        """Acknowledge what came early or twice; what is in order only when the terminal has taken it."""
        if self._input and self._input[0].sequence <= message.sequence < self._receiver.expected:
            return  # once more what waits for the terminal
        acknowledge, ordered = self._receiver.accept(message.sequence, message)
        self._input.extend(ordered)
        self._typed.set()
        if acknowledge and not ordered:
            await self._acknowledge(message)

    async def _acknowledge(self, message: Message) -> None:
        if self._channel is not None:
            await self._channel.send(wire.encode_acknowledge(message))

    async def _type(self) -> None:
        """Carry out the input in order."""
        while True:
            while self._input:
                message = self._input[0]
                await self._carry_out(message)
                self._input.popleft()
                await self._acknowledge(message)
            self._typed.clear()
            await self._typed.wait()

    async def _carry_out(self, message: Message) -> None:
        if message.payload_type in (PayloadType.HANDSHAKE_RESPONSE, PayloadType.CHALLENGE_RESPONSE):
            self._answers.put_nowait(message)
        elif not self._ready or self._process is None:
            return  # the agent drops what comes before its process is there
        elif message.payload_type == PayloadType.SIZE:
            _set_size(self._process.master, wire.decode_size(message.payload))
        elif message.payload_type == PayloadType.OUTPUT:
            await _write_all(self._process.master, self._opened(message.payload))

    def _opened(self, payload: bytes) -> bytes:
        try:
            return self._encryption.open(payload) if self._encryption else payload
        except SealBroken:
            return b""  # the agent types nothing that its key does not fit

    def _release(self) -> None:
        """Let go of the process and its terminal."""
        self._ready = False
        process, self._process = self._process, None
        if process is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(process.master)
            loop.remove_writer(process.master)
            process.hang_up()
            os.close(process.master)


def _set_size(terminal: int, size: Size) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


async def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, waiting where the terminal is full; a terminal that is closed swallows it."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            await ready(descriptor, writing=True)
        except OSError:
            return

"""The client of the data channel: a websocket, and over it an ordered stream of bytes that survives the socket.

It does what AWS's session-manager-plugin does, and beyond that notices a dead peer and acknowledges duplicates again.
"""

import asyncio
import ipaddress
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from toolbox.errors import SessionError, ToolboxError
from toolbox.session import wire
from toolbox.session.access import Dropped, Gateway, Resumed, SessionEvent, Settings, Silent, Ticket
from toolbox.session.failures import SessionClosed, SessionLost, SessionRefused, safe
from toolbox.session.jobs import put_to_rest
from toolbox.session.opening import Opening
from toolbox.session.stream import Receiver, Sender
from toolbox.session.wire import Message, OpenFrame, PayloadType, WireError

__all__ = ["DataChannel", "Dropped", "Gateway", "Resumed", "SessionEvent", "Settings", "Silent", "Ticket"]

_FRAME_LIMIT: Final = wire.MAX_PAYLOAD + 4096
_TICK: Final = 0.1
_MAX_OUTGOING: Final = 20_000
_AHEAD: Final = 10_000
_FIRST_DELAYS: Final = (0.2, 0.5, 1.0, 2.0)
_RETRY_AFTER: Final = 0.5
_MAX_BARREN: Final = 5  # sockets in a row on which nothing came


class DataChannel:
    """One session. `deliver` gets the far side's bytes in order, and may raise SessionError to end it."""

    def __init__(
        self,
        ticket: Ticket,
        gateway: Gateway,
        deliver: Callable[[bytes], None],
        *,
        on_event: Callable[[SessionEvent], None],
        settings: Settings,
    ) -> None:
        self._ticket = ticket
        self._gateway = gateway
        self._deliver = deliver
        self._on_event = on_event
        self._settings = settings
        self._client_id = str(uuid.uuid4())
        self._sender = Sender(window=settings.window, patience=settings.patience)
        self._receiver: Receiver[Message] = Receiver(limit=_AHEAD)
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._failure: asyncio.Future[SessionError] = asyncio.get_running_loop().create_future()
        self._opening = Opening(ticket.session_id, gateway, self._send_message, self.fail)
        self._silent = False
        self._heard = False
        self.connected_at: float | None = None

    @asynccontextmanager
    async def opened(self, seconds: float) -> AsyncIterator["DataChannel"]:
        """Dial, within so many seconds, and serve the channel while the block lasts. Raises SessionRefused."""
        try:
            async with asyncio.timeout(seconds):
                socket = await self._first_dial()
        except TimeoutError as error:
            raise SessionRefused(f"The session could not be reached within {seconds:g} s.") from error
        task = asyncio.create_task(self._run(socket))
        try:
            yield self
        finally:
            await put_to_rest(task, *self._opening.jobs)

    @property
    def failure(self) -> SessionError | None:
        """Why the channel ended, None while it lives."""
        return self._failure.result() if self._failure.done() else None

    async def ended(self) -> SessionError:
        """Wait for its end; returns why."""
        return await asyncio.shield(self._failure)

    def fail(self, error: SessionError) -> None:
        """End the channel for this reason; the first one counts."""
        if not self._failure.done():
            self._failure.set_result(error)
            self._room.set()

    async def send(self, data: bytes) -> None:
        """Send `data` when the window has room for it: all of it or, when cancelled while it waits, nothing.

        Raises the reason once the channel has ended.
        """
        size = self._settings.message_bytes
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        needed = min(len(pieces), self._settings.window)
        while self._sender.room < needed and not self._failure.done():
            self._room.clear()
            await self._room.wait()
        if self._failure.done():
            raise self._failure.result()
        for piece in pieces:
            self._send_message(PayloadType.OUTPUT, self._opening.outgoing(PayloadType.OUTPUT, piece))

    def _send_message(self, payload_type: PayloadType, payload: bytes) -> None:
        self._post(
            self._sender.send(
                lambda number: wire.encode(Message(wire.INPUT, number, payload, payload_type)), time.monotonic()
            )
        )

    def _post(self, data: bytes) -> None:
        if len(self._outgoing) >= _MAX_OUTGOING:
            raise SessionLost("The session floods us and reads nothing.")
        self._outgoing.append(data)
        self._wake.set()

    async def _first_dial(self) -> ClientConnection:
        """The first socket. What may be a hiccup of the network is tried again."""
        delays = iter(_FIRST_DELAYS)
        while True:
            try:
                return await self._dial(self._ticket.token)
            except InvalidStatus as error:
                status = error.response.status_code
                if status < 500 or (delay := next(delays, None)) is None:
                    raise SessionRefused(f"The session was refused with HTTP status {status}.") from error
            except (OSError, TimeoutError, WebSocketException) as error:
                if (delay := next(delays, None)) is None:
                    why = safe(str(error).encode()) or type(error).__name__
                    raise SessionRefused(f"The session cannot be reached: {why}.") from error
            await asyncio.sleep(delay)

    async def _dial(self, token: str) -> ClientConnection:
        url = self._ticket.stream_url
        loopback = _is_loopback(url)
        if urlsplit(url).scheme != "wss" and not loopback:
            raise SessionRefused("The session's address is not encrypted (wss).", "Do not use this endpoint.")
        socket = await dial_websocket(
            url,
            additional_headers=dict(await self._gateway.sign(url)),
            compression=None,
            proxy=None if loopback else True,
            max_size=_FRAME_LIMIT,
            open_timeout=self._settings.dial_timeout,
            ping_interval=self._settings.ping_every,
            ping_timeout=self._settings.ping_timeout,
            close_timeout=1.0,
        )
        try:
            await socket.send(wire.encode_open(OpenFrame(token, self._client_id, wire.CLIENT_VERSION)))
        except BaseException:
            await socket.close()
            raise
        return socket

    async def _run(self, socket: ClientConnection) -> None:
        """Serve socket after socket until the session ends."""
        barren = 0
        try:
            while True:
                self._heard = False
                reason = await self._serve(socket)
                barren = 0 if self._heard else barren + 1
                if barren >= _MAX_BARREN:
                    raise SessionLost(f"The connection breaks again and again: {reason}.")
                socket = await self._resume(reason, barren * _RETRY_AFTER)
        except SessionError as error:
            self.fail(error)
        finally:
            self.fail(SessionLost("The session was given up."))

    async def _serve(self, socket: ClientConnection) -> str:
        """Use one socket until it is gone; returns why. Raises the SessionError that ends the session."""
        self.connected_at = time.monotonic()
        reading = asyncio.create_task(self._read(socket))
        ticking = asyncio.create_task(self._tick())
        writing = asyncio.create_task(self._write(socket))
        try:
            # Not for the writer, which notices a closed socket before everything that had arrived was read.
            done, _ = await asyncio.wait((reading, ticking), return_when=asyncio.FIRST_COMPLETED)
            return [task.result() for task in (ticking, reading) if task in done][-1]
        finally:
            self.connected_at = None
            await put_to_rest(reading, ticking, writing)
            await socket.close()

    async def _resume(self, reason: str, delay: float) -> ClientConnection:
        """A new socket for the old session, everything unacknowledged under way again."""
        began = time.monotonic()
        self._on_event(Dropped(reason))
        socket = await self._dial_again(delay)
        self._outgoing.clear()
        for data in self._sender.reconnected(time.monotonic()):
            self._post(data)
        self._on_event(Resumed(time.monotonic() - began))
        return socket

    async def _dial_again(self, delay: float) -> ClientConnection:
        """A socket with a fresh token, tried for as long as our patience lasts; raises SessionLost."""
        problem: Exception | None = None
        try:
            async with asyncio.timeout(self._settings.patience):
                while True:
                    await asyncio.sleep(delay)
                    delay = _RETRY_AFTER
                    try:
                        token = await self._gateway.resume(self._ticket.session_id)
                        if token is not None:
                            return await self._dial(token)
                    except (ToolboxError, OSError, TimeoutError, WebSocketException) as error:
                        problem = error
                    else:
                        raise SessionLost("The connection broke, and the session is no longer there.")
        except TimeoutError as error:
            why = f": {safe(str(problem).encode())}" if problem else ""
            raise SessionLost(f"The connection broke and could not be resumed{why}.") from error

    async def _read(self, socket: ClientConnection) -> str:
        try:
            while True:
                data = await socket.recv()
                self._receive(data if isinstance(data, bytes) else data.encode())
        except ConnectionClosed as error:
            return safe(str(error).encode())

    async def _write(self, socket: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                while self._outgoing:
                    await socket.send(self._outgoing.popleft())
                self._wake.clear()
                await self._wake.wait()

    async def _tick(self) -> str:
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            if (late := self._sender.overdue(now)) is not None:
                self._post(late)
            waiting = self._sender.waiting(now)
            if waiting > self._settings.silent_after and not self._silent:
                self._on_event(Silent(waiting))
            self._silent = waiting > self._settings.silent_after
            if self._sender.lost(now):
                raise SessionLost(f"The far side has not answered for {self._settings.patience:g} s.")

    def _receive(self, data: bytes) -> None:
        """Act on one message. What cannot be read is ignored and not acknowledged: the sender repeats it."""
        try:
            message = wire.decode(data)
            self._heard = True
            if message.kind == wire.ACKNOWLEDGE:
                self._sender.acknowledge(wire.acknowledged(message), time.monotonic())
                self._room.set()
            elif message.kind == wire.OUTPUT:
                acknowledge, ordered = self._receiver.accept(message.sequence, message)
                for each in ordered:
                    if shown := self._opening.take(each):
                        self._deliver(shown)
                if acknowledge:
                    self._post(wire.encode_acknowledge(message))
            elif message.kind == wire.CHANNEL_CLOSED:
                raise SessionClosed(wire.closed_output(message))
        except WireError:
            return


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

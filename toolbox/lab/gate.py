"""The way from one task to the database or to Redis, as a security group lets it be: open, silent, or refused.

Connections within 127.0.0.0/8 all come from 127.0.0.1, so the server could not tell who asks. Therefore each task has
an address of its own for each target, and the listener there tells.
"""

import asyncio
import select
import socket
import struct
from contextlib import suppress
from enum import Enum
from typing import Final

_BACKLOG: Final = 64
_CHUNK: Final = 65536
_FILLERS: Final = 2  # the one that fills the queue, and the one that meets it full
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER, zero seconds: socket(7)


class Passage(Enum):
    """What a connection attempt meets."""

    OPEN = "open"  # the server
    SILENT = "silent"  # nothing: no rule admits it, so its SYN is dropped and it times out
    REFUSED = "refused"  # a reset: nobody listens


class Gate:
    """One listener before one server. `set` decides what new connections meet; those that are open stay, as AWS's
    connection tracking lets them (EC2 User Guide, 'Security group connection tracking').
    """

    def __init__(self, listen: tuple[str, int], server: tuple[str, int]) -> None:
        self.listen = listen
        self.server = server
        self.passage = Passage.REFUSED
        self._listener: socket.socket | None = None
        self._fillers: list[socket.socket] = []
        self._relays: set[asyncio.Task[None]] = set()

    def set(self, passage: Passage) -> None:
        """Change what the next connection meets; raises OSError when the address cannot be bound."""
        if passage is self.passage:
            return
        match passage:
            case Passage.OPEN:
                self._open(self._bound())
            case Passage.SILENT:
                self._silence(self._bound())
            case Passage.REFUSED:
                self._refuse()
        self.passage = passage

    async def aclose(self) -> None:
        """Refuse new connections and reset the open ones."""
        self.set(Passage.REFUSED)
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _bound(self) -> socket.socket:
        if self._listener is None:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(self.listen)
            except OSError:
                listener.close()
                raise
            self._listener = listener
        return self._listener

    def _open(self, listener: socket.socket) -> None:
        self._discard_fillers(listener)
        listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _silence(self, listener: socket.socket) -> None:
        """Fill the accept queue: Linux drops the SYN for a listener whose queue is full (listen(2), tcp(7))."""
        asyncio.get_running_loop().remove_reader(listener)
        if self.passage is Passage.OPEN:
            self._accept(listener)  # those had their connection before the rule went
        listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            with suppress(BlockingIOError):
                filler.connect(self.listen)
            self._fillers.append(filler)
        # On the loopback a handshake is over before connect returns: the queue is full now, or never.
        if not _connected(self._fillers[0]) or _connected(self._fillers[-1]):
            raise OSError(f"the accept queue of {self.listen[0]}:{self.listen[1]} cannot be filled")

    def _refuse(self) -> None:
        if self._listener is None:
            return
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        self._drop_fillers()

    def _discard_fillers(self, listener: socket.socket) -> None:
        """Take our own connections out of the queue, so that the server never sees them."""
        if not self._fillers:
            return
        ours = {filler.getsockname() for filler in self._fillers}
        self._drop_fillers()
        with suppress(BlockingIOError):
            while True:
                connection, peer = listener.accept()
                if peer in ours:
                    connection.close()
                else:
                    self._start_relay(connection)

    def _drop_fillers(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                self._start_relay(listener.accept()[0])

    def _start_relay(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        relay = asyncio.get_running_loop().create_task(_relay(connection, self.server))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)


def _connected(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return bool(poll.poll(0))


async def _relay(connection: socket.socket, server: tuple[str, int]) -> None:
    """Carry bytes both ways until both have said their last; a server that is not there resets the client."""
    try:
        there = await asyncio.open_connection(*server)
    except (OSError, asyncio.CancelledError) as error:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.close()
        if isinstance(error, OSError):
            return
        raise
    here = await asyncio.open_connection(sock=connection)
    try:
        await asyncio.gather(_pump(here[0], there[1]), _pump(there[0], here[1]))
    except OSError:
        pass  # one side was reset: so is the other
    finally:
        for writer in (here[1], there[1]):
            writer.transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()
    if sink.can_write_eof():
        sink.write_eof()

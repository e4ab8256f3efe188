"""What may stand between a name server and those who ask it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.rdatatype

from toolbox.net.resolver import Server


@contextlib.asynccontextmanager
async def deaf_to_aaaa(behind: Server) -> AsyncIterator[Server]:
    """A firewall or a forwarder before a name server: it passes on queries over UDP, but drops those for AAAA."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Forwarder(behind, deaf_to=dns.rdatatype.AAAA), ("127.0.0.1", 0)
    )
    try:
        yield Server(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def slow(behind: Server, seconds: float) -> AsyncIterator[Server]:
    """A name server that takes its time: it hands each query over UDP on after `seconds`."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Forwarder(behind, delay=seconds), ("127.0.0.1", 0)
    )
    try:
        yield Server(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


@contextlib.asynccontextmanager
async def answering_over_tcp(flags: int) -> AsyncIterator[Server]:
    """A name server that sends everybody on to TCP, and answers there with the query and its own `flags`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        answer = query[:2] + flags.to_bytes(2) + query[4:]
        writer.write(len(answer).to_bytes(2) + answer)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    where = listener.sockets[0].getsockname()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Truncating, where)
    try:
        yield Server(*where)
    finally:
        transport.close()
        listener.close()


class _Truncating(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        response = dns.message.make_response(dns.message.from_wire(data))
        response.flags |= dns.flags.TC
        self._transport.sendto(response.to_wire(), peer)


class _Forwarder(asyncio.DatagramProtocol):
    """Passes queries on to another name server, after `delay` seconds, but those for the type `deaf_to`."""

    def __init__(self, behind: Server, *, delay: float = 0.0, deaf_to: dns.rdatatype.RdataType | None = None) -> None:
        self._behind = behind
        self._delay = delay
        self._deaf_to = deaf_to
        self._asked: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        for task in self._asked:
            task.cancel()

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        if dns.message.from_wire(data).question[0].rdtype is not self._deaf_to:
            self._asked.add(asyncio.create_task(self._pass_on(data, peer)))

    async def _pass_on(self, query: bytes, peer: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._delay)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self._behind.address, self._behind.port))
            await loop.sock_sendall(sock, query)
            self._transport.sendto(await loop.sock_recv(sock, 4096), peer)

"""What may stand between a name server and those who ask it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import cast

import dns.message
import dns.rdatatype

from toolbox.net.resolver import Server


@contextlib.asynccontextmanager
async def deaf_to_aaaa(behind: Server) -> AsyncIterator[Server]:
    """A firewall or a forwarder before a name server: it passes on queries over UDP, but drops those for AAAA."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _DeafToAaaa(behind), ("127.0.0.1", 0)
    )
    try:
        yield Server(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


class _DeafToAaaa(asyncio.DatagramProtocol):
    def __init__(self, behind: Server) -> None:
        self._behind = behind
        self._asked: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        if dns.message.from_wire(data).question[0].rdtype is not dns.rdatatype.AAAA:
            self._asked.add(asyncio.create_task(self._pass_on(data, peer)))

    async def _pass_on(self, query: bytes, peer: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (self._behind.address, self._behind.port))
            await loop.sock_sendall(sock, query)
            self._transport.sendto(await loop.sock_recv(sock, 4096), peer)

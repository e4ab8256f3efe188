"""A small real name server: UDP and TCP, what it answers is a function, and it never asks anybody else.

One server listens on several addresses, and the function learns which one was asked: so each task of the lab has its
own view of the same name.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias, cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

_MAX_ALIASES: Final = 8
_TCP_IDLE_SECONDS: Final = 10.0
_UDP_SIZE: Final = 512  # RFC 1035 4.2.1, where the query does not say more by EDNS


class Outcome(Enum):
    """How a query ends; the values are RCODEs (RFC 1035 4.1.1). A dropped one is never answered."""

    NOERROR = dns.rcode.NOERROR
    NXDOMAIN = dns.rcode.NXDOMAIN
    SERVFAIL = dns.rcode.SERVFAIL
    REFUSED = dns.rcode.REFUSED
    DROP = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What stands behind a name: IPv4 and IPv6 addresses, or the name that it is an alias of, or a failure."""

    addresses: tuple[str, ...] = ()
    alias: str | None = None
    outcome: Outcome = Outcome.NOERROR
    ttl: int = 5


NXDOMAIN: Final = Answer(outcome=Outcome.NXDOMAIN)
Lookup: TypeAlias = Callable[[str, str], Answer]
"""(name in lower case without the last dot, address of ours that was asked) -> answer; asked again for an alias."""


class NameServer:
    """Answers on any number of addresses, all with one port; port 0 takes a free one at the first `listen`."""

    def __init__(self, lookup: Lookup, port: int = 53) -> None:
        self.port = port
        self._lookup = lookup
        self._listeners: dict[str, tuple[asyncio.DatagramTransport, asyncio.Server]] = {}
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(self._listeners)

    async def listen(self, address: str) -> None:
        """Answer on `address`, too; raises OSError when the port is taken there."""
        if address in self._listeners:
            return

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._converse(address, reader, writer)

        server = await asyncio.start_server(converse, address, self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: _Datagrams(lambda query: self._answer(query, address, datagram=True)), (address, self.port)
            )
        except OSError:
            server.close()
            raise
        self._listeners[address] = (transport, server)

    def close(self, address: str) -> None:
        """Answer no longer on `address`: the kernel refuses from now on."""
        listeners = self._listeners.pop(address, None)
        if listeners:
            listeners[0].close()
            listeners[1].close()

    async def aclose(self) -> None:
        """Answer nowhere and end what is open."""
        for address in self.addresses:
            self.close(address)
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _converse(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Queries over TCP, each behind its length in two bytes (RFC 1035 4.2.2)."""
        task = cast("asyncio.Task[None]", asyncio.current_task())
        self._conversations.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                while True:
                    async with asyncio.timeout(_TCP_IDLE_SECONDS):
                        length = int.from_bytes(await reader.readexactly(2))
                        query = await reader.readexactly(length)
                    answer = self._answer(query, address, datagram=False)
                    if answer:
                        writer.write(len(answer).to_bytes(2) + answer)
                        await writer.drain()
        finally:
            self._conversations.discard(task)
            writer.close()

    def _answer(self, wire: bytes, address: str, *, datagram: bool) -> bytes | None:
        """The answer's bytes, None for silence; what no datagram holds goes out empty and marked TC."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        question = query.question[0]
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        for name, answer in self._follow(question.name.to_text(omit_final_dot=True).lower(), address):
            if answer.outcome is Outcome.DROP:
                return None
            response.set_rcode(answer.outcome.value)
            response.answer.extend(_records(name, answer, question.rdtype))
        limit = max(query.payload, _UDP_SIZE) if datagram else 0xFFFF
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire(max_size=limit)

    def _follow(self, name: str, address: str) -> Iterator[tuple[str, Answer]]:
        """The answer for `name`, and for what it is an alias of."""
        for _ in range(_MAX_ALIASES):
            answer = self._lookup(name, address)
            yield name, answer
            if answer.alias is None:
                return
            name = answer.alias.rstrip(".").lower()


class _Datagrams(asyncio.DatagramProtocol):
    """One query a datagram, one answer back."""

    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        """Answer, or keep silent."""
        answer = self._answer(data)
        if answer and self._transport:
            self._transport.sendto(answer, peer)


def _records(name: str, answer: Answer, kind: dns.rdatatype.RdataType) -> Iterator[dns.rrset.RRset]:
    if answer.alias:
        yield dns.rrset.from_text(f"{name}.", answer.ttl, "IN", "CNAME", f"{answer.alias.rstrip('.')}.")
    addresses = [address for address in answer.addresses if _type(address) is kind]
    if addresses:
        yield dns.rrset.from_text_list(f"{name}.", answer.ttl, "IN", kind, addresses)


def _type(address: str) -> dns.rdatatype.RdataType:
    return dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A

"""Names to addresses, timed, with the reasons of a failure told apart.

getaddrinfo tells 'no such name' from 'try again' at best; here each name server is asked directly, so that NXDOMAIN,
SERVFAIL, REFUSED and silence stay what they are. dnspython does the wire format; its resolver is not imported, it
would cost more than the whole query.
"""

import asyncio
import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

from toolbox.model.result import Cause
from toolbox.net.connect import fault_of
from toolbox.net.fault import Fault
from toolbox.net.resolver import Resolver, Server, is_address

if TYPE_CHECKING:
    import dns.message

MAX_ADDRESSES: Final = 16
_HOSTS_LIMIT: Final = 1 << 20
_LOCALHOST: Final = ("127.0.0.1",)
_Kind = Literal["A", "AAAA"]
_KINDS: Final[tuple[_Kind, _Kind]] = ("A", "AAAA")
_SETTLED: Final = (Cause.DNS_NXDOMAIN, Cause.DNS_NO_ADDRESS)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What stands behind `name`. `source` says who knew: `literal`, `hosts` or a name server's address.

    `fault` may stand beside addresses: then a name server was silent about the other kind, which costs clients seconds.
    """

    name: str
    addresses: tuple[str, ...]
    source: str
    seconds: float
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class _Reply:
    """One server's word on one name and type."""

    addresses: tuple[str, ...]
    source: str
    fault: Fault | None = None

    @property
    def cause(self) -> Cause | None:
        return self.fault.cause if self.fault else None


async def resolve(name: str, resolver: Resolver, *, timeout: float) -> Resolution:
    """The addresses behind `name`, at most 16, within `timeout` seconds; IPv4 first."""
    known = _without_asking(name, resolver.hosts)
    if known:
        return Resolution(name, known[1][:MAX_ADDRESSES], known[0], 0.0)
    import dns.message  # noqa: F401  # before the clock starts: the import is ours, not the network's

    start = time.monotonic()
    reply = await _search(name, resolver, start + timeout)
    seconds = time.monotonic() - start
    return Resolution(name, reply.addresses[:MAX_ADDRESSES], reply.source, seconds, reply.fault)


def _without_asking(name: str, hosts: Path | None) -> tuple[str, tuple[str, ...]] | None:
    """(source, addresses) for what needs no name server: an address, a line of the hosts file, localhost."""
    try:
        return "literal", (str(ipaddress.ip_address(name.strip("[]"))),)
    except ValueError:
        pass
    wanted = name.rstrip(".").lower()
    addresses = tuple(_in_hosts(wanted, hosts)) if hosts else ()
    if addresses:
        return "hosts", addresses
    if wanted == "localhost" or wanted.endswith(".localhost"):  # RFC 6761 6.3: never asked for
        return "literal", _LOCALHOST
    return None


def _in_hosts(name: str, hosts: Path) -> Iterator[str]:
    try:
        with hosts.open(errors="replace") as file:
            text = file.read(_HOSTS_LIMIT)
    except OSError:
        return
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if name in (known.lower() for known in names) and is_address(address):
            yield address


async def _search(name: str, resolver: Resolver, deadline: float) -> _Reply:
    """The first candidate that has addresses; else the most telling failure: trouble, no address, no such name."""
    failures: list[_Reply] = []
    for candidate in resolver.candidates(name):
        ipv4, ipv6 = await asyncio.gather(*(_ask(candidate, kind, resolver, deadline) for kind in _KINDS))
        if ipv4.addresses or ipv6.addresses:
            silent = next((reply.fault for reply in (ipv4, ipv6) if reply.cause is Cause.DNS_TIMEOUT), None)
            return _Reply(ipv4.addresses + ipv6.addresses, (ipv4 if ipv4.addresses else ipv6).source, silent)
        # Whether a name exists does not depend on the type: one NXDOMAIN settles it.
        gone = [reply for reply in (ipv4, ipv6) if reply.cause is Cause.DNS_NXDOMAIN]
        failures += gone or [ipv4, ipv6]
    trouble = [reply for reply in failures if reply.cause not in _SETTLED]
    empty = [reply for reply in failures if reply.cause is Cause.DNS_NO_ADDRESS]
    return next(iter([*trouble, *empty, *failures]))


async def _ask(name: str, kind: _Kind, resolver: Resolver, deadline: float) -> _Reply:
    """What the servers say, asked in turn; one that is late is still heard. The first word that settles the question,
    else the last failure.
    """
    tries = [server for _ in range(resolver.attempts) for server in resolver.servers]
    patience = min(resolver.timeout, max(deadline - time.monotonic(), 0.0) / len(tries))
    words = f"no answer from {', '.join(map(str, resolver.servers))} about {kind} within {patience * len(tries):.2g} s"
    reply = _Reply((), str(tries[-1]), Fault(Cause.DNS_TIMEOUT, words))
    end = time.monotonic() + patience * len(tries)
    asked: set[asyncio.Task[_Reply]] = set()
    try:
        while tries or (asked and time.monotonic() < end):
            left = patience if tries else end - time.monotonic()
            if tries:
                asked.add(asyncio.create_task(_ask_one(name, kind, tries.pop(0))))
            done, asked = await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                reply = task.result()
                if reply.cause is None or reply.cause in _SETTLED:
                    return reply
        return reply
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


async def _ask_one(name: str, kind: _Kind, server: Server) -> _Reply:
    import dns.exception
    import dns.message

    source = str(server)
    try:
        query = dns.message.make_query(f"{name}.", kind)
    except dns.exception.DNSException as error:
        return _Reply((), source, Fault(Cause.DNS_NXDOMAIN, f"this cannot be a name: {error}"))
    try:
        response = await _exchange(query, server)
    except OSError as error:
        return _Reply((), source, Fault(Cause.DNS_REFUSED, f"{source} cannot be asked: {fault_of(error).text}"))
    except (dns.exception.DNSException, EOFError) as error:
        return _Reply((), source, Fault(Cause.DNS_SERVFAIL, f"{source} answers what cannot be read: {error}"))
    return _read(response, source)


def _read(response: "dns.message.Message", source: str) -> _Reply:
    """The addresses of an answer, aliases followed, or its RCODE (RFC 1035 4.1.1) as a fault."""
    import dns.exception
    import dns.message
    import dns.rcode

    code = response.rcode()
    if code == dns.rcode.NXDOMAIN:
        return _Reply((), source, Fault(Cause.DNS_NXDOMAIN, f"{source} says NXDOMAIN"))
    if code != dns.rcode.NOERROR:
        cause = Cause.DNS_REFUSED if code == dns.rcode.REFUSED else Cause.DNS_SERVFAIL
        return _Reply((), source, Fault(cause, f"{source} says {dns.rcode.to_text(code)}"))
    try:
        answer = cast("dns.message.QueryMessage", response).resolve_chaining().answer
    except dns.exception.DNSException as error:
        return _Reply((), source, Fault(Cause.DNS_SERVFAIL, f"{source} answers a chain without end: {error}"))
    addresses = tuple(record.to_text() for record in answer) if answer else ()
    if not addresses:
        return _Reply((), source, Fault(Cause.DNS_NO_ADDRESS, f"{source} knows the name, but no address for it"))
    return _Reply(addresses, source)


async def _exchange(query: "dns.message.Message", server: Server) -> "dns.message.Message":
    """The server's answer: by datagram, and once more over TCP when it was cut (RFC 7766 5)."""
    import dns.flags

    response = await _by_datagram(query, server)
    return await _by_stream(query, server) if response.flags & dns.flags.TC else response


async def _by_datagram(query: "dns.message.Message", server: Server) -> "dns.message.Message":
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[dns.message.Message] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(query, answer), remote_addr=(server.address, server.port)
    )
    try:
        transport.sendto(query.to_wire())
        return await answer
    finally:
        transport.close()


async def _by_stream(query: "dns.message.Message", server: Server) -> "dns.message.Message":
    import dns.exception
    import dns.message

    reader, writer = await asyncio.open_connection(server.address, server.port)
    try:
        writer.write(query.to_wire(prepend_length=True))
        length = int.from_bytes(await reader.readexactly(2))
        response = dns.message.from_wire(await reader.readexactly(length))
        if not query.is_response(response):
            words = "the answer to another question"
            raise dns.exception.FormError(words)  # type: ignore[no-untyped-call]  # dnspython's exceptions have no types
        return response
    finally:
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    """Waits for the answer to one query; what answers another question, or nothing at all, is passed over."""

    def __init__(self, query: "dns.message.Message", answer: "asyncio.Future[dns.message.Message]") -> None:
        self._query = query
        self._answer = answer

    def datagram_received(self, data: bytes, peer: object) -> None:
        """Take the answer if it is ours (RFC 5452 9.1)."""
        import dns.exception
        import dns.message

        try:
            response = dns.message.from_wire(data, ignore_trailing=True)
        except dns.exception.DNSException:
            return
        if not self._answer.done() and self._query.is_response(response):
            self._answer.set_result(response)

    def error_received(self, error: Exception) -> None:
        """An ICMP error: nothing listens there, or no way leads there."""
        if not self._answer.done():
            self._answer.set_exception(error)

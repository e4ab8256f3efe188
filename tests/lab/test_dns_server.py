"""The lab's name server, asked over real sockets by dnspython as a client."""

from collections.abc import AsyncIterator

import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import pytest

from toolbox.lab.dns import NXDOMAIN, Answer, NameServer, Outcome

MANY = tuple(f"10.0.{n // 250}.{n % 250}" for n in range(300))
HERE = "127.0.0.1"
ELSEWHERE = "127.0.0.9"

RECORDS = {
    "db.lab": Answer(("10.1.2.3", "10.1.2.4", "fd00::1")),
    "alias.lab": Answer(alias="DB.lab."),
    "loop.lab": Answer(alias="loop.lab"),
    "many.lab": Answer(MANY),
    "broken.lab": Answer(outcome=Outcome.SERVFAIL),
    "closed.lab": Answer(outcome=Outcome.REFUSED),
    "silent.lab": Answer(outcome=Outcome.DROP),
}


def look_up(name: str, address: str) -> Answer:
    if name == "view.lab":
        return Answer((address,))
    return RECORDS.get(name, NXDOMAIN)


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    server = NameServer(look_up, port=0)
    await server.listen(HERE)
    await server.listen(ELSEWHERE)
    yield server
    await server.aclose()


async def ask(
    server: NameServer, name: str, kind: str = "A", *, where: str = HERE, tcp: bool = False, timeout: float = 2.0
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=False)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, where, timeout=timeout, port=server.port)


def values(message: dns.message.Message) -> list[str]:
    return sorted(rdata.to_text() for rrset in message.answer for rdata in rrset)


@pytest.mark.parametrize("tcp", [False, True])
async def test_answers_by_type_over_both_transports(server: NameServer, tcp: bool) -> None:
    assert values(await ask(server, "db.lab", tcp=tcp)) == ["10.1.2.3", "10.1.2.4"]
    assert values(await ask(server, "DB.Lab", "AAAA", tcp=tcp)) == ["fd00::1"]
    assert values(await ask(server, "db.lab", "MX", tcp=tcp)) == []


async def test_follows_an_alias(server: NameServer) -> None:
    assert values(await ask(server, "alias.lab")) == ["10.1.2.3", "10.1.2.4", "DB.lab."]


async def test_an_alias_of_itself_ends(server: NameServer) -> None:
    assert (await ask(server, "loop.lab", tcp=True)).rcode() == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("name", "rcode"),
    [("none.lab", dns.rcode.NXDOMAIN), ("broken.lab", dns.rcode.SERVFAIL), ("closed.lab", dns.rcode.REFUSED)],
)
async def test_failures_have_their_code(server: NameServer, name: str, rcode: dns.rcode.Rcode) -> None:
    assert (await ask(server, name)).rcode() == rcode


async def test_a_dropped_query_is_never_answered(server: NameServer) -> None:
    with pytest.raises(dns.exception.Timeout):
        await ask(server, "silent.lab", timeout=0.1)


async def test_too_much_for_a_datagram_comes_over_tcp(server: NameServer) -> None:
    assert (await ask(server, "many.lab")).flags & dns.flags.TC
    assert len(values(await ask(server, "many.lab", tcp=True))) == len(MANY)


async def test_each_address_has_its_own_view(server: NameServer) -> None:
    assert values(await ask(server, "view.lab")) == [HERE]
    assert values(await ask(server, "view.lab", where=ELSEWHERE)) == [ELSEWHERE]


async def test_a_closed_address_is_refused_and_the_other_answers(server: NameServer) -> None:
    server.close(ELSEWHERE)
    with pytest.raises(ConnectionRefusedError):
        await ask(server, "db.lab", where=ELSEWHERE, tcp=True)
    assert values(await ask(server, "db.lab"))

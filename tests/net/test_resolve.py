"""Names, asked of a real name server: each failure with its cause."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.nameservers import answering_over_tcp, deaf_to_aaaa, slow
from tests.support.sockets import free_port
from toolbox.lab.dns import NXDOMAIN, Answer, NameServer, Outcome
from toolbox.model.result import Cause
from toolbox.net.resolve import MAX_ADDRESSES, Resolution, resolve
from toolbox.net.resolver import Resolver, Server

RECORDS = {
    "db.lab": Answer(("10.1.2.3", "fd00::1")),
    "alias.lab": Answer(alias="db.lab"),
    "dangling.lab": Answer(alias="gone.lab"),
    "loop.lab": Answer(alias="loop.lab"),
    "empty.lab": Answer(),
    "broken.lab": Answer(outcome=Outcome.SERVFAIL),
    "closed.lab": Answer(outcome=Outcome.REFUSED),
    "silent.lab": Answer(outcome=Outcome.DROP),
    "many.lab": Answer(tuple(f"10.0.{n // 250}.{n % 250}" for n in range(300))),
    "broken.search.lab": Answer(outcome=Outcome.SERVFAIL),
}

DEAD_PORT = free_port()


def look_up(name: str, address: str) -> Answer:
    return RECORDS.get(name, NXDOMAIN)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = NameServer(look_up, port=0)
    await server.listen("127.0.0.1")
    yield Server("127.0.0.1", server.port)
    await server.aclose()


def cause_of(resolution: Resolution) -> Cause | None:
    return resolution.fault.cause if resolution.fault else None


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("db.lab", None),
        ("alias.lab", None),
        ("none.lab", Cause.DNS_NXDOMAIN),
        ("dangling.lab", Cause.DNS_NXDOMAIN),
        ("empty.lab", Cause.DNS_NO_ADDRESS),
        ("broken.lab", Cause.DNS_SERVFAIL),
        ("loop.lab", Cause.DNS_SERVFAIL),
        ("closed.lab", Cause.DNS_REFUSED),
        ("silent.lab", Cause.DNS_TIMEOUT),
        ("a..lab", Cause.DNS_NXDOMAIN),
        ("x" * 64 + ".lab", Cause.DNS_NXDOMAIN),
    ],
)
async def test_each_failure_has_its_cause(server: Server, name: str, cause: Cause | None) -> None:
    resolution = await resolve(name, Resolver((server,)), timeout=0.4)
    assert cause_of(resolution) is cause
    assert bool(resolution.addresses) is (cause is None)
    assert resolution.seconds < 2


async def test_both_families_are_asked_and_ipv4_comes_first(server: Server) -> None:
    resolution = await resolve("db.lab", Resolver((server,)), timeout=2)
    assert resolution.addresses == ("10.1.2.3", "fd00::1")
    assert resolution.source == str(server)
    assert resolution.seconds > 0


async def test_a_cut_answer_is_asked_for_over_tcp_and_bounded(server: Server) -> None:
    resolution = await resolve("many.lab", Resolver((server,)), timeout=2)
    assert len(resolution.addresses) == MAX_ADDRESSES


@pytest.mark.parametrize("flags", [0x0000, 0x8800])  # a question; an answer of another kind
async def test_an_answer_to_another_question_over_tcp_is_no_answer(flags: int) -> None:
    async with answering_over_tcp(flags) as server:
        resolution = await resolve("db.lab", Resolver((server,), attempts=1), timeout=1)
    assert cause_of(resolution) is Cause.DNS_SERVFAIL


async def test_nothing_listening_at_the_name_server_is_a_refusal() -> None:
    dead = Server("127.0.0.1", free_port())
    resolution = await resolve("db.lab", Resolver((dead,), attempts=1), timeout=2)
    assert cause_of(resolution) is Cause.DNS_REFUSED
    assert str(dead) in (resolution.fault.text if resolution.fault else "")


async def test_the_second_server_answers_for_a_dead_one(server: Server) -> None:
    resolution = await resolve("db.lab", Resolver((Server("127.0.0.1", free_port()), server)), timeout=2)
    assert resolution.addresses == ("10.1.2.3", "fd00::1")


async def test_a_server_that_drops_half_of_the_queries_is_told_beside_the_addresses(server: Server) -> None:
    async with deaf_to_aaaa(server) as half:
        resolution = await resolve("db.lab", Resolver((half,)), timeout=0.4)
    assert resolution.addresses == ("10.1.2.3",)
    assert cause_of(resolution) is Cause.DNS_TIMEOUT
    assert "AAAA" in (resolution.fault.text if resolution.fault else "")


async def test_a_server_that_needs_most_of_the_time_is_heard(server: Server) -> None:
    async with slow(server, 0.8) as late:
        # With two attempts each has half of the time, but the first may still be answered in the second half.
        resolution = await resolve("db.lab", Resolver((late,), attempts=2), timeout=1.2)
        beside_a_dead_one = Resolver((late, Server("127.0.0.1", DEAD_PORT)), attempts=1)
        assert (await resolve("db.lab", beside_a_dead_one, timeout=1.2)).addresses == resolution.addresses
    assert (resolution.addresses, resolution.fault) == (("10.1.2.3", "fd00::1"), None)


async def test_a_second_server_is_asked_while_the_first_is_still_silent(server: Server) -> None:
    async with slow(server, 30) as silent:
        resolution = await resolve("db.lab", Resolver((silent, server), attempts=1), timeout=1)
    assert (resolution.addresses, resolution.source) == (("10.1.2.3", "fd00::1"), str(server))


async def test_search_domains_complete_a_short_name(server: Server) -> None:
    resolver = Resolver((server,), search=("else.lab", "lab"))
    assert (await resolve("db", resolver, timeout=2)).addresses == ("10.1.2.3", "fd00::1")
    assert cause_of(await resolve("db.", resolver, timeout=2)) is Cause.DNS_NXDOMAIN


async def test_trouble_in_a_search_domain_is_not_hidden_by_nxdomain(server: Server) -> None:
    resolution = await resolve("broken", Resolver((server,), search=("search.lab",)), timeout=2)
    assert cause_of(resolution) is Cause.DNS_SERVFAIL


async def test_the_hosts_file_comes_before_any_server(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.1.2.3 db.lab DB-Alias # database\n::1 db.lab\n# 10.0.0.1 none.lab\n")
    resolver = Resolver((Server("127.0.0.1", free_port()),), attempts=1, hosts=hosts)
    resolution = await resolve("Db.Lab.", resolver, timeout=2)
    assert (resolution.addresses, resolution.source) == (("127.1.2.3", "::1"), "hosts")
    assert (await resolve("db-alias", resolver, timeout=2)).addresses == ("127.1.2.3",)
    assert cause_of(await resolve("none.lab", resolver, timeout=2)) is Cause.DNS_REFUSED


async def test_a_line_of_the_hosts_file_without_an_address_is_passed_over_and_all_are_bounded(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("db.example db.lab\n" + "".join(f"127.0.1.{n} db.lab\n" for n in range(200)))
    resolution = await resolve("db.lab", Resolver((Server("127.0.0.1", DEAD_PORT),), hosts=hosts), timeout=2)
    assert resolution.addresses == tuple(f"127.0.1.{n}" for n in range(MAX_ADDRESSES))


@pytest.mark.parametrize(("name", "address"), [("10.0.0.7", "10.0.0.7"), ("[::1]", "::1"), ("localhost", "127.0.0.1")])
async def test_an_address_needs_no_server(name: str, address: str) -> None:
    resolver = Resolver((Server("127.0.0.1", free_port()),))
    resolution = await resolve(name, resolver, timeout=2)
    assert (resolution.addresses, resolution.source, resolution.fault) == ((address,), "literal", None)


@given(st.text(max_size=80))
@settings(max_examples=200)
def test_no_name_raises(name: str) -> None:
    dead = Resolver((Server("127.0.0.1", DEAD_PORT),), attempts=1)
    resolution = asyncio.run(resolve(name, dead, timeout=1))
    assert bool(resolution.addresses) is (resolution.fault is None)

"""Which name servers are asked: resolv.conf(5) and one's own choice."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.errors import UsageError
from toolbox.net.resolver import Resolver, Server, find_resolver, parse


def test_resolv_conf_is_read_as_libc_reads_it() -> None:
    lines = """
        # comment
        nameserver 10.0.0.2   ; the VPC's
        nameserver not-an-address
        nameserver fd00::2
        nameserver 10.0.0.3
        nameserver 10.0.0.4
        domain first.internal
        search eu-central-1.compute.internal. lab
        options ndots:5 timeout:1 attempts:9 rotate edns0 ndots:x
    """.splitlines()
    assert parse(lines) == Resolver(
        servers=(Server("10.0.0.2"), Server("fd00::2"), Server("10.0.0.3")),
        search=("eu-central-1.compute.internal", "lab"),
        ndots=5,
        timeout=1.0,
        attempts=5,
    )


def test_without_a_resolv_conf_the_local_server_is_asked(tmp_path: Path) -> None:
    resolver = find_resolver(None, {}, resolv_conf=tmp_path / "none", hosts=tmp_path / "hosts")
    assert resolver == Resolver((Server("127.0.0.1"),), hosts=tmp_path / "hosts")


@given(st.lists(st.text(max_size=60), max_size=20))
def test_no_line_of_a_resolv_conf_breaks_it(lines: list[str]) -> None:
    resolver = parse(lines)
    assert 1 <= len(resolver.servers) <= 3
    assert resolver.timeout >= 1


@pytest.mark.parametrize(
    ("choice", "server", "text"),
    [
        ("10.0.0.2", Server("10.0.0.2"), "10.0.0.2:53"),
        ("127.0.0.1:5353", Server("127.0.0.1", 5353), "127.0.0.1:5353"),
        ("::1", Server("::1"), "[::1]:53"),
        ("[::1]:5353", Server("::1", 5353), "[::1]:5353"),
    ],
)
def test_a_chosen_server_is_asked_alone(choice: str, server: Server, text: str) -> None:
    by_option = find_resolver(choice, {"TOOLBOX_RESOLVER": "10.9.9.9"})
    assert by_option == Resolver((server,))
    assert find_resolver(None, {"TOOLBOX_RESOLVER": choice}) == by_option
    assert str(server) == text


@pytest.mark.parametrize("choice", ["dns.example", "10.0.0.2:0", "10.0.0.2:65536", "10.0.0.2:x", "[::1", "1:2:3"])
def test_a_choice_that_is_no_address_is_a_usage_error(choice: str) -> None:
    with pytest.raises(UsageError, match="--resolver is not the address"):
        find_resolver(choice, {})


@pytest.mark.parametrize(
    ("name", "ndots", "order"),
    [
        ("db", 1, ["db.a", "db.b", "db"]),
        ("db.lab", 1, ["db.lab", "db.lab.a", "db.lab.b"]),
        ("db.lab", 2, ["db.lab.a", "db.lab.b", "db.lab"]),
        ("db.lab.", 5, ["db.lab"]),
    ],
)
def test_search_order_follows_ndots(name: str, ndots: int, order: list[str]) -> None:
    assert list(Resolver((Server("127.0.0.1"),), search=("a", "b"), ndots=ndots).candidates(name)) == order

"""Real sockets that accept, refuse, stay silent, or are nowhere: each with its cause."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from tests.support.sockets import answering, black_hole, free_port
from toolbox.model.result import Cause
from toolbox.net.connect import Attempt, connect, fault_of, verdict
from toolbox.net.fault import Fault
from toolbox.net.reach import reach
from toolbox.net.resolver import Resolver, Server

LOCAL = Resolver((Server("127.0.0.1", 9),))


def cause_of(attempts: tuple[Attempt, ...]) -> Cause | None:
    fault = verdict(attempts)
    return fault.cause if fault else None


def open_files() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


async def test_an_open_port_accepts() -> None:
    with answering(b"") as port:
        attempts = await connect(["127.0.0.1"], port, timeout=2)
    assert cause_of(attempts) is None
    assert 0 < attempts[0].seconds < 1


async def test_a_closed_port_refuses() -> None:
    attempts = await connect(["127.0.0.1"], free_port(), timeout=2)
    assert cause_of(attempts) is Cause.TCP_REFUSED


async def test_a_full_backlog_times_out() -> None:
    with black_hole() as port:
        attempts = await connect(["127.0.0.1"], port, timeout=0.2)
    assert cause_of(attempts) is Cause.TCP_TIMEOUT
    assert attempts[0].seconds == pytest.approx(0.2, abs=0.15)


async def test_no_way_is_unreachable() -> None:
    # 255.255.255.255 needs no network to be impossible: TCP has no broadcast.
    attempts = await connect(["255.255.255.255"], 5432, timeout=2)
    assert cause_of(attempts) is Cause.TCP_UNREACHABLE


async def test_one_dead_address_of_two_is_named() -> None:
    with answering(b"", "127.0.0.1") as port:
        found = await connect(["127.0.0.2", "127.0.0.1"], port, timeout=2)
    assert cause_of(found) is Cause.TCP_PARTIAL
    fault = verdict(found)
    assert fault is not None
    assert "127.0.0.2" in fault.text


async def test_all_addresses_are_tried_at_the_same_time() -> None:
    with black_hole() as port:
        start = time.monotonic()
        attempts = await connect(["127.0.0.1"] * 5, port, timeout=0.3)
        assert time.monotonic() - start < 1.0
    assert len(attempts) == 5


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ECONNRESET, Cause.TCP_RESET),
        (errno.EPIPE, Cause.TCP_RESET),
        (errno.EHOSTUNREACH, Cause.TCP_UNREACHABLE),
        (errno.ENETUNREACH, Cause.TCP_UNREACHABLE),
        (errno.EACCES, Cause.TCP_UNREACHABLE),
        (errno.ETIMEDOUT, Cause.TCP_TIMEOUT),
    ],
)
def test_error_numbers_have_causes(number: int, cause: Cause) -> None:
    assert fault_of(OSError(number, os.strerror(number))).cause is cause


def test_an_ipv6_address_where_there_is_no_ipv6_is_no_fault_beside_ipv4() -> None:
    unreachable = Fault(Cause.TCP_UNREACHABLE, "Network is unreachable")
    foreign = Attempt("fd00::1", 5432, 0.0, unreachable, foreign=True)
    assert verdict([Attempt("10.0.0.1", 5432, 0.1), foreign]) is None
    assert verdict([foreign]) == unreachable


async def test_reach_stops_at_the_name() -> None:
    dead = Resolver((Server("127.0.0.1", free_port()),), attempts=1)
    reached = await reach("db.lab", 5432, dead, timeout=1)
    assert reached.fault is not None
    assert reached.fault.cause is Cause.DNS_REFUSED
    assert [phase.name for phase in reached.phases] == ["dns"]
    assert reached.open_addresses == ()


async def test_reach_names_the_address_that_accepts() -> None:
    with answering(b"") as port:
        reached = await reach("localhost", port, LOCAL, timeout=2)
    assert (reached.fault, reached.open_addresses) == (None, ("127.0.0.1",))
    assert [phase.name for phase in reached.phases] == ["dns", "tcp"]


async def test_cancelling_leaves_no_socket() -> None:
    with black_hole() as port:
        before = open_files()
        task = asyncio.create_task(connect(["127.0.0.1"], port, timeout=60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_files() == before

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from toolbox.lab.gate import Gate, Passage

_HERE = "127.9.1.1"


@asynccontextmanager
async def _echo() -> AsyncIterator[tuple[str, int]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.9.1.2", 0)
    async with server:
        name: tuple[str, int] = server.sockets[0].getsockname()
        yield name


@asynccontextmanager
async def _gate(server: tuple[str, int]) -> AsyncIterator[Gate]:
    with socket.socket() as free:
        free.bind((_HERE, 0))
        listen: tuple[str, int] = free.getsockname()
    gate = Gate(listen, server)
    try:
        yield gate
    finally:
        await gate.aclose()


async def _round_trip(gate: Gate, message: bytes) -> bytes:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*gate.listen), 5)
    writer.write(message)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def _times_out(gate: Gate, seconds: float = 0.3) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(*gate.listen), seconds)
    except TimeoutError:
        return True
    writer.close()
    return False


async def test_open_carries_bytes_both_ways_and_the_end_of_each() -> None:
    async with _echo() as server, _gate(server) as gate:
        gate.set(Passage.OPEN)
        message = bytes(range(256)) * 20_000
        assert await _round_trip(gate, message) == message


async def test_silent_is_a_timeout_for_every_one_who_asks() -> None:
    async with _echo() as server, _gate(server) as gate:
        gate.set(Passage.SILENT)
        assert all(await asyncio.gather(*(_times_out(gate) for _ in range(8))))


async def test_refused_is_a_refusal_at_once() -> None:
    async with _echo() as server, _gate(server) as gate:
        for before in (Passage.OPEN, Passage.SILENT):
            gate.set(before)
            gate.set(Passage.REFUSED)
            began = time.monotonic()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*gate.listen)
            assert time.monotonic() - began < 0.5


async def test_every_change_takes_hold_and_a_waiting_client_gets_through_when_it_opens() -> None:
    async with _echo() as server, _gate(server) as gate:
        for passage in (Passage.SILENT, Passage.OPEN, Passage.SILENT, Passage.REFUSED, Passage.SILENT):
            gate.set(passage)
        waiting = asyncio.create_task(_round_trip(gate, b"patience"))
        assert await _times_out(gate)
        gate.set(Passage.OPEN)
        assert await waiting == b"patience"  # its next SYN, a second later


async def test_an_open_connection_survives_the_rule_that_admitted_it() -> None:
    async with _echo() as server, _gate(server) as gate:
        gate.set(Passage.OPEN)
        reader, writer = await asyncio.open_connection(*gate.listen)
        gate.set(Passage.SILENT)
        writer.write(b"still here")
        assert await asyncio.wait_for(reader.readexactly(10), 5) == b"still here"
        assert await _times_out(gate)
        writer.close()


async def test_the_server_never_sees_what_made_the_silence() -> None:
    seen = 0

    async def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.close()

    async with (
        await asyncio.start_server(count, "127.9.1.3", 0) as server,
        _gate(server.sockets[0].getsockname()) as gate,
    ):
        gate.set(Passage.SILENT)
        gate.set(Passage.OPEN)
        assert await _round_trip(gate, b"") == b""
        assert seen == 1


async def test_a_server_that_is_not_there_resets_the_client() -> None:
    async with _gate(("127.9.1.4", 9)) as gate:
        gate.set(Passage.OPEN)
        reader, writer = await asyncio.open_connection(*gate.listen)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), 5)
        writer.close()

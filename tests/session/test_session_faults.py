"""What goes wrong under a session, and what is left of it on the far side."""

import asyncio
import hashlib
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve

from tests.support.execserver import RELAY, ExecServer, exec_server
from tests.support.farstdio import MemoryStdio
from tests.support.nearside import near_side
from tests.support.passage import passage
from tests.support.processes import alive
from tests.support.waiting import until
from toolbox.errors import SessionError
from toolbox.lab.agentsession import AgentSettings
from toolbox.session import frames, remote
from toolbox.session.access import Dropped, Resumed, SessionEvent, Settings, Silent, Ticket
from toolbox.session.failures import (
    ChannelFailed,
    RelayGarbled,
    RelayMissing,
    SessionClosed,
    SessionLost,
    SessionRefused,
)
from toolbox.session.remote import Command, FarSide

QUICK = Settings(patience=1.0, heartbeat=0.2, silent_after=0.3)


def connected(
    server: ExecServer,
    command: str = RELAY,
    *,
    deadline: float = 10,
    on_event: Callable[[SessionEvent], None] = lambda event: None,
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> AbstractAsyncContextManager[FarSide]:
    """A new session on `server`."""
    return remote.connect(
        server.ticket(command), server.gateway, deadline=deadline, on_event=on_event, settings=settings
    )


async def run_for_ever(far: FarSide) -> int:
    return await far.run(Command(("sleep 100",), False), MemoryStdio(more=True))


async def pids(stdio: MemoryStdio, count: int) -> list[int]:
    """The process ids that a command prints, one a line."""
    await until(lambda: stdio.out.count(b"\n") >= count, what="process ids")
    return [int(word) for word in stdio.out.split()]


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_two_cuts_in_a_megabyte_lose_nothing(tmp_path: Path, direction: str) -> None:
    data = random.Random(7).randbytes(1024 * 1024)
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(data)
    copy.touch()
    events: list[SessionEvent] = []
    async with exec_server(tmp_path) as server, connected(server, on_event=events.append) as far:
        stdio = MemoryStdio(data if direction == "in" else b"")
        text = f"tee {copy} | wc -c" if direction == "in" else f"cat {source}"
        running = asyncio.create_task(far.run(Command((text,), False), stdio))
        for cut, part in enumerate((0.3, 0.6), start=1):
            await until(partial(_beyond, int(part * len(data)), copy, stdio), what="progress")
            server.cut()
            await until(partial(_resumed, cut, events), what="a new socket")
        assert await running == 0
    got = copy.read_bytes() if direction == "in" else bytes(stdio.out)
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    assert [type(event) for event in events] == [Dropped, Resumed, Dropped, Resumed]
    assert server.opened == 3


def _beyond(count: int, copy: Path, stdio: MemoryStdio) -> bool:
    return max(copy.stat().st_size, len(stdio.out)) > count


def _resumed(times: int, events: list[SessionEvent]) -> bool:
    return sum(isinstance(event, Resumed) for event in events) == times


async def test_a_cut_while_nothing_happens_is_resumed(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server, connected(server) as far:
        server.cut()
        stdio = MemoryStdio()
        assert await far.run(Command(("echo back",), False), stdio) == 0
        assert stdio.out == b"back\n"


async def test_a_connection_that_freezes_is_noticed_and_resumed(tmp_path: Path) -> None:
    """A laptop that slept, a firewall that forgot us: no packet says that the connection is dead."""
    events: list[SessionEvent] = []
    settings = Settings(ping_every=0.2, ping_timeout=0.3)
    async with exec_server(tmp_path) as server:
        ticket = server.ticket()
        async with passage(urlsplit(ticket.stream_url).port or 0) as way:
            url = urlsplit(ticket.stream_url)._replace(netloc=f"127.0.0.1:{way.port}").geturl()
            async with remote.connect(
                replace(ticket, stream_url=url), server.gateway, deadline=10, on_event=events.append, settings=settings
            ) as far:
                way.freeze()
                stdio = MemoryStdio(b"still there")
                assert await far.run(Command(("cat",), False), stdio) == 0
                assert stdio.out == b"still there"
    assert [type(event) for event in events if not isinstance(event, Silent)] == [Dropped, Resumed]


async def test_a_session_that_is_gone_after_a_cut_is_lost(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server, connected(server) as far:
        running = asyncio.create_task(run_for_ever(far))
        server.agent.task_stopped("task")
        server.cut()
        with pytest.raises(SessionLost):
            await running


async def test_a_stopped_task_is_noticed_and_then_lost(tmp_path: Path) -> None:
    """As on AWS nothing is said: the websocket stays open and silent."""
    events: list[SessionEvent] = []
    async with exec_server(tmp_path) as server, connected(server, on_event=events.append, settings=QUICK) as far:
        running = asyncio.create_task(run_for_ever(far))
        began = time.monotonic()
        server.agent.task_stopped("task")
        with pytest.raises(SessionLost):
            await running
    assert [type(event) for event in events] == [Silent]
    assert time.monotonic() - began < 5


async def test_terminating_closes_the_session_and_leaves_no_process(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        ticket = server.ticket()
        stdio = MemoryStdio(more=True)
        async with remote.connect(ticket, server.gateway, deadline=10) as far:
            text = "trap '' HUP TERM; echo $$; sleep 100 & echo $!; wait"
            running = asyncio.create_task(far.run(Command((text,), False), stdio))
            started = await pids(stdio, 2)
            server.agent.terminate(ticket.session_id)
            with pytest.raises(SessionClosed):
                await running
        await until(lambda: not any(map(alive, started)), 10, "the guard ends what the relay left")


@pytest.mark.parametrize("pty", [False, True])
async def test_a_client_that_was_killed_is_cleaned_up_after(tmp_path: Path, pty: bool) -> None:
    async with exec_server(tmp_path) as server:
        text = f"cd {tmp_path}; trap '' HUP; echo $$ >pids; sleep 100 & echo $! >>pids; touch ready; wait"
        client = await near_side(server.ticket(f"{RELAY} --silence 1"), Command((text,), pty), heartbeat=0.2)
        await until((tmp_path / "ready").exists, what="the command")
        started = [int(word) for word in (tmp_path / "pids").read_text().split()]
        await outlives(1.5, started)
        client.kill()
        await client.wait()
        await until(lambda: not any(map(alive, started)), 10, "silence ends the children")
        relay = server.spawner.processes[0].pid
        await until(lambda: not alive(relay), 10, "and the relay")


async def outlives(seconds: float, processes: list[int]) -> None:
    """Heartbeats keep the processes alive beyond the silence that would end them."""
    deadline = time.monotonic() + seconds
    await until(lambda: time.monotonic() > deadline or not all(map(alive, processes)))
    assert all(map(alive, processes))


async def test_closing_ends_what_still_runs(tmp_path: Path) -> None:
    stdio = MemoryStdio(more=True)
    async with exec_server(tmp_path) as server:
        async with connected(server) as far:
            running = asyncio.create_task(far.run(Command(("echo $$; sleep 100",), False), stdio))
            started = await pids(stdio, 1)
            running.cancel()
        await until(lambda: not any(map(alive, started)), 10, "the guard ends it")


async def fails(server: ExecServer, command: str, deadline: float = 10) -> SessionError:
    """The error with which a session does not come up."""
    with pytest.raises(SessionError) as caught:
        await connected(server, command, deadline=deadline).__aenter__()
    return caught.value


async def test_an_image_without_our_relay(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        error = await fails(server, "toolbox-of-another-image relay")
    assert (type(error), error.cause) == (RelayMissing, "relay-missing")
    assert any("executable file not found in $PATH" in line for line in error.detail)


async def test_a_relay_that_ends_at_once(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        error = await fails(server, f"{sys.executable} -m no_such_module")
    assert isinstance(error, RelayMissing)
    assert any("no_such_module" in line for line in error.detail)


async def test_a_relay_that_says_nothing(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        assert isinstance(await fails(server, "sleep 100", deadline=0.5), RelayMissing)


async def test_something_else_than_our_relay_is_shown_but_not_to_the_terminal(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        command = "sh -c 'printf \"\\\\033]0;x\\\\007hello\"; sleep 100'"
        error = await fails(server, command, deadline=0.5)
    assert isinstance(error, RelayGarbled)
    assert "\\x1b]0;x\\x07hello" in error.sentence


@pytest.mark.parametrize("rubbish", ["zzzzzzzzz", "\\357\\277aaaaaaaaaaa"])
async def test_a_relay_that_talks_rubbish_after_its_marker(tmp_path: Path, rubbish: str) -> None:
    marker = frames.MARKER.decode().strip()
    async with exec_server(tmp_path) as server:
        error = await fails(server, f"sh -c 'stty raw; printf \"{marker}\\n{rubbish}\"; sleep 100'")
    assert error.cause == "relay-garbled"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\xff\0\0",  # a kind that there is not
        b"\0\1\6\xff\xff",  # too long
        b"\0\1\5\0\4nope",  # an opening that is no JSON
        frames.encode(frames.Frame(1, frames.Kind.OPEN, b'{"kind":"command","words":[1],"pty":false}')),
        frames.encode(frames.Frame(1, frames.Kind.OPEN, b'{"kind":"delivery","size":-1,"sha256":""}')),
        frames.encode(frames.Frame(0, frames.Kind.EXIT)),
    ],
)
async def test_garbled_frames_end_the_relay_with_a_word(tmp_path: Path, garbage: bytes) -> None:
    async with exec_server(tmp_path) as server:
        async with connected(server) as far:
            running = asyncio.create_task(run_for_ever(far))
            await far._wire.send(garbage)
            with pytest.raises(RelayGarbled, match="gave up"):
                await running
        await until(lambda: not alive(server.spawner.processes[0].pid), 5)


async def test_a_channel_that_the_relay_does_not_know(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server, connected(server) as far:
        async with far._channel({"kind": "teleport"}) as channel:
            with pytest.raises(ChannelFailed, match="teleport"):
                await anext(channel.output())
        assert await far.run(Command(("exit 6",), False), MemoryStdio()) == 6


async def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        right = server.ticket()
        server.gateway.expired = True
        with pytest.raises(SessionLost):
            async with remote.connect(Ticket(right.session_id, right.stream_url, "wrong"), server.gateway, deadline=5):
                pass
        assert not server.spawner.processes


async def test_a_server_that_hangs_up_at_once_every_time(tmp_path: Path) -> None:
    async def hang_up(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close()

    async with exec_server(tmp_path) as server, serve(hang_up, "127.0.0.1", 0) as rude:
        port = next(iter(rude.sockets)).getsockname()[1]
        ticket = replace(server.ticket(), stream_url=f"ws://127.0.0.1:{port}/x")
        with pytest.raises(SessionLost, match="again and again"):
            await remote.connect(ticket, server.gateway, deadline=20).__aenter__()


async def test_an_unencrypted_address_elsewhere_is_refused(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        with pytest.raises(SessionRefused, match="not encrypted"):
            async with remote.connect(Ticket("s", "ws://192.0.2.1/x", "t"), server.gateway, deadline=5):
                pass


async def test_nobody_listens(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server:
        ticket = server.ticket()
    with pytest.raises(SessionRefused):
        async with remote.connect(ticket, server.gateway, deadline=5):
            pass


@pytest.mark.parametrize("read_bytes", [1, 7, 1024])
async def test_an_agent_without_handshake_that_reads_in_odd_pieces(tmp_path: Path, read_bytes: int) -> None:
    data = ("\ufffd€" * 300).encode()
    (tmp_path / "data").write_bytes(data)
    settings = AgentSettings(handshake=False, read_bytes=read_bytes)
    async with exec_server(tmp_path, settings) as server, connected(server) as far:
        stdio = MemoryStdio()
        assert await far.run(Command((f"cat {tmp_path}/data",), False), stdio) == 0
        assert stdio.out == data


async def test_output_that_nobody_takes_does_not_hold_up_another_command(tmp_path: Path) -> None:
    async with exec_server(tmp_path) as server, connected(server) as far:
        blocked = BlockedStdio()
        endless = asyncio.create_task(far.run(Command(("cat /dev/zero",), False), blocked))
        await blocked.full.wait()
        seconds = []
        for _ in range(20):
            began = time.monotonic()
            assert await far.run(Command(("exit 8",), False), MemoryStdio()) == 8
            seconds.append(time.monotonic() - began)
        assert sorted(seconds)[10] < 0.5
        endless.cancel()


class BlockedStdio(MemoryStdio):
    """A near side that never takes what it is given."""

    def __init__(self) -> None:
        super().__init__(more=True)
        self.full = asyncio.Event()

    async def write(self, data: bytes, *, error: bool) -> None:
        self.full.set()
        await asyncio.Event().wait()

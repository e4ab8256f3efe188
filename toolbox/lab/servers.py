"""PostgreSQL and Redis as parts of a lab: they open their gates when they run and close them when they do not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from toolbox.lab.postgres import Postgres
from toolbox.lab.valkey import Valkey

POSTGRES: Final = "postgres"
REDIS: Final = "redis"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Server:
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    ended: Callable[[], Awaitable[object]]
    running: Callable[[], bool]


class Servers:
    """Both servers. `changed` hears of each that has started or ended, by order or by itself."""

    def __init__(self, postgres: Postgres, valkey: Valkey, changed: Callable[[str, bool], None]) -> None:
        self._servers: Mapping[str, _Server] = {
            POSTGRES: _Server(postgres.start, postgres.stop, postgres.exited, lambda: postgres.running),
            REDIS: _Server(valkey.start, valkey.stop, valkey.wait, lambda: valkey.running),
        }
        self._changed = changed
        self._watchers: dict[str, asyncio.Task[None]] = {}

    def running(self) -> dict[str, bool]:
        """Whether each runs."""
        return {name: server.running() for name, server in self._servers.items()}

    async def start(self, name: str) -> None:
        """Start one; nothing when it runs. Raises LabError."""
        server = self._servers[name]
        await server.start()
        self._forget(name)
        self._changed(name, True)
        self._watchers[name] = asyncio.create_task(self._watch(name, server))

    async def stop(self, name: str) -> None:
        """Stop one and return once it is gone: from then on its address refuses."""
        self._forget(name)
        await self._servers[name].stop()
        self._changed(name, False)

    def close(self) -> None:
        """Watch them no more; whoever made them stops them."""
        for name in list(self._watchers):
            self._forget(name)

    async def _watch(self, name: str, server: _Server) -> None:
        await server.ended()
        log.warning("%s has ended by itself", name)
        self._changed(name, False)

    def _forget(self, name: str) -> None:
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.cancel()

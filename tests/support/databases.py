"""Real PostgreSQL servers for tests."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from tests.support.sockets import free_port
from toolbox.lab.postgres import Postgres, PostgresSettings


@contextlib.asynccontextmanager
async def database(directory: Path, settings: PostgresSettings | None = None) -> AsyncIterator[Postgres]:
    """A seeded server below `directory` on a free port, stopped at the end; `settings` for everything else."""
    wanted = settings or PostgresSettings(directory, 0)
    server = Postgres(replace(wanted, directory=directory / "postgres", port=free_port()))
    await server.start()
    try:
        yield server
    finally:
        await server.stop("immediate")

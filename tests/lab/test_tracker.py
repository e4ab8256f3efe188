"""The services' own program against real servers, by names that only the lab's resolver knows."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from tests.support.databases import database
from tests.support.sockets import free_port
from toolbox.lab.dns import NXDOMAIN, Answer, NameServer
from toolbox.lab.postgres import Role
from toolbox.lab.tracker.data import Data
from toolbox.lab.tracker.work import ROLES
from toolbox.lab.valkey import Valkey, ValkeySettings

_HERE = "127.0.0.1"


@asynccontextmanager
async def _surroundings(directory: Path) -> AsyncIterator[Mapping[str, str]]:
    names = NameServer(lambda name, _: Answer((_HERE,)) if name == "data.lab.internal" else NXDOMAIN, port=0)
    await names.listen(_HERE)
    valkey = Valkey(ValkeySettings(directory / "redis", _HERE, free_port(), {"tracker": ("s3cret", "~* &* +@all")}))
    await valkey.start()
    try:
        async with database(directory) as postgres:
            yield {
                "TOOLBOX_RESOLVER": f"{_HERE}:{names.port}",
                "SQLALCHEMY_DATABASE_URI": postgres.dsn(Role.OWNER, host="data.lab.internal").replace(
                    "postgresql:", "postgresql+asyncpg:"
                )
                + "?ssl=disable",
                "REDIS_URL": valkey.settings.url("tracker", "data.lab.internal"),
            }
    finally:
        await valkey.stop()
        await names.aclose()


async def test_it_works_by_the_resolver_that_the_environment_names(tmp_path: Path) -> None:
    async with _surroundings(tmp_path) as environ:
        with Data(environ) as data:
            assert "GET /positions 200" in await asyncio.to_thread(ROLES["api"], data)
            assert "refreshed" in await asyncio.to_thread(ROLES["materialized-view-service"], data)
            data.command("RPUSH", "queue:notifications", 1)
            assert await asyncio.to_thread(ROLES["notification-service"], data) == "delivered notification 1"


async def test_a_name_that_is_not_there_and_a_server_that_refuses_are_told_apart(tmp_path: Path) -> None:
    async with _surroundings(tmp_path) as environ:
        strange = {**environ, "REDIS_URL": "redis://nowhere.lab.internal:6379/0"}
        with Data(strange) as data, pytest.raises(OSError, match=r"Name or service not known: nowhere\.lab\.internal"):
            await asyncio.to_thread(data.command, "PING")
        refused = {**environ, "REDIS_URL": f"redis://data.lab.internal:{free_port()}/0"}
        with Data(refused) as data, pytest.raises(redis.ConnectionError, match="refused"):
            await asyncio.to_thread(data.command, "PING")
        wrong = environ["SQLALCHEMY_DATABASE_URI"].replace("/tracker?", "/elsewhere?")
        with Data({**environ, "SQLALCHEMY_DATABASE_URI": wrong}) as data, pytest.raises(psycopg.OperationalError):
            await asyncio.to_thread(data.query, "SELECT 1")


def test_a_service_that_needs_neither_database_nor_redis_loads_neither() -> None:
    work = "import sys; from toolbox.lab.tracker import __main__; from toolbox.lab.tracker.data import Data; " + (
        "from toolbox.lab.tracker.work import ROLES; ROLES['anisette'](Data({})); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", work], capture_output=True, check=True).stdout.split()
    assert not {b"psycopg", b"redis"} & set(loaded)


async def test_a_service_survives_what_its_database_says(tmp_path: Path) -> None:
    async with _surroundings(tmp_path) as environ:
        refused = {**environ, "SQLALCHEMY_DATABASE_URI": f"postgresql://me@data.lab.internal:{free_port()}/tracker"}
        with Data(refused) as data:
            with pytest.raises(psycopg.OperationalError) as caught:
                await asyncio.to_thread(ROLES["api"], data)
            assert isinstance(caught.value, data.unreachable)

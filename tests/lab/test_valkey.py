import asyncio
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions

from toolbox.errors import LabError
from toolbox.lab.valkey import Valkey, ValkeySettings


def _settings(directory: Path) -> ValkeySettings:
    users = {"tracker": ("s3cret", "~* &* +@all"), "reader": ("other", "~* +@read +ping")}
    return ValkeySettings(directory, "127.9.255.2", 16379, users)


async def test_it_serves_its_users_and_only_them(tmp_path: Path) -> None:
    server = Valkey(_settings(tmp_path))
    await server.start()
    try:
        async with redis.asyncio.from_url(server.settings.url("tracker")) as client:
            assert await client.rpush("queue", "job") == 1
        async with redis.asyncio.from_url(server.settings.url("reader")) as client:
            assert await client.llen("queue") == 1
            with pytest.raises(redis.exceptions.NoPermissionError):
                await client.rpush("queue", "job")
        async with redis.asyncio.from_url("redis://127.9.255.2:16379/0") as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.ping()
    finally:
        await server.stop()


async def test_stop_refuses_and_start_serves_again(tmp_path: Path) -> None:
    server = Valkey(_settings(tmp_path))
    await server.start()
    await server.stop()
    assert not server.running
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.9.255.2", 16379)
    await server.start()
    try:
        async with redis.asyncio.from_url(server.settings.url("tracker")) as client:
            assert await client.ping()
    finally:
        await server.stop()


async def test_a_taken_port_is_said_in_the_servers_own_words(tmp_path: Path) -> None:
    first, second = Valkey(_settings(tmp_path / "1")), Valkey(_settings(tmp_path / "2"))
    await first.start()
    try:
        with pytest.raises(LabError) as caught:
            await second.start()
        assert any("ddress already in use" in line for line in caught.value.detail)
        assert not second.running
    finally:
        await first.stop()


async def test_the_password_is_in_no_argument_and_no_representation(tmp_path: Path) -> None:
    server = Valkey(_settings(tmp_path))
    await server.start()
    try:
        assert "s3cret" not in repr(server.settings)
        assert (tmp_path / "valkey.conf").stat().st_mode & 0o077 == 0
    finally:
        await server.stop()

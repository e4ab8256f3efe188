"""Scripts reach the far side whole, take the place of what was there, and stay in their directory."""

import gzip
import hashlib
import io
import random
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.execserver import ExecServer, exec_server
from tests.support.farstdio import MemoryStdio
from toolbox.session import remote
from toolbox.session.failures import ChannelFailed
from toolbox.session.farside.delivery import MAX_ARCHIVE, DeliveryError, unpack
from toolbox.session.frames import Kind
from toolbox.session.remote import Command, FarSide


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ExecServer]:
    async with exec_server(tmp_path) as running:
        yield running


@pytest.fixture
async def far(server: ExecServer) -> AsyncIterator[FarSide]:
    async with remote.connect(server.ticket(), server.gateway, deadline=10) as connected:
        yield connected


def tar(files: dict[str, bytes], *, mode: int = 0o755) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        archive.addfile(member)
    return buffer.getvalue()


def holds(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


async def test_scripts_arrive_and_run(far: FarSide, server: ExecServer) -> None:
    archive = tar({"greet": b"#!/bin/sh\necho hello from $0\n", "lib/data.bin": bytes(range(256)) * 1000})
    delivery = await far.deliver(archive)
    assert delivery.files == ("greet", "lib/data.bin")
    assert delivery.sha256 == hashlib.sha256(archive).hexdigest()
    assert holds(server.scripts)["lib/data.bin"] == bytes(range(256)) * 1000
    stdio = MemoryStdio()
    assert await far.run(Command(("greet",), False), stdio) == 0
    assert stdio.out == f"hello from {server.scripts}/greet\n".encode()


async def test_a_second_delivery_replaces_the_first(far: FarSide, server: ExecServer) -> None:
    await far.deliver(tar({"old": b"1", "both/old": b"1"}))
    await far.deliver(gzip.compress(tar({"new": b"2", "both/new": b"2"})))
    assert holds(server.scripts) == {"new": b"2", "both/new": b"2"}
    assert sorted(entry.name for entry in server.scripts.iterdir()) == ["both", "new"]


async def test_many_files_are_listed_whole(far: FarSide) -> None:
    names = {f"{'directory' * 20}/{'name' * 30}-{n:05}.sh": b"x" for n in range(1000)}  # more than a channel's credit
    assert (await far.deliver(tar(names))).files == tuple(sorted(names))


async def test_five_megabytes_arrive_whole(far: FarSide, server: ExecServer) -> None:
    data = random.Random(5).randbytes(5 * 1024 * 1024)
    await far.deliver(tar({"big": data}))
    assert hashlib.sha256((server.scripts / "big").read_bytes()).digest() == hashlib.sha256(data).digest()


REFUSED = {
    "leads up": tar({"../outside": b"x"}),
    "absolute": tar({"/outside": b"x"}),
    "leads up later": tar({"a/../../outside": b"x"}),
    "symbolic link": special("link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": special("hard", tarfile.LNKTYPE, "/etc/passwd"),
    "pipe": special("fifo", tarfile.FIFOTYPE),
    "device": special("device", tarfile.CHRTYPE),
    "text": b"no archive at all, but long enough to be a block" * 20,
    "no gzip": b"\x1f\x8b no gzip",
    "half a gzip": gzip.compress(tar({"x": b"y"}))[:30],
    "good, then bad": tar({"good": b"1", "../outside": b"2"}),
}


@pytest.mark.parametrize("archive", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused_changes_nothing(far: FarSide, server: ExecServer, archive: bytes) -> None:
    await far.deliver(tar({"kept": b"1"}))
    with pytest.raises(ChannelFailed) as caught:
        await far.deliver(archive)
    assert caught.value.cause == "delivery-failed"
    assert holds(server.scripts) == {"kept": b"1"}
    assert not (server.scripts.parent / "outside").exists()
    assert await far.run(Command(("true",), False), MemoryStdio()) == 0


async def test_another_digest_is_refused(far: FarSide, server: ExecServer) -> None:
    archive = tar({"x": b"1"})
    async with far._channel({"kind": "delivery", "size": len(archive), "sha256": "0" * 64}) as channel:
        await channel.write(archive)
        await channel.send(Kind.EOF)
        with pytest.raises(ChannelFailed, match="sha256"):
            await anext(channel.output())
    assert not server.scripts.exists()


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="more than we take"):
        unpack(gzip.compress(bytes(MAX_ARCHIVE + 1)), tmp_path)


def test_only_the_executable_bit_is_taken_over(tmp_path: Path) -> None:
    unpack(tar({"x": b""}, mode=0o6777), tmp_path / "a")
    unpack(tar({"x": b""}, mode=0o600), tmp_path / "b")
    assert (tmp_path / "a/x").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "b/x").stat().st_mode & 0o7777 == 0o644


@settings(deadline=None)
@given(st.binary(max_size=600), st.integers(0, 1023), st.binary(min_size=1, max_size=8))
def test_garbage_raises_nothing_but_our_own_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, where: int, change: bytes
) -> None:
    good = tar({"name": b"content"})
    for archive in (data, good[:where] + change + good[where + len(change) :], b"\x1f\x8b" + data):
        directory = tmp_path_factory.mktemp("fuzz")
        try:
            unpack(archive, directory / "scripts")
        except DeliveryError:
            continue
        assert all(path.is_relative_to(directory) for path in directory.rglob("*"))

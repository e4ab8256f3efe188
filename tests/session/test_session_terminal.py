"""The near side on a real terminal: raw while it lasts, byte for byte as before afterwards."""

import asyncio
import fcntl
import hashlib
import os
import random
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.execserver import ExecServer, exec_server
from tests.support.nearside import near_side
from tests.support.processes import running
from tests.support.waiting import until
from toolbox.session.escapes import Escape, Escapes
from toolbox.session.failures import OutputFailed, SessionLeft
from toolbox.session.remote import Command
from toolbox.session.terminal import LocalStdio


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ([b"ls\r"], [b"ls\r"]),
        ([b"~."], [Escape.LEAVE]),
        ([b"ls\r~.x"], [b"ls\r", Escape.LEAVE]),
        ([b"ls\r", b"~", b"."], [b"ls\r", Escape.LEAVE]),
        ([b"~~."], [b"~."]),
        ([b"~?~."], [Escape.HELP, Escape.LEAVE]),
        ([b"~x"], [b"~x"]),
        ([b"a~."], [b"a~."]),
        ([b"a", b"~."], [b"a", b"~."]),
        ([b"cd ~/x\n~\r"], [b"cd ~/x\n~\r"]),
        ([b"~\r", b"~."], [b"~\r", Escape.LEAVE]),
        ([b""], []),
    ],
)
def test_escapes(typed: list[bytes], found: list[bytes | Escape]) -> None:
    escapes = Escapes()
    assert [item for piece in typed for item in escapes.feed(piece)] == found


@settings(deadline=None)
@given(st.lists(st.text("a~.?\r", max_size=6).map(str.encode), max_size=6))
def test_escapes_do_not_depend_on_how_the_keys_come(pieces: list[bytes]) -> None:
    def all_of(typed: list[bytes]) -> tuple[bytes, list[Escape]]:
        escapes, plain, actions = Escapes(), bytearray(), list[Escape]()
        for item in (item for piece in typed for item in escapes.feed(piece)):
            if isinstance(item, Escape):
                actions.append(item)
                if item is Escape.LEAVE:
                    break
            else:
                plain += item
        return bytes(plain), actions

    whole = b"".join(pieces)
    assert all_of(pieces) == all_of([whole]) == all_of([whole[n : n + 1] for n in range(len(whole))])


class Terminal:
    """A terminal whose screen and keyboard are this test's."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        attributes = termios.tcgetattr(self.slave)
        attributes[6][termios.VINTR] = b"\x07"  # settings that nobody would set by chance
        attributes[3] &= ~termios.ECHOKE
        termios.tcsetattr(self.slave, termios.TCSANOW, attributes)
        self.resize(101, 31)
        self.screen = bytearray()
        self.before = self.settings()
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def types(self, keys: bytes) -> None:
        """Type, no faster than the terminal takes it."""
        while keys:
            try:
                keys = keys[os.write(self.master, keys) :]
            except BlockingIOError:
                await asyncio.sleep(0.001)

    async def shows(self, text: bytes) -> None:
        await until(lambda: text in self.screen, 10, f"{text!r}")

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.master)
        os.close(self.slave)

    def _read(self) -> None:
        self.screen += os.read(self.master, 65536)


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ExecServer]:
    async with exec_server(tmp_path) as running:
        yield running


async def shell_on(terminal: Terminal, server: ExecServer) -> asyncio.subprocess.Process:
    """An interactive shell, once it has answered."""
    command = Command(None, True, {"TERM": "xterm-256color", "PS1": "$ "})
    client = await near_side(server.ticket(), command, raw=True, terminal=terminal.slave)
    await until(lambda: terminal.settings() != terminal.before, 10, "raw mode")
    await terminal.types(b"echo re''ady\r")
    await terminal.shows(b"ready\r\n")
    return client


async def test_a_shell_on_a_terminal_from_start_to_end(terminal: Terminal, server: ExecServer) -> None:
    client = await shell_on(terminal, server)
    await terminal.types(b"stty size\r")
    await terminal.shows(b"31 101\r\n")
    terminal.resize(77, 22)
    client.send_signal(signal.SIGWINCH)  # the kernel's, had the client this terminal as its controlling one
    await terminal.types(b"sleep 0.2; stty size\r")
    await terminal.shows(b"22 77\r\n")
    seconds = f"101.{os.getpid()}"
    await terminal.types(f"sleep {seconds}\r".encode())
    await until(lambda: running("sleep", seconds), 10, "sleep")  # before its exec, shells may swallow the signal
    await terminal.types(b"\x03")
    await terminal.types(b"echo al''ive\r")
    await terminal.shows(b"alive\r\n")
    await terminal.types(b"exit 7\r")
    assert await client.wait() == 7
    assert terminal.settings() == terminal.before


async def test_a_paste_of_64_kib_arrives_whole(terminal: Terminal, server: ExecServer, tmp_path: Path) -> None:
    numbers = random.Random(65)
    paste = b"".join(b"%063x\r" % numbers.getrandbits(252) for _ in range(1024))
    assert len(paste) == 64 * 1024
    client = await shell_on(terminal, server)
    await terminal.types(f"stty -echo; echo go''ing; cat >{tmp_path}/paste; sha256sum {tmp_path}/paste\r".encode())
    await terminal.shows(b"going\r\n")  # the line editor has let go of the far terminal
    await terminal.types(paste)
    await terminal.types(b"\x04")
    await terminal.shows(hashlib.sha256(paste.replace(b"\r", b"\n")).hexdigest().encode())
    await terminal.types(b"exit\r")
    assert await client.wait() == 0


async def test_leaving_by_tilde_and_dot(terminal: Terminal, server: ExecServer) -> None:
    client = await shell_on(terminal, server)
    await terminal.types(b"\r~?")
    await terminal.shows(b"Supported escape sequences")
    await terminal.types(b"~.")
    assert await client.wait() == 255
    await terminal.shows(b"<session-left>")
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("end", ["session-closed", "session-lost"])
async def test_a_session_that_ends_under_a_full_screen_program(
    terminal: Terminal, server: ExecServer, end: str
) -> None:
    client = await shell_on(terminal, server)
    await terminal.types(b"printf '\\033[?1049h'; echo fu''ll\r")
    await terminal.shows(b"full\r\n")
    endings: dict[str, Callable[[], None]] = {
        "session-closed": server.spawner.processes[0].hang_up,
        "session-lost": server.cut,  # its gateway resumes nothing
    }
    endings[end]()
    assert await client.wait() == 255
    await terminal.shows(f"<{end}>".encode())
    assert b"\x1b[?1049l" in terminal.screen
    assert terminal.settings() == terminal.before


async def test_a_cancelled_block_restores_the_terminal(terminal: Terminal) -> None:
    entered = asyncio.Event()

    async def use() -> None:
        async with LocalStdio(raw=True, stdin=terminal.slave, stdout=terminal.slave) as stdio:
            entered.set()
            await stdio.read()

    using = asyncio.create_task(use())
    await entered.wait()
    assert terminal.settings() != terminal.before
    assert os.get_blocking(terminal.slave)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert terminal.settings() == terminal.before


async def test_a_pipe_a_file_and_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"from a file")
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe")
    os.close(writing)
    for descriptor, text in (
        (os.open(tmp_path / "file", os.O_RDONLY), b"from a file"),
        (reading, b"from a pipe"),
        (os.open(os.devnull, os.O_RDONLY), b""),
    ):
        async with LocalStdio(raw=False, stdin=descriptor) as stdio:
            assert await stdio.read() == text
            assert await stdio.read() == b""
        os.close(descriptor)


async def test_a_tilde_in_a_pipe_is_just_a_tilde() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"~.")
    async with LocalStdio(raw=False, stdin=reading) as stdio:
        assert await stdio.read() == b"~."
    os.close(reading)
    os.close(writing)


async def test_a_closed_stdout_is_said(tmp_path: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    os.close(reading)
    async with LocalStdio(raw=False, stdin=nothing, stdout=writing) as stdio:
        with pytest.raises(BrokenPipeError):
            await stdio.write(b"x", error=False)
    os.close(writing)
    os.close(nothing)


async def test_a_full_disk_is_said() -> None:
    nothing, full = os.open(os.devnull, os.O_RDONLY), os.open("/dev/full", os.O_WRONLY)
    async with LocalStdio(raw=False, stdin=nothing, stdout=full) as stdio:
        with pytest.raises(OutputFailed, match="No space left on device"):
            await stdio.write(b"x", error=False)
    for descriptor in (nothing, full):
        os.close(descriptor)


async def test_a_blocked_stdout_holds_up_the_writer_and_nothing_else() -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    reading, writing = os.pipe()
    async with LocalStdio(raw=False, stdin=nothing, stdout=writing) as stdio:
        write = asyncio.create_task(stdio.write(bytes(200_000), error=False))
        assert await stdio.read() == b""
        assert not write.done()
        got = 0
        while got < 200_000:
            got += len(await asyncio.to_thread(os.read, reading, 65536))
        await write
    for descriptor in (nothing, reading, writing):
        os.close(descriptor)


async def test_leaving_is_raised_after_what_was_typed_before(terminal: Terminal) -> None:
    async with LocalStdio(raw=True, stdin=terminal.slave, stdout=terminal.slave) as stdio:
        await terminal.types(b"x\r~.")
        assert await stdio.read() == b"x\r"
        with pytest.raises(SessionLeft):
            await stdio.read()

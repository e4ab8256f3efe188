import asyncio
import fcntl
import os
import struct
import termios
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.isolations import ISOLATIONS
from tests.support.marks import marked
from tests.support.waiting import until
from toolbox.lab.runtime.containers import Joined, Runtime
from toolbox.lab.runtime.spec import ContainerSpec, Isolation

MARK = uuid.uuid4().hex


@pytest.fixture(params=ISOLATIONS)
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    runtime = await Runtime.open(tmp_path, isolation=request.param)
    environment = {"PATH": os.defpath, "MARK": MARK}
    argv = ("sh", "-c", "touch /tmp/from-the-container; exec sleep 300")
    await runtime.start(ContainerSpec("task", "app", argv, environment, hostname="inside"), lambda line: None)
    yield runtime
    await runtime.aclose()


class Screen:
    """Collects what a terminal shows."""

    def __init__(self, process: Joined) -> None:
        self._process = process
        self.shown = b""
        os.set_blocking(process.master, False)
        asyncio.get_running_loop().add_reader(process.master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._process.master, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._process.master)
        self.shown += data

    async def shows(self, text: bytes) -> None:
        await until(lambda: text in self.shown, what=repr(self.shown))


@pytest.mark.parametrize(
    ("program", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
async def test_the_exit_code_is_true(runtime: Runtime, program: str, code: int) -> None:
    process = await runtime.spawn("task", "app", ["sh", "-c", program])
    assert await process.wait() == code
    os.close(process.master)


async def test_it_is_inside_on_a_terminal_of_its_own(runtime: Runtime) -> None:
    program = "echo tty:$(tty); echo term:$TERM lang:$LANG mark:$MARK; ls /tmp/from-the-container; stty size; hostname"
    process = await runtime.spawn("task", "app", ["sh", "-c", program])
    screen = Screen(process)
    assert await process.wait() == 0
    await screen.shows(b"0 0\r\n")
    assert f"term:xterm-256color lang:C.UTF-8 mark:{MARK}\r\n".encode() in screen.shown
    assert b"/tmp/from-the-container\r\n" in screen.shown
    if runtime.isolation is not Isolation.SHARED:
        assert b"tty:/dev/pts/0\r\n" in screen.shown
        await screen.shows(b"inside\r\n")
    os.close(process.master)


async def test_ctrl_c_and_a_resize_arrive(runtime: Runtime) -> None:
    mark = uuid.uuid4().hex
    process = await runtime.spawn("task", "app", ["bash", "--norc", "-i"])
    screen = Screen(process)
    os.write(process.master, f"M={mark} sleep 300\n".encode())
    await until(lambda: len(marked(mark)) == 1)  # it has the terminal: it was given it before its exec
    os.write(process.master, b"\x03")
    await until(lambda: marked(mark) == [])
    fcntl.ioctl(process.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 121, 0, 0))
    os.write(process.master, b"echo code:$?; stty size; exit 7\n")
    assert await process.wait() == 7
    await screen.shows(b"33 121\r\n")
    assert b"code:130\r\n" in screen.shown
    os.close(process.master)


async def test_a_missing_program_is_file_not_found(runtime: Runtime) -> None:
    with pytest.raises(FileNotFoundError):
        await runtime.spawn("task", "app", ["no-such-program"])
    with pytest.raises(FileNotFoundError):
        await runtime.spawn("task", "no-such-container", ["sh"])
    with pytest.raises(PermissionError):
        await runtime.spawn("task", "app", ["/etc/passwd"])


async def test_hanging_up_ends_the_session(runtime: Runtime) -> None:
    process = await runtime.spawn("task", "app", ["bash", "--norc", "-i"])
    screen = Screen(process)
    os.write(process.master, b"echo star''ted; sleep 100\n")
    await screen.shows(b"started\r\n")
    process.hang_up()
    assert await process.wait() in (129, 137)  # bash may be busy with its prompt when the signal comes
    os.close(process.master)


async def test_what_ignores_the_hang_up_is_killed(runtime: Runtime) -> None:
    mark = uuid.uuid4().hex
    program = f"trap '' HUP; M={mark} sleep 100 & M={mark} sleep 100 & echo ready; wait; wait"
    process = await runtime.spawn("task", "app", ["sh", "-c", program])
    screen = Screen(process)
    await screen.shows(b"ready")
    await until(lambda: len(marked(mark)) == 2)
    process.hang_up()
    assert await process.wait() == 137
    assert marked(mark) == []
    process.hang_up()  # nothing to do, and no harm
    os.close(process.master)


async def test_a_session_ends_with_its_container(runtime: Runtime) -> None:
    argv = ("sleep", "300")
    container = await runtime.start(ContainerSpec("other", "app", argv, {"PATH": os.defpath}), lambda line: None)
    process = await runtime.spawn("other", "app", ["sh", "-c", "trap '' HUP; sleep 300"])
    await container.kill()
    assert await asyncio.wait_for(process.wait(), 5) == 137
    os.close(process.master)


async def test_the_session_of_a_leader_that_exits_is_over(runtime: Runtime) -> None:
    process = await runtime.spawn("task", "app", ["sh", "-c", "sleep 100 & exit 9"])
    assert await process.wait() == 9
    os.close(process.master)


async def test_a_command_without_terminal_for_health_checks(runtime: Runtime) -> None:
    process = await runtime.run("task", "app", ["sh", "-c", "test -e /tmp/from-the-container && ! tty -s && exit 4"])
    assert await process.wait() == 4
    endless = await runtime.run("task", "app", ["sleep", "100"])
    endless.kill()
    assert await endless.wait() == 137

"""Starts a shim, hands it its orders and takes its answer."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import toolbox
from toolbox.lab.children import send
from toolbox.lab.runtime.output import Lines

SOURCES: Final = Path(toolbox.__file__).parents[1]
_BOOT: Final = "import sys; sys.path.insert(0, sys.argv[2]); from toolbox.lab.runtime.shim import main; main()"
_READ: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a shim said: `pid` and, where it sent one, a descriptor that the receiver owns; or what went wrong."""

    pid: int | None
    descriptor: int | None
    errno: int
    error: str


async def start(orders: Mapping[str, Any], descriptors: Sequence[int], *, output: bool) -> tuple[Process, Answer]:
    """A shim that was given `orders` and has answered; it inherits `descriptors`.

    With `output` its stdout and stderr are a pipe to us, else nothing reads them.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.setblocking(False)
        shim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _BOOT, str(theirs.fileno()), str(SOURCES)),
            stdin=PIPE,
            stdout=PIPE if output else asyncio.subprocess.DEVNULL,
            stderr=STDOUT,
            env={},
            pass_fds=(theirs.fileno(), *descriptors),
            start_new_session=True,
        )
        theirs.close()
        try:
            await _hand_over(shim, {"lab": os.getpid(), **orders})
            await _readable(ours)
        except asyncio.CancelledError:
            send(shim, signal.SIGUSR1)
            await shim.communicate()
            raise
        message, received, _, _ = socket.recv_fds(ours, _READ, 1)
    said = json.loads(message) if message else {}
    error = said.get("error") or "the process could not be set up"
    return shim, Answer(said.get("pid"), received[0] if received else None, said.get("errno", 0), error)


async def copy_lines(shim: Process, write: Callable[[str], None]) -> None:
    """Hand each line that comes out of `shim` to `write`, until nobody holds its output any more."""
    assert shim.stdout is not None
    lines = Lines()
    while data := await shim.stdout.read(_READ):
        for line in lines.feed(data):
            write(line)
    for line in lines.end():
        write(line)


async def _hand_over(shim: Process, orders: Mapping[str, Any]) -> None:
    assert shim.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it is gone: that no answer comes says so
        shim.stdin.write(json.dumps(orders).encode())
        await shim.stdin.drain()
    shim.stdin.close()


async def _readable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(channel)

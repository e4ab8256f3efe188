"""A command's near side: its standard streams and its terminal's size, until its exit code is there."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from toolbox.errors import SessionError
from toolbox.session import frames
from toolbox.session.channel import Channel
from toolbox.session.failures import SessionLeft
from toolbox.session.frames import FrameError, Kind
from toolbox.session.jobs import put_to_rest
from toolbox.session.wire import Size


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. `words` are joined by spaces and run by `sh -c`; None is a login shell.

    `pty`: on a terminal of its own, else on three pipes. `environment` is added to the container's.
    """

    words: tuple[str, ...] | None
    pty: bool
    environment: Mapping[str, str] = field(default_factory=dict)


class Stdio(Protocol):
    """The near side of a command: a terminal, or files and pipes."""

    async def read(self) -> bytes:
        """What to send to its stdin; b"" at the end. Raises SessionLeft when the person leaves."""

    async def write(self, data: bytes, *, error: bool) -> None:
        """Deliver what it wrote to stdout, or stderr; returns once done. BrokenPipeError: nobody reads it."""

    def size(self) -> Size | None:
        """The terminal's size, None without one."""

    def on_resize(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever `size()` may have changed; None: no longer."""


def order(command: Command, size: Size) -> dict[str, object]:
    """What opens the channel of `command`."""
    return {
        "kind": "command",
        "words": None if command.words is None else list(command.words),
        "pty": command.pty,
        "environment": dict(command.environment),
        "columns": size.columns,
        "rows": size.rows,
    }


async def follow(channel: Channel, command: Command, stdio: Stdio, size: Size) -> int:
    """Carry the streams of `command`, which `channel` was opened with at this `size`; returns its exit code.

    The code is one that was observed: whatever keeps us from seeing it is raised.
    """
    output = asyncio.create_task(_deliver(channel, stdio, command.pty))
    jobs = [asyncio.create_task(_feed(channel, stdio)), asyncio.create_task(_follow_size(channel, stdio, size))]
    try:
        return await _first_failure(output, *jobs)
    finally:
        stdio.on_resize(None)
        await put_to_rest(output, *jobs)


async def _first_failure(output: "asyncio.Task[int]", *jobs: "asyncio.Task[None]") -> int:
    """What `output` returns; but what goes wrong in a job before is raised.

    That the session ended is `output`'s to say, after what had arrived before, which may be the exit code.
    """
    pending: set[asyncio.Task[int] | asyncio.Task[None]] = {output, *jobs}
    while not output.done():
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {output}:
            error = task.exception()
            if error is not None and (isinstance(error, SessionLeft) or not isinstance(error, SessionError)):
                raise error
    return output.result()


async def _feed(channel: Channel, stdio: Stdio) -> None:
    while data := await stdio.read():
        await channel.write(data)
    await channel.send(Kind.EOF)


async def _follow_size(channel: Channel, stdio: Stdio, known: Size) -> None:
    changed = asyncio.Event()
    stdio.on_resize(changed.set)
    while True:
        size = stdio.size()
        if size is not None and size != known:
            known = size
            await channel.send(Kind.SIZE, frames.encode_size(size.columns, size.rows))
        await changed.wait()
        changed.clear()


async def _deliver(channel: Channel, stdio: Stdio, pty: bool) -> int:
    """Deliver the output; returns the exit code. Output that nobody reads is refused, as a closed pipe does."""
    unread: set[Kind] = set()
    async for frame in channel.output():
        if frame.kind is Kind.EXIT:
            return _exit_code(frame.payload)
        if frame.kind in unread:
            continue
        try:
            await stdio.write(frame.payload, error=frame.kind is Kind.DATA_STDERR)
        except BrokenPipeError:
            if pty:
                raise SessionLeft("nobody reads the terminal's output") from None
            unread.add(frame.kind)
            await channel.send(Kind.UNREAD, bytes([frame.kind]))
    raise FrameError("an end without an exit")


def _exit_code(payload: bytes) -> int:
    code = frames.decode_json(payload).get("code")
    if not isinstance(code, int) or not 0 <= code <= 255:
        raise FrameError("an exit without a code")
    return code

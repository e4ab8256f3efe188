"""The near end of one of the relay's channels: data within its credit, and frames in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from toolbox.errors import SessionError
from toolbox.session import frames
from toolbox.session.failures import ChannelFailed, safe
from toolbox.session.frames import CREDIT, Frame, FrameError, Kind

_GRANT: Final = CREDIT // 8
_MAX_PIECE: Final = 64 * 1024
_DATA: Final = (Kind.DATA, Kind.DATA_STDERR)


class Channel:
    """One channel. `send` takes a frame for the far side, and raises what ended the session once it has ended."""

    def __init__(self, number: int, send: Callable[[Frame], Awaitable[None]]) -> None:
        self._number = number
        self._send = send
        self._inbox: asyncio.Queue[Frame | SessionError] = asyncio.Queue()
        self._credit = CREDIT
        self._granted = asyncio.Event()
        self._owed = CREDIT  # what the far side may still send
        self._taken = 0
        self._over = False

    def arrived(self, frame: Frame) -> None:
        """Keep `frame` for `output`; raises FrameError when it was not granted."""
        if frame.kind is Kind.CREDIT:
            self._credit = min(CREDIT, self._credit + frames.decode_credit(frame.payload))
            self._granted.set()
            return
        if self._over or (frame.kind in _DATA and not frame.payload):
            raise FrameError(f"{frame.kind.name} out of place")
        self._owed -= len(frame.payload) if frame.kind in _DATA else 0
        if self._owed < 0:
            raise FrameError("more output than was granted")
        self._over = frame.kind not in _DATA
        self._inbox.put_nowait(frame)

    def ended(self, error: SessionError) -> None:
        """The session ended: `output` raises it after what has arrived, `write` at once."""
        self._inbox.put_nowait(error)
        self._credit = max(self._credit, 1)  # a writer that waits goes on, and meets the error
        self._granted.set()

    async def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send one frame of this channel."""
        await self._send(Frame(self._number, kind, payload))

    async def write(self, data: bytes) -> None:
        """Send `data`, as fast as the far side grants."""
        start = 0
        while start < len(data):
            while self._credit == 0:
                self._granted.clear()
                await self._granted.wait()
            piece = data[start : start + min(self._credit, frames.MAX_PAYLOAD)]
            self._credit -= len(piece)
            start += len(piece)
            await self.send(Kind.DATA, piece)

    async def output(self) -> AsyncIterator[Frame]:
        """The frames up to and with EXIT, neighbouring data in one piece. To ask for the next is to have delivered one.

        Raises ChannelFailed, and what ended the session.
        """
        held: Frame | SessionError | None = None
        while True:
            first = held if held is not None else await self._inbox.get()
            held = None
            if isinstance(first, SessionError):
                raise first
            if first.kind is Kind.FAILED:
                fields = frames.decode_json(first.payload)
                raise ChannelFailed(safe(str(fields.get("cause")).encode()), str(fields.get("text")))
            if first.kind is Kind.EXIT:
                yield first
                return
            if first.kind not in _DATA:
                raise FrameError(f"{first.kind.name} as output")
            frame, held = self._with_what_follows(first)
            yield frame
            await self._grant(len(frame.payload))

    def _with_what_follows(self, first: Frame) -> tuple[Frame, Frame | SessionError | None]:
        """`first` joined with data of its kind that waits already; and what came after it, taken out too."""
        pieces, size = [first.payload], len(first.payload)
        while size < _MAX_PIECE and not self._inbox.empty():
            following = self._inbox.get_nowait()
            if isinstance(following, SessionError) or following.kind is not first.kind:
                return first._replace(payload=b"".join(pieces)), following
            pieces.append(following.payload)
            size += len(following.payload)
        return first._replace(payload=b"".join(pieces)), None

    async def _grant(self, count: int) -> None:
        self._taken += count
        if self._taken < _GRANT:
            return
        granted, self._taken = self._taken, 0
        self._owed += granted
        try:
            await self.send(Kind.CREDIT, frames.encode_credit(granted))
        except SessionError:
            return  # it stands in the inbox too, behind the output that came before it

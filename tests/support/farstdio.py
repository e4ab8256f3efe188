"""A near side in memory: what a test types, and what it gets to read."""

import asyncio
from collections.abc import Callable

from toolbox.session.wire import Size


class MemoryStdio:
    """`text` is the whole input, or the beginning of it when `more` says that it stays open."""

    def __init__(self, text: bytes = b"", *, more: bool = False, size: Size | None = None) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self.unread = False  # set: nobody reads the output any more
        self._size = size
        self._resized: Callable[[], None] | None = None
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._arrived = asyncio.Event()
        self.type(text) if text else None
        self.type(b"") if not more else None

    def type(self, data: bytes) -> None:
        """Type `data`; b"" ends the input."""
        self._input.put_nowait(data)

    def resize(self, size: Size) -> None:
        self._size = size
        assert self._resized is not None
        self._resized()

    async def sees(self, text: bytes, seconds: float = 10.0) -> None:
        """Return once stdout holds `text`."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.out:
                    await self.grows(len(self.out))
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come, but {bytes(self.out[-2000:])!r}") from None

    async def grows(self, beyond: int) -> None:
        """Return once stdout holds more than `beyond` bytes."""
        while len(self.out) <= beyond:
            self._arrived.clear()
            await self._arrived.wait()

    async def read(self) -> bytes:
        return await self._input.get()

    async def write(self, data: bytes, *, error: bool) -> None:
        if self.unread:
            raise BrokenPipeError
        (self.err if error else self.out).extend(data)
        self._arrived.set()

    def size(self) -> Size | None:
        return self._size

    def on_resize(self, callback: Callable[[], None] | None) -> None:
        self._resized = callback

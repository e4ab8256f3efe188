"""A way to a local port that can be frozen: its connections stay open, and nothing passes any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Passage:
    """Connections to `port` are passed on to the target; `freeze` stops those that there are."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._flows: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, back]
        self._flows += [asyncio.create_task(_flow(reader, back)), asyncio.create_task(_flow(onward, writer))]

    def freeze(self) -> None:
        for flow in self._flows:
            flow.cancel()

    async def close(self) -> None:
        self.freeze()
        await asyncio.gather(*self._flows, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()


async def _flow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def passage(target: int) -> AsyncIterator[Passage]:
    way = Passage(target)
    listener = await asyncio.start_server(way.enter, "127.0.0.1", 0)
    way.port = listener.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        listener.close()
        await way.close()

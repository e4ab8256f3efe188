"""ECS behind a real HTTP server that speaks just enough of the AWS JSON 1.1 protocol for boto3."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.ecslab import ME
from toolbox.lab.ecs import Ecs, EcsApiError


async def _answer(ecs: Ecs, reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    try:
        answer = await ecs.call(headers["x-amz-target"].rpartition(".")[2], body, ME)
        status = 200
    except EcsApiError as error:
        answer, status = {"__type": error.code, "message": error.message}, error.http_status
    payload = json.dumps(answer).encode()
    start = f"HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(payload)}\r\n"
    return f"{start}Connection: close\r\n\r\n".encode() + payload


@asynccontextmanager
async def http_front(ecs: Ecs) -> AsyncIterator[str]:
    """Serves `ecs`; the endpoint's URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await _answer(ecs, reader))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"

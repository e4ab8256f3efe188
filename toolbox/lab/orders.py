"""How a lab that is up takes orders: one JSON object a line on a socket in its directory, and one back."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from toolbox.errors import ToolboxError
from toolbox.lab.lab import Lab

Order: TypeAlias = dict[str, Any]

log = logging.getLogger(__name__)


@asynccontextmanager
async def listening(lab: Lab) -> AsyncIterator[None]:
    """Take orders about `lab` meanwhile."""
    orders: dict[str, Callable[[Order], Awaitable[Order]]] = {
        "status": lambda order: _status(lab),
        "stop": lambda order: _stop(lab, order),
        "start": lambda order: _start(lab, order),
        "expire": lambda order: _expire(lab, order),
    }

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            order = json.loads(await reader.readline())
            log.info("order: %s", order)
            answer = await orders[order["order"]](order)
        except ToolboxError as error:
            answer = {
                "error": error.sentence,
                "cause": error.cause,
                "next_step": error.next_step,
                "detail": error.detail,
            }
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
        writer.close()

    with lab.place.short_socket() as path:
        server = await asyncio.start_unix_server(converse, path)
    async with server:
        yield


async def _status(lab: Lab) -> Order:
    services = {name: {"running": now, "desired": want} for name, (now, want) in (await lab.services()).items()}
    return {"parts": lab.parts(), "services": services, "isolation": lab.isolation}


async def _stop(lab: Lab, order: Order) -> Order:
    await lab.stop(order["part"])
    return {}


async def _start(lab: Lab, order: Order) -> Order:
    await lab.start(order["part"])
    return {}


async def _expire(lab: Lab, order: Order) -> Order:
    (lab.identities.expire if order["expired"] else lab.identities.renew)(lab.person.access_key)
    return {}

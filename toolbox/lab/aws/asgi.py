"""Between ASGI messages and the lab's own values: bodies, answers, websockets (asgi.readthedocs.io)."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from toolbox.lab.aws.response import Response

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_BODY_LIMIT: Final = 16 << 20


class BodyTooLarge(Exception):
    """More than 16 MiB: no AWS request is that large."""


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers, names in lower case; of one that stands there twice, the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive) -> bytes:
    """The whole body; what there is of it when the client has gone. Raises BodyTooLarge."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > _BODY_LIMIT:
            raise BodyTooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


async def respond(send: Send, response: Response) -> None:
    """Send `response` whole."""
    headers = {**response.headers, "content-length": str(len(response.body))}
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": lines})
    await send({"type": "http.response.body", "body": response.body})


class WebSocket:
    """An accepted websocket (contract.Channel)."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._open = True

    @staticmethod
    async def accept(receive: Receive, send: Send) -> "WebSocket":
        """Complete the opening handshake."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        return WebSocket(receive, send)

    async def receive(self) -> str | bytes | None:
        """The next message; None once the peer has gone."""
        if not self._open:
            return None
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._open = False
            return None
        data: str | bytes | None = message.get("bytes")
        return message.get("text", "") if data is None else data

    async def send(self, message: str | bytes) -> None:
        """Send one; does nothing once the peer has gone."""
        if self._open:
            kind = "bytes" if isinstance(message, bytes) else "text"
            await self._quietly({"type": "websocket.send", kind: message})

    async def close(self) -> None:
        """Close it; does nothing once the peer has gone."""
        if self._open:
            self._open = False
            await self._quietly({"type": "websocket.close", "code": 1000})

    async def _quietly(self, message: Message) -> None:
        try:
            await self._send(message)
        except (
            OSError,
            RuntimeError,
        ):  # uvicorn's ClientDisconnected is an OSError; after a close it says RuntimeError
            self._open = False

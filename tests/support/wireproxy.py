"""A TCP proxy before a lab that cuts the websockets of sessions, as a bad network does."""

import selectors
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

_SESSION: Final = b"GET /v1/data-channel/"


class WireProxy:
    """Passes bytes on to `endpoint`; websockets of sessions are cut each time they have carried `every` bytes.

    The session's address in the API's answers is changed to ours (both ports have as many digits), so that websockets
    come through here too. `cuts` counts, up to `most`.
    """

    def __init__(self, endpoint: str, *, every: int, most: int) -> None:
        address = urlsplit(endpoint)
        assert address.port is not None
        self._upstream = (address.hostname or "127.0.0.1", address.port)
        self._every = every
        self._most = most
        self.cuts = 0
        self._server = _listening(len(str(address.port)))
        port = self._server.getsockname()[1]
        self._theirs, self._ours = f"ws://127.0.0.1:{address.port}".encode(), f"ws://127.0.0.1:{port}".encode()
        self.url = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed: the test is over
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as upstream, selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ, upstream)
            selector.register(upstream, selectors.EVENT_READ, client)
            carried, session = 0, False
            with suppress(OSError):
                while True:
                    for key, _ in selector.select():
                        source, sink = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        data = source.recv(16384)
                        if not data:
                            return
                        session = session or data.startswith(_SESSION)
                        carried += len(data)
                        if session and carried > self._every and self.cuts < self._most:
                            self.cuts += 1
                            return
                        sink.sendall(data.replace(self._theirs, self._ours))


def _listening(digits: int) -> socket.socket:
    """A listening socket whose port has as many digits, so that one address can stand for the other in an answer."""
    refused = []
    while True:
        server = socket.create_server(("127.0.0.1", 0))
        if len(str(server.getsockname()[1])) == digits:
            break
        refused.append(server)
    for other in refused:
        other.close()
    return server

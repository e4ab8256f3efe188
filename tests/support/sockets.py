"""Real sockets that refuse, stay silent or hang up: what a broken network does, on loopback."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator


def free_port(address: str = "127.0.0.1") -> int:
    """A TCP port where nothing listens now."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def black_hole(address: str = "127.0.0.1") -> Iterator[int]:
    """A port whose backlog is full, so that the kernel drops every further SYN: a connect gets no answer at all."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, 0))
        listener.listen(0)
        # A backlog of 0 holds one connection; the others wait in vain.
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextlib.contextmanager
def silent(address: str, port: int) -> Iterator[None]:
    """A port that accepts connections, since the kernel does, and never says a word."""
    with socket.create_server((address, port)):
        yield


@contextlib.contextmanager
def answering(reply: bytes, address: str = "127.0.0.1", *, reset: bool = False) -> Iterator[int]:
    """A port that reads what comes first, sends `reply` and hangs up; with `reset` by RST."""
    with socket.create_server((address, 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, reply, reset), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket, reply: bytes, reset: bool) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # the test is over
            return
        with connection, contextlib.suppress(ConnectionError):
            # An empty read is one of our own connects, which hang up at once.
            if connection.recv(4096) and reply:
                connection.sendall(reply)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

"""Why TLS to PostgreSQL failed, in more words than libpq has: it says 'certificate verify failed' for every reason."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Final

from toolbox.model.result import Cause
from toolbox.net.fault import Fault
from toolbox.net.tls import secure
from toolbox.probes.dsn import DatabaseTarget, Endpoint

_SSL_REQUEST: Final = (8).to_bytes(4) + (80877103).to_bytes(4)  # PostgreSQL 55.7


async def explain(target: DatabaseTarget, endpoint: Endpoint, address: str, *, timeout: float) -> Fault | None:
    """What a second handshake meets, verified as `target` wants it; None when it cannot tell either.

    What libpq says about the file of root certificates itself needs no explaining.
    """
    root = _root(target)
    try:
        context = ssl.create_default_context(cafile=root)
    except OSError:  # the file is missing, or it holds no certificate, as libpq has said
        return None
    context.check_hostname = target.tls == "verify-full"
    secured = await secure(
        address, endpoint.port, server_name=endpoint.host, context=context, timeout=timeout, preamble=_ask_for_tls
    )
    return secured.fault


def _root(target: DatabaseTarget) -> Path | None:
    """The file that libpq verifies against (PostgreSQL 34.19.1); None for the system's own certificates."""
    if target.root_certificate == "system":
        return None
    return Path(target.root_certificate or Path.home() / ".postgresql" / "root.crt")


async def _ask_for_tls(sock: socket.socket) -> Fault | None:
    """PostgreSQL's own way into TLS: a request in plain, and a single letter in answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _SSL_REQUEST)
    answer = await loop.sock_recv(sock, 1)
    return None if answer == b"S" else Fault(Cause.PROTOCOL_MISMATCH, "the server does not speak TLS")

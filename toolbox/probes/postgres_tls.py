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
    """What a second handshake meets, verified as `target` wants it; None when it cannot tell either."""
    try:
        context = _context(target)
    except OSError as error:  # the file is missing, or it holds no certificate
        return Fault(Cause.TLS_UNTRUSTED, f"the root certificates in {target.root_certificate} cannot be used: {error}")
    secured = await secure(
        address, endpoint.port, server_name=endpoint.host, context=context, timeout=timeout, preamble=_ask_for_tls
    )
    return secured.fault


def _context(target: DatabaseTarget) -> ssl.SSLContext:
    root = target.root_certificate
    if root in (None, "system"):
        context = ssl.create_default_context()
    else:
        context = ssl.create_default_context(cafile=str(Path(root or "")))
    context.check_hostname = target.tls == "verify-full"
    return context


async def _ask_for_tls(sock: socket.socket) -> Fault | None:
    """PostgreSQL's own way into TLS: a request in plain, and a single letter in answer."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, _SSL_REQUEST)
    answer = await loop.sock_recv(sock, 1)
    return None if answer == b"S" else Fault(Cause.PROTOCOL_MISMATCH, "the server does not speak TLS")

"""The third phase: a TLS handshake, timed, with the reasons of a failure told apart."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from toolbox.model.result import Cause
from toolbox.net.connect import fault_of
from toolbox.net.fault import Fault

Preamble: TypeAlias = Callable[[socket.socket], Awaitable[Fault | None]]
"""What is said in plain before the handshake (STARTTLS and its like); a fault when the server does not want it."""

# X509_V_ERR_*, openssl/x509_vfy.h
_VERIFY_CAUSES: Final = {
    9: Cause.TLS_NOT_YET_VALID,
    10: Cause.TLS_EXPIRED,
    18: Cause.TLS_SELF_SIGNED,
    62: Cause.TLS_HOSTNAME,
    64: Cause.TLS_HOSTNAME,
}
_MISMATCH: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL")
_PROTOCOL: Final = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW")


@dataclass(frozen=True, slots=True)
class Secured:
    """How a handshake went: the TLS version and the cipher, or what broke it."""

    seconds: float
    version: str | None = None
    cipher: str | None = None
    fault: Fault | None = None


async def secure(
    address: str,
    port: int,
    *,
    server_name: str,
    context: ssl.SSLContext,
    timeout: float,
    preamble: Preamble | None = None,
) -> Secured:
    """Connect, shake hands as `server_name` within `timeout` seconds, and hang up.

    The clock starts after TCP and the preamble.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    start = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout):
                await loop.sock_connect(sock, (address, port))
                refused = await preamble(sock) if preamble else None
                start = time.monotonic()
                if refused:
                    return Secured(0.0, fault=refused)
                _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name)
        except TimeoutError:
            fault = Fault(Cause.TLS_HANDSHAKE, f"no answer to the handshake within {timeout:g} s")
            return Secured(time.monotonic() - start, fault=fault)
        except OSError as error:
            return Secured(time.monotonic() - start, fault=tls_fault(error))
        seconds = time.monotonic() - start
        cipher = writer.get_extra_info("cipher")
        version: str = writer.get_extra_info("ssl_object").version()
        writer.transport.abort()
        return Secured(seconds, version, cipher[0] if cipher else None)


def tls_fault(error: OSError) -> Fault:
    """What an exception of a handshake means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        cause = _VERIFY_CAUSES.get(error.verify_code, Cause.TLS_UNTRUSTED)
        return Fault(cause, error.verify_message or str(error))
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if any(word in reason for word in _MISMATCH):
            return Fault(Cause.PROTOCOL_MISMATCH, f"this is no TLS: {reason}")
        protocol = any(word in reason for word in _PROTOCOL)
        return Fault(Cause.TLS_PROTOCOL if protocol else Cause.TLS_HANDSHAKE, reason)
    if error.errno is None:  # asyncio's own, for an end of file where the handshake should go on
        return Fault(Cause.TLS_HANDSHAKE, "the server hung up during the handshake")
    return fault_of(error)

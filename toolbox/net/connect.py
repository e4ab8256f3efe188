"""TCP to every address behind a name, at once, each timed."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from toolbox.model.result import Cause
from toolbox.net.fault import Fault

_CAUSES: Final = {
    errno.ECONNREFUSED: Cause.TCP_REFUSED,
    errno.ETIMEDOUT: Cause.TCP_TIMEOUT,
    errno.ECONNRESET: Cause.TCP_RESET,
    errno.ECONNABORTED: Cause.TCP_RESET,
    errno.EPIPE: Cause.TCP_RESET,
}
_NO_FAMILY: Final = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address: `fault` is None when it accepted. `foreign`: an IPv6 address where this machine has no IPv6."""

    address: str
    port: int
    seconds: float
    fault: Fault | None = None
    foreign: bool = False


async def connect(addresses: Iterable[str], port: int, *, timeout: float) -> tuple[Attempt, ...]:
    """Try all addresses at the same time, each for `timeout` seconds, and hang up: who accepts is all we ask."""
    return tuple(await asyncio.gather(*(_try(address, port, timeout) for address in addresses)))


def verdict(attempts: Sequence[Attempt]) -> Fault | None:
    """None when all that could be tried accepted, `tcp-partial` when some did, else what the first one met."""
    tried = [attempt for attempt in attempts if not attempt.foreign] or list(attempts)
    faults = [attempt.fault for attempt in tried if attempt.fault]
    if not faults:
        return None
    if len(faults) < len(tried):
        dead = [f"{attempt.address}: {attempt.fault.text}" for attempt in tried if attempt.fault]
        return Fault(Cause.TCP_PARTIAL, "; ".join(dead))
    return faults[0]


async def _try(address: str, port: int, timeout: float) -> Attempt:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    start = time.monotonic()
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setblocking(False)
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except TimeoutError:
        words = f"no answer within {timeout:g} s"
        return Attempt(address, port, time.monotonic() - start, Fault(Cause.TCP_TIMEOUT, words))
    except OSError as error:
        foreign = family == socket.AF_INET6 and error.errno in _NO_FAMILY
        return Attempt(address, port, time.monotonic() - start, fault_of(error), foreign)
    return Attempt(address, port, time.monotonic() - start)


def fault_of(error: OSError) -> Fault:
    """What the system's error number means on the way to a server; a number we do not know is 'unreachable'."""
    # asyncio words its errors for programmers: the system's own words are the ones people search for.
    words = os.strerror(error.errno) if error.errno else str(error)
    return Fault(_CAUSES.get(error.errno or 0, Cause.TCP_UNREACHABLE), words)

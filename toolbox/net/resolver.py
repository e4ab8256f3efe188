"""Which name servers to ask, and how: resolv.conf(5), or a choice of one's own."""

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolbox.errors import UsageError

VARIABLE: Final = "TOOLBOX_RESOLVER"
_PORT: Final = 53
# resolv.conf(5): MAXNS, and the caps of ndots, timeout and attempts
_MAX_SERVERS: Final = 3
_CAPS: Final[Mapping[str, int]] = {"ndots": 15, "timeout": 30, "attempts": 5}


@dataclass(frozen=True, slots=True)
class Server:
    """The address of a name server."""

    address: str
    port: int = _PORT

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Resolver:
    """How names are resolved. `timeout` is for one try, in seconds; without `hosts` no hosts file is read."""

    servers: tuple[Server, ...]
    search: tuple[str, ...] = ()
    ndots: int = 1
    timeout: float = 5.0
    attempts: int = 2
    hosts: Path | None = None

    def candidates(self, name: str) -> tuple[str, ...]:
        """The names to ask for, in order: `name` alone and with each search domain (resolv.conf(5), ndots)."""
        if name.endswith("."):
            return (name.rstrip("."),)
        searched = tuple(f"{name}.{domain}" for domain in self.search)
        return (name, *searched) if name.count(".") >= self.ndots else (*searched, name)


def find_resolver(
    choice: str | None = None,
    environ: Mapping[str, str] = os.environ,
    resolv_conf: Path = Path("/etc/resolv.conf"),
    hosts: Path = Path("/etc/hosts"),
) -> Resolver:
    """The resolver to use: `choice` (HOST[:PORT]), else TOOLBOX_RESOLVER, else the system's.

    A chosen server is asked alone: no hosts file, no search domains, since what it answers is the question.
    Raises UsageError when the choice is no address.
    """
    chosen = choice or environ.get(VARIABLE)
    if chosen:
        return Resolver((_server(chosen, "--resolver" if choice else VARIABLE),))
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        lines = []  # as resolv.conf(5) says: without the file, the name server on this machine
    return parse(lines, hosts)


def parse(lines: Iterable[str], hosts: Path | None = None) -> Resolver:
    """The resolver that the lines of a resolv.conf describe; what cannot be understood is passed over, as libc does."""
    servers: list[Server] = []
    search: tuple[str, ...] = ()
    options: dict[str, int] = {"ndots": 1, "timeout": 5, "attempts": 2}
    for line in lines:
        keyword, *values = line.partition("#")[0].partition(";")[0].split() or [""]
        if keyword == "nameserver" and values and is_address(values[0]):
            servers.append(Server(values[0]))
        elif keyword in ("search", "domain"):
            search = tuple(value.strip(".") for value in values if value.strip("."))
        elif keyword == "options":
            options |= _options(values)
    return Resolver(
        servers=tuple(servers[:_MAX_SERVERS]) or (Server("127.0.0.1"),),
        search=search,
        ndots=options["ndots"],
        timeout=float(max(options["timeout"], 1)),
        attempts=max(options["attempts"], 1),
        hosts=hosts,
    )


def _options(values: Iterable[str]) -> dict[str, int]:
    pairs = (value.partition(":") for value in values)
    return {name: min(int(number), _CAPS[name]) for name, _, number in pairs if name in _CAPS and number.isdecimal()}


def _server(text: str, where: str) -> Server:
    """`10.0.0.2`, `10.0.0.2:5353`, `::1`, `[::1]:5353`."""
    address, port = text, str(_PORT)
    bracketed = re.fullmatch(r"\[(.+)\](?::(.+))?", text)
    if bracketed:
        address, port = bracketed[1], bracketed[2] or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    if not is_address(address) or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(
            f"{where} is not the address of a name server.",
            cause="usage",
            next_step="Give an IP address, with a port if it is not 53: 10.0.0.2 or 127.0.0.1:5353.",
        )
    return Server(address, int(port))


def is_address(text: str) -> bool:
    """Whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

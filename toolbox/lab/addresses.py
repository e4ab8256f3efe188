"""The lab's addresses: a /16 of 127.0.0.0/8 of its own, and in it what each task and each part gets.

127.x.0.0/18     services, zone a        127.x.64.0/18   services, zone b
127.x.128.0/18   data: 127.x.128.N is task N's way to the database, 127.x.160.N its way to Redis
127.x.192.0/19   task N's name server (in a VPC it would be the network's address plus two)
127.x.255.0/24   the parts themselves, which no task is told
"""

import errno
import socket
import zlib
from dataclasses import dataclass
from typing import Final

from toolbox.errors import LabError

_FIRST, _LAST = 16, 250
_CLAIM: Final = (254, 20127)  # any; it only has to be the same for every lab
DATABASE: Final = (1, 5432)  # part, port
REDIS: Final = (2, 6379)
_PER_BLOCK: Final = 250
_BLOCKS: Final = 32


@dataclass(frozen=True, slots=True)
class Slot:
    """The addresses that belong to the Nth task."""

    number: int
    task: str
    database: str
    redis: str
    resolver: str


@dataclass(frozen=True, slots=True)
class Network:
    """127.`octet`.0.0/16."""

    octet: int

    @property
    def cidr(self) -> str:
        """The whole network."""
        return f"127.{self.octet}.0.0/16"

    @property
    def service_cidrs(self) -> tuple[str, str]:
        """Where the services' tasks are, one block a zone."""
        return f"127.{self.octet}.0.0/18", f"127.{self.octet}.64.0/18"

    @property
    def data_cidr(self) -> str:
        """Where the tasks find database and Redis."""
        return f"127.{self.octet}.128.0/18"

    def part(self, number: int) -> str:
        """The address of one of the lab's own parts."""
        return f"127.{self.octet}.255.{number}"

    def slot(self, number: int, zone: int) -> Slot:
        """The addresses of task `number` (from 0, below 8,000) in zone 0 or 1."""
        block, place = divmod(number, _PER_BLOCK)
        place += 3  # a subnet's first three are AWS's own

        def at(base: int) -> str:
            return f"127.{self.octet}.{base + block}.{place}"

        return Slot(number, at((0, 64)[zone]), at(128), at(160), at(192))


class Slots:
    """Hands out slot numbers, each as late as possible again: what was a task's address is nobody's for a while."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._next = 0

    def take(self) -> int:
        """A free number; raises LabError when all 8,000 are in use."""
        for _ in range(_PER_BLOCK * _BLOCKS):
            number, self._next = self._next, (self._next + 1) % (_PER_BLOCK * _BLOCKS)
            if number not in self._used:
                self._used.add(number)
                return number
        raise LabError("The lab has no address left for another task.", cause="lab-addresses", next_step="Stop some.")

    def give_back(self, number: int) -> None:
        """The number is free again."""
        self._used.discard(number)


def claim(name: str) -> tuple[Network, socket.socket]:
    """A network that no other lab on this machine has, ours until the socket is closed or we die.

    The kernel keeps the claim: a bound port leaves nothing behind, whoever dies. Raises LabError.
    """
    count = _LAST - _FIRST + 1
    start = zlib.crc32(name.encode()) % count
    everywhere = {port for _, port in (DATABASE, REDIS)}
    unclaimed = 0
    for step in range(count):
        network = Network(_FIRST + (start + step) % count)
        claimed = _bind(network, *_CLAIM)
        if claimed is None:
            continue
        taken = {port for part, port in (DATABASE, REDIS) if not _is_free(network, part, port)}
        if not taken:
            return network, claimed
        # Servers of a lab that was killed, which are still on their way out; or one that listens on every address.
        claimed.close()
        unclaimed += 1
        everywhere &= taken
    if unclaimed and everywhere:
        ports = " and ".join(str(port) for port in sorted(everywhere))
        raise LabError(
            f"Some server listens on port {ports} of every address of this machine, so the lab cannot.",
            cause="lab-addresses",
            next_step="Stop it (a published port of a container, perhaps), or let it listen on 127.0.0.1 alone.",
        )
    raise LabError(
        "Every loopback network is taken by another lab.",
        cause="lab-addresses",
        next_step="Stop one: toolbox lab down --name NAME.",
    )


def _is_free(network: Network, part: int, port: int) -> bool:
    bound = _bind(network, part, port)
    if bound is None:
        return False
    bound.close()
    return True


def _bind(network: Network, part: int, port: int) -> socket.socket | None:
    """A bound socket; None when the address is in use. Raises LabError where there are no such addresses."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.bind((network.part(part), port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise LabError(
            f"The lab cannot use loopback addresses: {error.strerror}.",
            cause="lab-addresses",
            next_step="The lab runs on Linux, where all of 127.0.0.0/8 is local.",
        ) from error
    return bound

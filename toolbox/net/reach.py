"""From a name and a port to an address that accepts: the first two phases of every probe."""

from dataclasses import dataclass

from toolbox.model.result import Phase
from toolbox.net.connect import Attempt, connect, verdict
from toolbox.net.fault import Fault
from toolbox.net.resolve import Resolution, resolve
from toolbox.net.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Reach:
    """How far we came. `fault` may stand beside an open address: then some are dead, or the name was known in part."""

    host: str
    port: int
    resolution: Resolution
    attempts: tuple[Attempt, ...]
    fault: Fault | None

    @property
    def open_addresses(self) -> tuple[str, ...]:
        """The addresses that accepted."""
        return tuple(attempt.address for attempt in self.attempts if attempt.fault is None)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """`dns` and, where it came so far, `tcp`: the slowest address, for they were tried at the same time."""
        dns = Phase("dns", self.resolution.seconds)
        if not self.attempts:
            return (dns,)
        return (dns, Phase("tcp", max(attempt.seconds for attempt in self.attempts)))


async def reach(host: str, port: int, resolver: Resolver, *, timeout: float) -> Reach:
    """Resolve `host`, then connect to every address of it; `timeout` seconds for each of the two."""
    resolution = await resolve(host, resolver, timeout=timeout)
    if not resolution.addresses:
        return Reach(host, port, resolution, (), resolution.fault)
    attempts = await connect(resolution.addresses, port, timeout=timeout)
    return Reach(host, port, resolution, attempts, verdict(attempts) or resolution.fault)

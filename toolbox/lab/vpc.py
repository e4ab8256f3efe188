"""A task's place in the lab's network: its address, its way to database and Redis, and what names mean to it."""

import asyncio
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from toolbox.lab.addresses import Network, Slot, Slots
from toolbox.lab.dns import NXDOMAIN, Answer, NameServer
from toolbox.lab.firewall import Peer, Rule, admits
from toolbox.lab.gate import Gate, Passage

DNS_PORT: Final = 53
_TRIAL_PART: Final = 253


@dataclass(frozen=True, slots=True)
class Target:
    """A server behind security groups: how tasks call it, where it really is, and who may come in."""

    host: str
    port: int
    server: tuple[str, int]
    groups: tuple[str, ...]
    address: Callable[[Slot], str]
    """The address by which the task in a slot reaches it."""


@dataclass(frozen=True, slots=True)
class Groups:
    """The rules of security groups as they are now, by their ids."""

    ingress: Callable[[Collection[str]], Sequence[Rule]]
    egress: Callable[[Collection[str]], Sequence[Rule]]


@dataclass(slots=True)
class _Member:
    """A task in the network."""

    slot: Slot
    groups: tuple[str, ...]
    gates: dict[str, Gate] = field(default_factory=dict)


class Vpc:
    """Every task's gates and names. `refresh` after a change of groups; a part's start and stop are `set_running`."""

    def __init__(self, network: Network, targets: Mapping[str, Target], groups: Groups, zone: str) -> None:
        self.network = network
        self.targets = targets
        self.zone = zone
        self.records: dict[str, Answer] = {}
        """What names mean to everyone: set an answer, or a failure, for a name in lower case."""
        self._groups = groups
        self._slots = Slots()
        self._members: dict[str, _Member] = {}
        self._services: dict[str, dict[str, str]] = {}
        self._stopped: set[str] = set(targets)
        self._names = NameServer(self.lookup, DNS_PORT if _may_bind(network.part(_TRIAL_PART), DNS_PORT) else 0)
        self._names_up = True
        self._listening = asyncio.Lock()  # the first to listen chooses the port, the others take the same

    @property
    def dns_port(self) -> int:
        """Where the name servers listen: 53, or another port where we may not have that one."""
        return self._names.port

    async def enter(self, task_id: str, groups: tuple[str, ...], zone: int) -> Slot:
        """Give a task its addresses; raises OSError when one cannot be bound, LabError when none is left."""
        slot = self.network.slot(self._slots.take(), zone)
        member = self._members[task_id] = _Member(slot, groups)
        try:
            for name, target in self.targets.items():
                gate = member.gates[name] = Gate((target.address(slot), target.port), target.server)
                gate.set(self._passage(member, name))
            if self._names_up:
                await self._listen(slot)
        except OSError:
            await self.leave(task_id)
            raise
        return slot

    async def leave(self, task_id: str) -> None:
        """Take a task's addresses back; nothing for one that never entered."""
        member = self._members.pop(task_id, None)
        if member is None:
            return
        self._names.close(member.slot.resolver)
        await asyncio.gather(*(gate.aclose() for gate in member.gates.values()))
        self._slots.give_back(member.slot.number)

    def refresh(self) -> None:
        """Let every gate do what the security groups say now."""
        for member in self._members.values():
            for name, gate in member.gates.items():
                gate.set(self._passage(member, name))

    def set_running(self, target: str, running: bool) -> None:
        """A target was started or has stopped."""
        (self._stopped.discard if running else self._stopped.add)(target)
        self.refresh()

    async def start_names(self) -> None:
        """Answer names again."""
        self._names_up = True
        for member in list(self._members.values()):
            await self._listen(member.slot)

    async def stop_names(self) -> None:
        """Answer no names: the port refuses."""
        self._names_up = False
        await self._names.aclose()

    @property
    def names_running(self) -> bool:
        """Whether names are answered."""
        return self._names_up

    def enlist(self, name: str, task_id: str, address: str) -> None:
        """Let a service's name lead to this task, too."""
        self._services.setdefault(name.lower(), {})[task_id] = address

    def delist(self, name: str, task_id: str) -> None:
        """Take the task out of the name again."""
        self._services.get(name.lower(), {}).pop(task_id, None)

    def lookup(self, name: str, asked: str) -> Answer:
        """What `name` means to the task whose name server is at `asked`."""
        if name in self.records:
            return self.records[name]
        if name in self._services:
            return Answer(addresses=tuple(self._services[name].values()))
        for target in self.targets.values():
            if name == target.host:
                slots = [member.slot for member in self._members.values() if member.slot.resolver == asked]
                return Answer(addresses=tuple(target.address(slot) for slot in slots))
        if any(known.endswith(f".{name}") for known in self._known_names()):
            return Answer()  # a name with others below it exists, without an address (RFC 8020)
        return NXDOMAIN

    async def aclose(self) -> None:
        """Let every task go."""
        for task_id in list(self._members):
            await self.leave(task_id)
        await self._names.aclose()

    async def _listen(self, slot: Slot) -> None:
        async with self._listening:
            await self._names.listen(slot.resolver)

    def _known_names(self) -> list[str]:
        return [*self._services, *(target.host for target in self.targets.values())]

    def _passage(self, member: _Member, name: str) -> Passage:
        target = self.targets[name]
        there, here = Peer(target.address(member.slot), target.groups), Peer(member.slot.task, member.groups)
        out = admits(self._groups.egress(member.groups), target.port, there)
        if not (out and admits(self._groups.ingress(target.groups), target.port, here)):
            return Passage.SILENT
        return Passage.REFUSED if name in self._stopped else Passage.OPEN


def _may_bind(address: str, port: int) -> bool:
    with socket.socket() as trial:
        try:
            trial.bind((address, port))
        except PermissionError:
            return False
    return True

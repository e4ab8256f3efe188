"""Whether security groups admit a connection (Amazon VPC User Guide, 'Security group rules')."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

ANY_PROTOCOL: Final = "-1"
TCP: Final = "tcp"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a group: a port range of a protocol, from or to a CIDR block or the members of another group."""

    protocol: str
    first_port: int | None
    last_port: int | None
    cidr: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a connection: its address and the groups that it is a member of."""

    address: str
    groups: Collection[str]


def admits(rules: Iterable[Rule], port: int, peer: Peer) -> bool:
    """Whether one of `rules` lets TCP to `port` pass from, or to, `peer`; what no rule admits is dropped."""
    return any(_covers(rule, port) and _concerns(rule, peer) for rule in rules)


def _covers(rule: Rule, port: int) -> bool:
    if rule.protocol == ANY_PROTOCOL:
        return True
    if rule.protocol != TCP or rule.first_port is None or rule.last_port is None:
        return False
    return rule.first_port <= port <= rule.last_port


def _concerns(rule: Rule, peer: Peer) -> bool:
    if rule.group is not None:
        return rule.group in peer.groups
    return rule.cidr is not None and ip_address(peer.address) in ip_network(rule.cidr, strict=False)

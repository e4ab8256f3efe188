"""Security groups as moto keeps them, read as rules that a firewall can apply."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from toolbox.lab.aws.backends import Backends
from toolbox.lab.firewall import Rule

if TYPE_CHECKING:
    from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupRule


def ingress(backends: Backends, group_ids: Iterable[str]) -> list[Rule]:
    """What may come in to members of these groups."""
    with backends.locked():
        return [_rule(rule) for group in _groups(backends, group_ids) for rule in group.ingress_rules]


def egress(backends: Backends, group_ids: Iterable[str]) -> list[Rule]:
    """What may go out from members of these groups."""
    with backends.locked():
        return [_rule(rule) for group in _groups(backends, group_ids) for rule in group.egress_rules]


def _groups(backends: Backends, group_ids: Iterable[str]) -> "Iterator[SecurityGroup]":
    for group_id in group_ids:
        group = backends.ec2.get_security_group_from_id(group_id)
        if group is not None:
            yield group


def _rule(rule: "SecurityGroupRule") -> Rule:
    return Rule(
        protocol=rule.ip_protocol or "-1",
        first_port=rule.from_port,
        last_port=rule.to_port,
        cidr=rule.cidr_ipv4,
        group=rule.source_group.get("GroupId"),
    )

"""What exists beside ECS (contract.World), as AWS's API shows it: here above all a task's place in the network."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from toolbox.errors import LabError
from toolbox.lab.addresses import Slot
from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Identities
from toolbox.lab.contract import Grant, Image, LogStream, Placement, StartFailure, TargetGroup
from toolbox.lab.fetching import Fetcher
from toolbox.lab.vpc import DNS_PORT, Vpc

if TYPE_CHECKING:
    from moto.ec2.models.subnets import Subnet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """What the supervisor says of the place where tasks run."""

    credentials_url: str
    environment: Mapping[str, str]
    """What every container is given: region and endpoint."""
    scale: float
    """What the load balancer's interval is multiplied by: seconds must do for minutes."""


class LabWorld:
    """The World over moto's backends, the network and the identities."""

    def __init__(self, backends: Backends, identities: Identities, vpc: Vpc, site: Site) -> None:
        self._backends = backends
        self._identities = identities
        self._vpc = vpc
        self._site = site
        self._fetcher = Fetcher(backends, identities)
        self._turn = count()
        self._interfaces: dict[str, list[str]] = {}

    async def image(self, reference: str, execution_role: str | None) -> Image:
        """See contract.World."""
        return self._fetcher.image(reference, execution_role)

    async def secret(self, value_from: str, execution_role: str | None) -> str:
        """See contract.World."""
        return self._fetcher.secret(value_from, execution_role)

    async def log_stream(self, options: Mapping[str, str], stream: str, execution_role: str | None) -> LogStream:
        """See contract.World."""
        return self._fetcher.log_stream(options.get("awslogs-group", ""), stream, execution_role)

    async def place(self, placement: Placement) -> Grant:
        """See contract.World."""
        subnet_id = placement.subnets[next(self._turn) % len(placement.subnets)]
        with self._backends.locked():
            subnet = self._subnets().get(subnet_id)
        if subnet is None:
            raise StartFailure(f"Unexpected EC2 error while attempting to create network interface in {subnet_id}")
        zone = int(subnet.cidr_block == self._vpc.network.service_cidrs[1])
        try:
            slot = await self._vpc.enter(placement.task_id, placement.security_groups, zone)
        except (OSError, LabError) as error:
            log.exception("no place for task %s", placement.task_id)
            raise StartFailure("Timeout waiting for network interface provisioning to complete.") from error
        return Grant(
            address=slot.task,
            subnet=subnet_id,
            availability_zone=subnet.availability_zone,
            interface_id=self._add_interfaces(placement, subnet_id, slot),
            hosts=self._hosts(slot),
            resolv_conf=f"nameserver {slot.resolver}\nsearch {self._vpc.zone}\noptions timeout:2 attempts:2\n",
            environment=self._environment(placement, slot),
        )

    async def release(self, task_id: str) -> None:
        """See contract.World."""
        with self._backends.locked():
            for interface in self._interfaces.pop(task_id, []):
                self._backends.ec2.delete_network_interface(interface)
        self._identities.close_task(task_id)
        await self._vpc.leave(task_id)

    async def register(self, registry_arn: str, task_id: str, address: str, port: int | None) -> None:
        """See contract.World."""
        with self._backends.locked():
            service = self._service(registry_arn)
            if service is None:
                return
            service_id, name = service
            attributes = {"AWS_INSTANCE_IPV4": address} | ({"AWS_INSTANCE_PORT": str(port)} if port else {})
            self._backends.discovery.register_instance(service_id, task_id, "", attributes)
        self._vpc.enlist(name, task_id, address)

    async def deregister(self, registry_arn: str, task_id: str) -> None:
        """See contract.World."""
        with self._backends.locked():
            service = self._service(registry_arn)
            if service is None:
                return
            service_id, name = service
            if any(one.instance_id == task_id for one in self._backends.discovery.list_instances(service_id)):
                self._backends.discovery.deregister_instance(service_id, task_id)
        self._vpc.delist(name, task_id)

    def target_group(self, arn: str) -> TargetGroup | None:
        """See contract.World."""
        with self._backends.locked():
            group = self._backends.elb.target_groups.get(arn)
            if group is None:
                return None
            return TargetGroup(
                arn=arn,
                port=int(group.port),
                path=group.health_check_path or "/",
                matcher=str(group.matcher.get("HttpCode", "200")),
                interval=self._site.scale * float(group.health_check_interval_seconds),
                timeout=float(group.health_check_timeout_seconds),
                healthy_threshold=int(group.healthy_threshold_count),
                unhealthy_threshold=int(group.unhealthy_threshold_count),
            )

    def role_exists(self, arn: str) -> bool:
        """See contract.World."""
        return self._identities.role_exists(arn)

    def role_allows(self, arn: str | None, actions: Sequence[str]) -> bool:
        """See contract.World."""
        return self._identities.role_allows(arn, actions)

    def _add_interfaces(self, placement: Placement, subnet: str, slot: Slot) -> str:
        """The task's network interface, and for each target the one that this task sees it by."""
        with self._backends.locked():
            create = self._backends.ec2.create_network_interface
            attachment = f"arn:aws:ecs:{REGION}:{ACCOUNT}:attachment/{placement.task_id}"
            own = create(subnet, slot.task, group_ids=list(placement.security_groups), description=attachment)
            cidr = self._vpc.network.data_cidr
            data = next(found.id for found in self._subnets().values() if found.cidr_block == cidr)
            others = [
                create(data, target.address(slot), group_ids=list(target.groups), description=target.host)
                for target in self._vpc.targets.values()
            ]
        self._interfaces[placement.task_id] = [own.id, *(other.id for other in others)]
        interface: str = own.id
        return interface

    def _subnets(self) -> "dict[str, Subnet]":
        return {subnet.id: subnet for zone in self._backends.ec2.subnets.values() for subnet in zone.values()}

    def _hosts(self, slot: Slot) -> str:
        """As root, what a task's hosts file says on Fargate; otherwise the names that the resolver cannot give."""
        lines = ["127.0.0.1 localhost", f"{slot.task} ip-{slot.task.replace('.', '-')}.{self._vpc.zone}"]
        if self._vpc.dns_port != DNS_PORT:
            lines += [f"{target.address(slot)} {target.host}" for target in self._vpc.targets.values()]
        return "\n".join(lines) + "\n"

    def _environment(self, placement: Placement, slot: Slot) -> dict[str, str]:
        environment = {**self._site.environment, "LAB_ADDRESS": slot.task}
        if self._vpc.dns_port != DNS_PORT:
            environment["TOOLBOX_RESOLVER"] = f"{slot.resolver}:{self._vpc.dns_port}"
        if placement.task_role_arn:
            token = self._identities.open_task(placement.task_id, placement.task_role_arn)
            environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = f"{self._site.credentials_url}{placement.task_id}"
            environment["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = token
        return environment

    def _service(self, registry_arn: str) -> tuple[str, str] | None:
        """A Cloud Map service's id and its name within its namespace; the caller holds the lock."""
        for service in self._backends.discovery.services.values():
            if service.arn == registry_arn:
                namespace = self._backends.discovery.namespaces[service.namespace_id]
                return service.id, f"{service.name}.{namespace.name}"
        return None

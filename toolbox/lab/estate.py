"""What the account holds before the first task runs: network, names, roles, images, secrets, log groups.

Written into moto's backends directly, in its worker thread; `fleet.py` turns it into ECS services.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from toolbox.inventory import Inventory, Service
from toolbox.lab.addresses import DATABASE, REDIS, Network
from toolbox.lab.aws.backends import ACCOUNT, REGION, Backends
from toolbox.lab.aws.identities import Credentials
from toolbox.lab.images import manifest
from toolbox.launcher.image import repository_root

ZONES: Final = (f"{REGION}a", f"{REGION}b")
REGISTRY: Final = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
PERSON: Final = "oncall"
TOOLBOX_REPOSITORY: Final = "tracker-toolbox"
_BALANCER_NAME: Final = "tracker-production.elb.lab.internal"  # a name that nobody outside is asked for
_TRUST: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
_EXECUTION: Final = (
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "secretsmanager:GetSecretValue",
    "ssm:GetParameters",
)


@dataclass(frozen=True, slots=True)
class Program:
    """What an image holds."""

    entry_point: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What the estate is built from. `secrets` maps names to values; `images` repository and tag to programs."""

    inventory: Inventory
    network: Network
    zone: str
    secrets: Mapping[str, str] = field(repr=False)
    images: Mapping[tuple[str, str], Program] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Estate:
    """The names of what was built."""

    subnets: tuple[str, str]
    service_group: str
    database_group: str
    redis_group: str
    task_role: str
    execution_role: str
    secrets: Mapping[str, str]
    target_groups: Mapping[str, str]
    registries: Mapping[str, str]
    person: Credentials


def build(backends: Backends, plan: Blueprint) -> Estate:
    """Build it all; to be run in the backends' worker thread."""
    vpc_id, subnets = _network(backends, plan)
    service_group, database_group, redis_group, balancer_group = _groups(backends, plan, vpc_id)
    task_role, execution_role = _roles(backends)
    for (repository, tag), program in plan.images.items():
        push(backends, repository, tag, program)
    for service in plan.inventory.services:
        backends.logs.create_log_group(log_group(service), {})
    return Estate(
        subnets=subnets,
        service_group=service_group,
        database_group=database_group,
        redis_group=redis_group,
        task_role=task_role,
        execution_role=execution_role,
        secrets={name: _secret(backends, name, value) for name, value in plan.secrets.items()},
        target_groups=_balancer(backends, plan, vpc_id, subnets, balancer_group),
        registries=_registries(backends, plan, vpc_id),
        person=_person(backends),
    )


def log_group(service: Service) -> str:
    """The log group of a service."""
    return f"/ecs/{service.name}"


def is_public(inventory: Inventory, service: Service) -> bool:
    """Whether a load balancer stands before it: the api and what serves people without needing the api's database."""
    return inventory.short(service.name) in ("api", "frontend")


def push(backends: Backends, repository: str, tag: str, program: Program) -> None:
    """Make the repository if need be, and the image."""
    if repository not in backends.ecr.repositories:
        backends.ecr.create_repository(repository, None, {}, {}, "MUTABLE", [])
    backends.ecr.put_image(repository, manifest(program.entry_point, (), program.environment), tag)


def _network(backends: Backends, plan: Blueprint) -> tuple[str, tuple[str, str]]:
    """A VPC with a subnet for services in each of two zones and one for the data, one route table and one ACL."""
    ec2 = backends.ec2
    vpc = ec2.create_vpc(plan.network.cidr, tags=_tags("tracker-production"))
    gateway = ec2.create_internet_gateway(_tags("tracker-production"))
    ec2.attach_internet_gateway(gateway.id, vpc.id)
    table = ec2.create_route_table(vpc.id, _tags("tracker-production-services"))
    ec2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
    places = [*zip(plan.network.service_cidrs, ZONES, ("services-a", "services-b"), strict=True)]
    places.append((plan.network.data_cidr, ZONES[0], "data"))
    ids = []
    for cidr, zone, name in places:
        subnet = ec2.create_subnet(vpc.id, cidr, availability_zone=zone)
        ec2.create_tags([subnet.id], {"Name": f"tracker-production-{name}"})
        ids.append(subnet.id)
    for subnet_id in ids[:2]:
        ec2.associate_route_table(table.id, subnet_id=subnet_id)
    return vpc.id, (ids[0], ids[1])


def _groups(backends: Backends, plan: Blueprint, vpc_id: str) -> tuple[str, str, str, str]:
    """Security groups of services, database, Redis and load balancer, each open to just those who need it."""
    ec2 = backends.ec2

    def create(name: str, description: str) -> str:
        group_id: str = ec2.create_security_group(f"tracker-production-{name}", description, vpc_id, {}).id
        return group_id

    services = create("services", "The tracker's ECS tasks")
    database = create("database", "PostgreSQL")
    redis = create("redis", "Redis")
    balancer = create("balancer", "The load balancer")

    def allow(group: str, port: int, *, source: str | None = None, cidr: str | None = None) -> None:
        ranges = [{"CidrIp": cidr}] if cidr else []
        groups = [{"GroupId": source}] if source else []
        ec2.authorize_security_group_ingress(group, "tcp", str(port), str(port), ranges, source_groups=groups)

    allow(database, DATABASE[1], source=services)
    allow(redis, REDIS[1], source=services)
    allow(balancer, 443, cidr="0.0.0.0/0")
    for port in sorted({service.http.port for service in plan.inventory.services if service.http}):
        allow(services, port, source=services)
        allow(services, port, source=balancer)
    return services, database, redis, balancer


def _roles(backends: Backends) -> tuple[str, str]:
    """The role that the tasks have, with exactly the policy that the repository offers, and the execution role."""
    task_policy = (repository_root() / "toolbox" / "launcher" / "task-role-policy.json").read_text("utf-8")
    allow = {"Effect": "Allow", "Action": list(_EXECUTION), "Resource": "*"}
    execution_policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    arns = []
    for name, policy in (("tracker-production-task", task_policy), ("tracker-production-execution", execution_policy)):
        role = backends.iam.create_role(name, _TRUST, "/", None, "", [], None)
        backends.iam.put_role_policy(name, name, policy)
        arns.append(role.arn)
    return arns[0], arns[1]


def _secret(backends: Backends, name: str, value: str) -> str:
    """Create a secret; its ARN."""
    answer: Any = backends.secrets.create_secret(name, value, None, None, [], None, None, [], False)
    arn: str = (json.loads(answer) if isinstance(answer, str) else answer)["ARN"]
    return arn


def _balancer(backends: Backends, plan: Blueprint, vpc_id: str, subnets: tuple[str, str], group: str) -> dict[str, str]:
    """A load balancer, and the ARN of a target group for each service behind it."""
    balancer = backends.elb.create_load_balancer(
        "tracker-production", [group], list(subnets), loadbalancer_type="application"
    )
    balancer.dns_name = _BALANCER_NAME
    arns = {}
    for number, service in enumerate(plan.inventory.services):
        if service.http is None or not is_public(plan.inventory, service):
            continue
        target_group = backends.elb.create_target_group(
            f"tracker-{plan.inventory.short(service.name)}"[:32],
            vpc_id=vpc_id,
            protocol="HTTP",
            port=str(service.http.port),
            target_type="ip",
            healthcheck_protocol="HTTP",
            healthcheck_path=service.http.path,
            healthcheck_interval_seconds=5,
            healthcheck_timeout_seconds=2,
            healthy_threshold_count="2",
            unhealthy_threshold_count="2",
            matcher={"HttpCode": str(service.http.status)},
        )
        forward = {"Type": "forward", "TargetGroupArn": target_group.arn}
        backends.elb.create_listener(balancer.arn, "HTTP", str(8000 + number), "", None, [forward])
        arns[service.name] = target_group.arn
    return arns


def _registries(backends: Backends, plan: Blueprint, vpc_id: str) -> dict[str, str]:
    """A private DNS namespace, and the ARN of a Cloud Map service for each service that others can call."""
    discovery = backends.discovery
    discovery.create_private_dns_namespace(plan.zone, "lab", "", vpc_id, [], {"DnsProperties": {"SOA": {"TTL": 15}}})
    namespace = next(one for one in discovery.namespaces.values() if one.name == plan.zone)
    arns = {}
    for service in plan.inventory.services:
        if service.http:
            short = plan.inventory.short(service.name)
            dns = {"RoutingPolicy": "MULTIVALUE", "DnsRecords": [{"Type": "A", "TTL": 5}]}
            made = discovery.create_service(short, namespace.id, short, "", dns, {}, {"FailureThreshold": 1}, [], "")
            arns[service.name] = made.arn
    return arns


def _person(backends: Backends) -> Credentials:
    """The IAM user who works with the lab: may everything until a policy says otherwise."""
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    backends.iam.create_user(REGION, PERSON)
    backends.iam.put_user_policy(PERSON, "everything", json.dumps(everything))
    key = backends.iam.create_access_key(PERSON)
    return Credentials(key.access_key_id, key.secret_access_key)


def _tags(name: str) -> list[dict[str, str]]:
    return [{"Key": "Name", "Value": name}]

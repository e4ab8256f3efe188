"""A small, real world around the lab's ECS: images are argv, secrets are words, logs are lists."""

import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from toolbox.lab.contract import Grant, Image, Placement, StartFailure, TargetGroup
from toolbox.lab.ecs.containers import repository

REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
_addresses = itertools.count(20)
_digests = itertools.count(1)


@dataclass
class ListStream:
    """Keeps lines."""

    lines: list[str] = field(default_factory=list)
    closed: bool = False

    def write(self, line: str) -> None:
        self.lines.append(line)

    def close(self) -> None:
        self.closed = True


@dataclass
class ListWorld:
    """The contract's World in memory. `tags` maps references to digests, `images` digests to images."""

    tags: dict[str, str] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    streams: dict[str, ListStream] = field(default_factory=dict)
    groups: dict[str, TargetGroup] = field(default_factory=dict)
    placed: dict[str, Grant] = field(default_factory=dict)
    registered: set[tuple[str, str]] = field(default_factory=set)
    missing_roles: set[str] = field(default_factory=set)
    denied_actions: set[str] = field(default_factory=set)
    asked_for_rights: int = 0
    no_addresses: bool = False
    secrets_arrive: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.secrets_arrive.set()

    def push(self, tag: str, *argv: str, environment: Mapping[str, str] | None = None) -> str:
        """Point `tag` to a new image; returns its reference."""
        reference = f"{REGISTRY}/app:{tag}"
        digest = f"sha256:{next(_digests):064x}"
        self.images[digest] = Image(digest, argv[:1], argv[1:], environment or {})
        self.tags[reference] = digest
        return reference

    def push_python(self, tag: str, program: str) -> str:
        """An image that runs a Python program."""
        return self.push(tag, sys.executable, "-S", "-c", program)

    async def image(self, reference: str, execution_role: str | None) -> Image:
        digest = reference.partition("@")[2] or self.tags.get(reference, "")
        if digest not in self.images:
            raise StartFailure(
                f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
                f" {reference}: {repository(reference)}: not found"
            )
        return self.images[digest]

    async def secret(self, value_from: str, execution_role: str | None) -> str:
        await self.secrets_arrive.wait()
        if value_from not in self.secrets:
            raise StartFailure(
                "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval"
                f" failed: unable to retrieve secret from asm: service call has been retried 1 time(s): {value_from}:"
                " ResourceNotFoundException: Secrets Manager can't find the specified secret."
            )
        return self.secrets[value_from]

    async def log_stream(self, options: Mapping[str, str], stream: str, execution_role: str | None) -> ListStream:
        return self.streams.setdefault(stream, ListStream())

    async def place(self, placement: Placement) -> Grant:
        if self.no_addresses:
            raise StartFailure("Timeout waiting for network interface provisioning to complete.")
        number = next(_addresses)
        address = f"127.77.{number // 250}.{number % 250 + 1}"
        hosts = f"127.0.0.1 localhost\n{address} task\n"
        grant = Grant(
            address, placement.subnets[0], "eu-central-1a", f"eni-{number:017x}", hosts, "nameserver 127.0.0.1\n"
        )
        self.placed[placement.task_id] = replace(grant, environment={"TASK_ADDRESS": address})
        return self.placed[placement.task_id]

    async def release(self, task_id: str) -> None:
        self.placed.pop(task_id)

    async def register(self, registry_arn: str, task_id: str, address: str, port: int | None) -> None:
        self.registered.add((registry_arn, task_id))

    async def deregister(self, registry_arn: str, task_id: str) -> None:
        self.registered.discard((registry_arn, task_id))

    def target_group(self, arn: str) -> TargetGroup | None:
        return self.groups.get(arn)

    def role_exists(self, arn: str) -> bool:
        return arn not in self.missing_roles

    def role_allows(self, arn: str | None, actions: Sequence[str]) -> bool:
        self.asked_for_rights += 1
        return arn is not None and not self.denied_actions & set(actions)

    def lines(self, task_id: str, container: str = "app") -> list[str]:
        """What a container logged."""
        return self.streams[f"lab/{container}/{task_id}"].lines

"""What the lab's parts promise one another, so that each can be read, and tested, without the others.

ECS (`lab/ecs/`) decides *when* a task runs; the `World` knows what exists beside ECS (images, secrets, log groups,
names, roles); ECS Exec (`lab/execagent.py`) carries a session to a process that the runtime started in a task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class StartFailure(Exception):
    """A task cannot start; `reason` is worded as AWS words stoppedReason (`CannotPullContainerError: …`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Image:
    """What an ECR tag stands for in the lab: an argv instead of layers."""

    digest: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """A task that asks for an address: where ECS puts it and which groups it belongs to."""

    task_id: str
    group: str
    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    task_role_arn: str | None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a placed task gets: its own loopback address and how it sees names.

    `hosts` and `resolv_conf` are the files' texts; `environment` is added to each of its containers.
    """

    address: str
    subnet: str
    availability_zone: str
    interface_id: str
    hosts: str
    resolv_conf: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """What ECS must know of a target group to check its targets itself. Seconds; `matcher` as ELB writes it."""

    arn: str
    port: int
    path: str
    matcher: str
    interval: float
    timeout: float
    healthy_threshold: int
    unhealthy_threshold: int


class LogStream(Protocol):
    """Where the lines of one container go."""

    def write(self, line: str) -> None:
        """Keep one line, without its newline, stamped with the time of the call."""

    def close(self) -> None:
        """No line follows; what was written is readable from now on."""


class World(Protocol):
    """What ECS needs from everything beside it. `execution_role` and `task_role` are ARNs or None."""

    async def image(self, reference: str, execution_role: str | None) -> Image:
        """The image behind `repository:tag` or `repository@digest`; raises StartFailure."""

    async def secret(self, value_from: str, execution_role: str | None) -> str:
        """The value behind a Secrets Manager ARN (also `arn:json-key::`) or an SSM parameter; raises StartFailure."""

    async def log_stream(self, options: Mapping[str, str], stream: str, execution_role: str | None) -> LogStream:
        """A new stream in the group that awslogs `options` name; raises StartFailure."""

    async def place(self, placement: Placement) -> Grant:
        """An address and names for a task; raises StartFailure."""

    async def release(self, task_id: str) -> None:
        """Take back what `place` gave."""

    async def register(self, registry_arn: str, task_id: str, address: str, port: int | None) -> None:
        """Enter a task into a Cloud Map service."""

    async def deregister(self, registry_arn: str, task_id: str) -> None:
        """Take it out again."""

    def target_group(self, arn: str) -> TargetGroup | None:
        """The target group, or None when it was deleted."""

    def role_exists(self, arn: str) -> bool:
        """Whether ECS can assume this role."""

    def role_allows(self, arn: str | None, actions: Sequence[str]) -> bool:
        """Whether the role's policies grant all of these actions."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """The KMS key that a cluster encrypts its sessions with, the session's target, and whose rights the agent has."""

    key_id: str
    target: str
    task_role: str | None


class KeyDenied(Exception):
    """KMS does not decrypt a data key; the text is AWS's code and words."""


class Channel(Protocol):
    """One websocket, as the ASGI server hands it over, already accepted."""

    async def receive(self) -> str | bytes | None:
        """The next message; None once the peer has gone."""

    async def send(self, message: str | bytes) -> None:
        """Send one; does nothing once the peer has gone."""

    async def close(self) -> None:
        """Close the websocket."""


class PtyProcess(Protocol):
    """A process on a pseudo-terminal inside a task."""

    @property
    def master(self) -> int:
        """The terminal's master side: a file descriptor that its user owns and closes."""

    async def wait(self) -> int:
        """The exit code, 128 + number for a signal."""

    def hang_up(self) -> None:
        """End it as a closed terminal does: SIGHUP to its session, SIGKILL to what stays."""


class Spawner(Protocol):
    """Starts a process inside a running task's container."""

    async def spawn(self, task_id: str, container: str, argv: Sequence[str]) -> PtyProcess:
        """The started process; raises FileNotFoundError when `argv[0]` is nowhere on the container's PATH."""

"""What ECS remembers: clusters, task definitions, tasks, services, deployments. Nothing here acts."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from toolbox.lab.contract import Grant
from toolbox.lab.ecs.events import EventLog

Document: TypeAlias = dict[str, Any]

PENDING_STATES: Final = ("PROVISIONING", "PENDING", "ACTIVATING")
PRIMARY: Final = "PRIMARY"
ACTIVE: Final = "ACTIVE"
DRAINING: Final = "DRAINING"
INACTIVE: Final = "INACTIVE"
IN_PROGRESS: Final = "IN_PROGRESS"
COMPLETED: Final = "COMPLETED"
FAILED: Final = "FAILED"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the lab's ECS takes for what takes AWS minutes. Seconds.

    `scale` is applied to every number of seconds that a caller gives (stopTimeout, health checks, grace period); the
    comment names AWS's own figure.
    """

    scale: float = 0.1
    provisioning: float = 0.05  # about 10 s for the network interface
    visible_after: float = 0.15  # DescribeTasks says MISSING right after RunTask, up to a minute
    deployment_start: float = 0.3  # a few seconds with PRIMARY 0/0
    settle: float = 1.0  # 40 s that a task without health check must run before it counts
    deregistration_delay: float = 1.0  # 300 s unless the target group says otherwise
    stop_timeout: float = 30.0  # scaled; Fargate's default
    relaunch: float = 0.3  # a few seconds from a task's end to the next
    throttle_first: float = 0.5  # the first wait after a task that never ran
    throttle_longest: float = 30.0  # 15 to 27 minutes
    agent_start: float = 0.1  # ECS Exec's agent, after RUNNING
    agent_connects: float = 0.2  # from its RUNNING to its first answer
    steady_repeat: float = 6 * 3600.0
    stopped_visible: float = 3600.0


@dataclass(slots=True)
class TaskDefinition:
    """A revision; `body` is what RegisterTaskDefinition got, without tags."""

    arn: str
    family: str
    revision: int
    body: Document
    registered_at: float
    registered_by: str
    deregistered_at: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """ACTIVE or INACTIVE."""
        return ACTIVE if self.deregistered_at is None else INACTIVE

    def container(self, name: str) -> Document | None:
        """The container definition called `name`."""
        return next((c for c in self.body["containerDefinitions"] if c["name"] == name), None)


@dataclass(slots=True)
class Cluster:
    """A cluster; services stay findable by name until another takes the name."""

    name: str
    arn: str
    settings: Document
    tags: dict[str, str]
    services: dict[str, "Service"] = field(default_factory=dict)
    tasks: dict[str, "Task"] = field(default_factory=dict)


@dataclass(slots=True)
class ContainerState:
    """One container of a task."""

    name: str
    arn: str
    definition: Document
    runtime_id: str
    status: str = "PENDING"
    digest: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    health: str = "UNKNOWN"
    agent_status: str | None = None
    agent_started_at: float | None = None

    @property
    def essential(self) -> bool:
        """Whether the task ends with it."""
        return bool(self.definition.get("essential", True))


@dataclass(slots=True)
class Task:
    """A task; `times` holds the API's …At fields that have happened."""

    id: str
    arn: str
    cluster: Cluster
    definition: TaskDefinition
    group: str
    containers: list[ContainerState]
    network: Document
    overrides: Document
    times: dict[str, float]
    started_by: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    exec_enabled: bool = False
    deployment: "Deployment | None" = None
    load_balancers: list[Document] = field(default_factory=list)
    registries: list[Document] = field(default_factory=list)
    status: str = "PROVISIONING"
    desired: str = "RUNNING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    grant: Grant | None = None
    attachment_id: str = ""
    attachment_status: str = "PRECREATED"
    version: int = 1
    unhealthy_reason: str | None = None  # the service scheduler's verdict, once it has one
    accounted: bool = False  # the service scheduler has drawn its conclusions from its end
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    stop_code_to_be: str = ""
    on_change: Callable[[], None] = lambda: None
    narrate: Callable[[str], None] = lambda message: None

    @property
    def health(self) -> str:
        """The worst of its essential containers that have a check; UNKNOWN without one."""
        checked = [c.health for c in self.containers if c.essential and "healthCheck" in c.definition]
        return next((state for state in ("UNHEALTHY", "UNKNOWN", "HEALTHY") if state in checked), "UNKNOWN")

    @property
    def checked(self) -> bool:
        """Whether its task definition has a container health check that counts."""
        return any(c.essential and "healthCheck" in c.definition for c in self.containers)

    def changed(self) -> None:
        """Count the change and tell whoever waits for it."""
        self.version += 1
        self.on_change()


@dataclass(slots=True)
class Revision:
    """What a deployment deploys: a service revision. `digests` are pinned when its first task pulls."""

    arn: str
    definition: TaskDefinition
    settings: Document
    created_at: float
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Rollout:
    """A service deployment as ListServiceDeployments shows it: one verdict, a rollback included."""

    arn: str
    target: Revision
    sources: list[Revision]
    created_at: float
    configuration: Document
    status: str = IN_PROGRESS
    reason: str | None = None
    started_at: float | None = None
    finished_at: float | None = None
    stopped_at: float | None = None
    updated_at: float = 0.0
    failures: int = 0
    triggered: bool = False
    rollback: Document | None = None


@dataclass(slots=True)
class Deployment:
    """An entry of a service's deployments[]."""

    id: str
    revision: Revision
    rollout: Rollout
    created_at: float
    updated_at: float
    begins_at: float
    desired: int = 0
    status: str = PRIMARY
    rollout_state: str = IN_PROGRESS
    reason: str = ""
    failed_tasks: int = 0
    has_served: bool = False  # at least one of its tasks passed its checks


@dataclass(slots=True)
class Service:
    """A service; `settings` holds what CreateService and UpdateService set beside counts."""

    name: str
    arn: str
    cluster: Cluster
    settings: Document
    desired: int
    created_at: float
    created_by: str
    tags: dict[str, str]
    events: EventLog
    status: str = ACTIVE
    deployments: list[Deployment] = field(default_factory=list)
    rollouts: list[Rollout] = field(default_factory=list)
    revisions: list[Revision] = field(default_factory=list)
    last_good: Revision | None = None  # of the last deployment that completed: what a rollback goes back to
    last_good_id: str | None = None
    tasks: list[Task] = field(default_factory=list)
    launches_failed: int = 0  # in a row, of tasks that never ran
    next_launch_at: float = 0.0
    steady: bool = False
    steady_said_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def primary(self) -> Deployment:
        """The newest deployment."""
        return self.deployments[0]

    def running_of(self, deployment: Deployment | None = None) -> int:
        """Tasks whose last status is RUNNING, of one deployment or of all."""
        return self._count(("RUNNING",), deployment)

    def pending_of(self, deployment: Deployment | None = None) -> int:
        """Tasks that do not run yet."""
        return self._count(PENDING_STATES, deployment)

    def _count(self, states: tuple[str, ...], deployment: Deployment | None) -> int:
        return sum(t.status in states and deployment in (None, t.deployment) for t in self.tasks)


@dataclass(slots=True)
class State:
    """Everything of one account and region."""

    account: str
    region: str
    clusters: dict[str, Cluster] = field(default_factory=dict)
    definitions: dict[str, list[TaskDefinition]] = field(default_factory=dict)
    run_tokens: dict[tuple[str, str], tuple[Mapping[str, Any], list[Task]]] = field(default_factory=dict)

    def arn(self, resource: str) -> str:
        """The ARN of `resource` (`cluster/NAME`, …)."""
        return f"arn:aws:ecs:{self.region}:{self.account}:{resource}"

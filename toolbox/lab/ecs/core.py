"""What the actions work on: the state, and the machinery that makes tasks live."""

import asyncio
import secrets
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from toolbox.lab.contract import SessionKey, World
from toolbox.lab.ecs.background import report_failure
from toolbox.lab.ecs.errors import EcsApiError, client, cluster_not_found, role_not_assumable, service_not_found
from toolbox.lab.ecs.health import Target
from toolbox.lab.ecs.scheduler import Scheduler
from toolbox.lab.ecs.state import (
    ACTIVE,
    Cluster,
    ContainerState,
    Deployment,
    Document,
    Service,
    State,
    Task,
    TaskDefinition,
    Timings,
)
from toolbox.lab.ecs.tasks import Surroundings, TaskLife
from toolbox.lab.runtime.containers import Runtime

OpenSession: TypeAlias = Callable[[str, str, str, SessionKey | None], tuple[str, str, str]]
_DEFAULT_CLUSTER: Final = "default"


class Core:
    """One account's ECS. `open_session` maps task id, container, command and key to a session's id, URL and token."""

    def __init__(
        self,
        world: World,
        runtime: Runtime,
        open_session: OpenSession,
        task_stopped: Callable[[str], None],
        state: State,
        timings: Timings,
    ) -> None:
        self.world = world
        self.runtime = runtime
        self.open_session = open_session
        self.state = state
        self.timings = timings
        self.now = time.time
        self._task_stopped = task_stopped
        self._around = Surroundings(world, runtime, timings, state.region, self.now, self._ended)
        self.scheduler = Scheduler(self._launch_for, self.targets, timings, self.now)
        self._lives: set[asyncio.Task[None]] = set()

    def targets(self, task_id: str) -> list[Target]:
        """The ELB targets of a task."""
        return self._around.targets.get(task_id, [])

    def all_targets(self) -> Iterable[Target]:
        """The ELB targets of all tasks."""
        return (target for targets in self._around.targets.values() for target in targets)

    def cluster(self, reference: str | None) -> Cluster:
        """The cluster by name or ARN; raises ClusterNotFoundException."""
        name = (reference or _DEFAULT_CLUSTER).rpartition("/")[2]
        if (found := self.state.clusters.get(name)) is None:
            raise cluster_not_found()
        return found

    def service(self, cluster: Cluster, reference: str) -> Service:
        """The service by name or ARN; raises ServiceNotFoundException."""
        if (found := cluster.services.get(reference.rpartition("/")[2])) is None:
            raise service_not_found()
        return found

    def task(self, cluster: Cluster, reference: str) -> Task | None:
        """The task by id or ARN."""
        return cluster.tasks.get(reference.rpartition("/")[2])

    def definition(self, reference: str, *, active: bool = False) -> TaskDefinition:
        """A task definition by family, family:revision or ARN; raises ClientException."""
        family, _, revision = reference.rpartition("/")[2].partition(":")
        revisions = self.state.definitions.get(family, [])
        if revision:
            found = next((d for d in revisions if str(d.revision) == revision), None)
        else:
            found = next((d for d in reversed(revisions) if d.status == ACTIVE), None)
        if found is None:
            raise client("TaskDefinition not found." if active else "Unable to describe task definition.")
        if active and found.status != ACTIVE:
            raise client("TaskDefinition is inactive")
        return found

    def check_roles(self, definition: TaskDefinition, overrides: Document) -> None:
        """Raises ClientException when a role of the task cannot be assumed."""
        for name in ("taskRoleArn", "executionRoleArn"):
            role = overrides.get(name, definition.body.get(name))
            if role and not self.world.role_exists(role):
                raise role_not_assumable(role)

    def new_task(
        self,
        cluster: Cluster,
        definition: TaskDefinition,
        *,
        group: str,
        network: Document,
        exec_enabled: bool,
        overrides: Document | None = None,
        started_by: str | None = None,
        tags: dict[str, str] | None = None,
    ) -> Task:
        """A task that is PROVISIONING and does not live yet."""
        task_id = secrets.token_hex(16)
        containers = [
            ContainerState(
                name=body["name"],
                arn=self.state.arn(f"container/{cluster.name}/{task_id}/{uuid.uuid4()}"),
                definition=body,
                runtime_id=f"{task_id}-{secrets.randbelow(9 * 10**9) + 10**9}",
                agent_status="PENDING" if exec_enabled else None,
            )
            for body in definition.body["containerDefinitions"]
        ]
        return Task(
            id=task_id,
            arn=self.state.arn(f"task/{cluster.name}/{task_id}"),
            cluster=cluster,
            definition=definition,
            group=group,
            containers=containers,
            network=network,
            overrides=overrides or {},
            times={"createdAt": self.now()},
            started_by=started_by,
            tags=tags or {},
            exec_enabled=exec_enabled,
            attachment_id=str(uuid.uuid4()),
        )

    def live(self, task: Task, pins: dict[str, str]) -> None:
        """Let `task` live; `pins` are the digests of its deployment."""
        task.cluster.tasks[task.id] = task
        life = asyncio.create_task(TaskLife(task, self._around, pins).run(), name=f"ecs task {task.id}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)
        life.add_done_callback(report_failure)

    async def aclose(self) -> None:
        """End everything at once, without any grace."""
        await self.scheduler.aclose()
        for life in list(self._lives):
            life.cancel()
        await asyncio.gather(*list(self._lives), return_exceptions=True)
        for target in self.all_targets():
            target.close()

    def forget_old_tasks(self) -> None:
        """Drop what stopped long enough ago, and the tokens that started it."""
        oldest = self.now() - self.timings.stopped_visible
        for cluster in self.state.clusters.values():
            for task in [task for task in cluster.tasks.values() if task.times.get("stoppedAt", oldest) < oldest]:
                del cluster.tasks[task.id]
        tokens = self.state.run_tokens
        for key in [key for key, (_, tasks) in tokens.items() if all(t.id not in t.cluster.tasks for t in tasks)]:
            del tokens[key]

    def _launch_for(self, service: Service, deployment: Deployment) -> Task | str:
        """Start a task of a service's deployment; the reason when it cannot be."""
        revision = deployment.revision
        try:
            self.check_roles(revision.definition, {})
        except EcsApiError as error:
            return error.message
        settings = service.settings
        source = {"SERVICE": service.tags, "TASK_DEFINITION": revision.definition.tags}
        tags = dict(source.get(settings["propagateTags"], {}))
        if settings["enableECSManagedTags"]:
            tags |= {"aws:ecs:clusterName": service.cluster.name, "aws:ecs:serviceName": service.name}
        task = self.new_task(
            service.cluster,
            revision.definition,
            group=f"service:{service.name}",
            network=revision.settings["networkConfiguration"],
            exec_enabled=settings["enableExecuteCommand"],
            started_by=deployment.id,
            tags=tags,
        )
        task.deployment = deployment
        task.load_balancers = revision.settings["loadBalancers"]
        task.registries = revision.settings["serviceRegistries"]
        task.on_change = service.wake.set
        task.narrate = lambda text: service.events.say(self.now(), text)
        service.tasks.append(task)
        self.live(task, revision.digests)
        return task

    def _ended(self, task: Task) -> None:
        self._task_stopped(task.id)
        self.forget_old_tasks()

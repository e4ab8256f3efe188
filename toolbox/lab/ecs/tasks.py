"""The life of one task, from its network interface to STOPPED."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from toolbox.lab.contract import Image, LogStream, Placement, StartFailure, World
from toolbox.lab.ecs import events
from toolbox.lab.ecs.background import report, report_failure
from toolbox.lab.ecs.containers import container_spec, in_order, repository
from toolbox.lab.ecs.health import Target, check_container
from toolbox.lab.ecs.state import ContainerState, Task, Timings
from toolbox.lab.runtime.containers import Container, Runtime
from toolbox.lab.runtime.spec import ContainerError, ContainerSpec

_EXEC_ACTIONS: Final = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every task lives by; `targets` are all tasks' targets, by task id; `ended` hears of each stopped task."""

    world: World
    runtime: Runtime
    timings: Timings
    region: str
    now: Callable[[], float]
    ended: Callable[[Task], None]
    targets: dict[str, list[Target]] = field(default_factory=dict)


def ask_to_stop(task: Task, code: str, reason: str, now: float) -> None:
    """Let a task end; the first reason stays. Its stop code shows only once it has stopped."""
    if task.desired == "STOPPED":
        return
    task.desired = "STOPPED"
    task.stop_code_to_be = code
    task.stopped_reason = reason
    task.times["stoppingAt"] = now
    task.stop.set()
    task.changed()


class TaskLife:
    """Runs one task; `pins` maps containers to the digests that its deployment pinned, and is filled by the first."""

    def __init__(self, task: Task, around: Surroundings, pins: dict[str, str]) -> None:
        self._task = task
        self._around = around
        self._pins = pins
        self._running: dict[str, Container] = {}
        self._logs: dict[str, LogStream] = {}
        self._recorders: list[asyncio.Task[None]] = []
        self._helpers: list[asyncio.Task[None]] = []
        self._healthy: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._over = asyncio.Event()  # an essential container has ended

    async def run(self) -> None:
        """The whole life; returns when the task is STOPPED."""
        try:
            await self._live()
            await self._end()
        finally:
            for helper in (*self._helpers, *self._recorders):
                helper.cancel()

    async def _live(self) -> None:
        """Start, and run until an essential container ends or somebody asks the task to stop."""
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._task.stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                self._step("RUNNING", "startedAt")
                self._help(self._start_agents())
                await self._until_over(stopping)
        except StartFailure as failure:
            self._ask_to_stop("TaskFailedToStart", failure.reason)
        except Exception as error:  # noqa: BLE001 - the world is not ours: its failure is AWS's, and is reported
            report(f"starting task {self._task.id}", error)
            self._ask_to_stop("TaskFailedToStart", "Internal error.")
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)

    def _help(self, work: Coroutine[None, None, None]) -> None:
        """Do `work` beside the task's life, at most as long as it lasts."""
        helper = asyncio.create_task(work, name=f"helper of task {self._task.id}")
        helper.add_done_callback(report_failure)
        self._helpers.append(helper)

    async def _start(self) -> None:
        task, around = self._task, self._around
        await asyncio.sleep(around.timings.provisioning)
        network = task.network["awsvpcConfiguration"]
        role = self._role("taskRoleArn")
        groups = tuple(network.get("securityGroups", ()))
        grant = await around.world.place(Placement(task.id, task.group, tuple(network["subnets"]), groups, role))
        task.grant, task.attachment_status = grant, "ATTACHED"
        self._step("PENDING", "connectivityAt")
        secrets = {container.name: await self._secrets(container) for container in task.containers}
        for container in task.containers:
            await self._open_log(container)
        self._step("PENDING", "pullStartedAt")
        images = {container.name: await self._pull(container) for container in task.containers}
        self._step("ACTIVATING", "pullStoppedAt")
        for container in in_order(task.containers):
            await self._wait_for_dependencies(container)
            image = images[container.name]
            spec = container_spec(task, container, image, secrets[container.name], grant, around.region)
            await self._launch(container, spec)
        await self._register()

    def _role(self, name: str) -> str | None:
        role: str | None = self._task.overrides.get(name, self._task.definition.body.get(name))
        return role

    async def _secrets(self, container: ContainerState) -> dict[str, str]:
        role, wanted = self._role("executionRoleArn"), container.definition.get("secrets", [])
        return {secret["name"]: await self._around.world.secret(secret["valueFrom"], role) for secret in wanted}

    async def _open_log(self, container: ContainerState) -> None:
        configuration = container.definition.get("logConfiguration", {})
        if configuration.get("logDriver") == "awslogs":
            options: Mapping[str, str] = configuration.get("options", {})
            stream = f"{options.get('awslogs-stream-prefix', 'ecs')}/{container.name}/{self._task.id}"
            role = self._role("executionRoleArn")
            self._logs[container.name] = await self._around.world.log_stream(options, stream, role)

    async def _pull(self, container: ContainerState) -> Image:
        reference = container.definition["image"]
        if pinned := self._pins.get(container.name):
            reference = f"{repository(reference)}@{pinned}"
        try:
            image = await self._around.world.image(reference, self._role("executionRoleArn"))
        except StartFailure as failure:
            container.reason = failure.reason
            raise
        container.digest = self._pins[container.name] = image.digest
        return image

    async def _wait_for_dependencies(self, container: ContainerState) -> None:
        """dependsOn, as the ECS API reference's ContainerDependency says; START holds by the order alone."""
        for dependency in container.definition.get("dependsOn", []):
            name, condition = dependency["containerName"], dependency["condition"]
            if condition in ("COMPLETE", "SUCCESS"):
                code = await self._running[name].wait()
                if code and condition == "SUCCESS":
                    raise StartFailure(f"Container {name} exited with code {code}, which {container.name} depends on")
            if condition == "HEALTHY":
                await self._healthy[name].wait()

    async def _launch(self, container: ContainerState, spec: ContainerSpec) -> None:
        log = self._logs.get(container.name)
        try:
            running = await self._around.runtime.start(spec, log.write if log else lambda line: None)
        except ContainerError as error:
            program = spec.argv[0] if spec.argv else ""
            container.reason = (
                "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task:"
                " failed to create shim task: OCI runtime create failed: runc create failed: unable to start container"
                f' process: exec: "{program}": {error}: unknown'
            )
            raise StartFailure(container.reason) from error
        self._running[container.name] = running
        container.status = "RUNNING"
        self._recorders.append(asyncio.create_task(self._record_end(container, running)))
        if "healthCheck" in container.definition:
            self._help(self._check(container))
        self._task.changed()

    async def _record_end(self, container: ContainerState, running: Container) -> None:
        container.exit_code = await running.wait()
        container.status = "STOPPED"
        if container.essential:
            self._over.set()
        self._task.changed()

    async def _check(self, container: ContainerState) -> None:
        async def run(command: list[str], timeout: float) -> int:
            process = await self._around.runtime.run(self._task.id, container.name, command)
            try:
                async with asyncio.timeout(timeout):
                    return await process.wait()
            finally:
                process.kill()

        def changed() -> None:
            if container.health == "HEALTHY":
                self._healthy[container.name].set()
            self._task.changed()

        await check_container(container, run, self._around.timings.scale, changed)

    async def _register(self) -> None:
        task, world = self._task, self._around.world
        assert task.grant is not None
        targets = self._around.targets.setdefault(task.id, [])
        for balancer in task.load_balancers:
            group, port = balancer["targetGroupArn"], balancer["containerPort"]
            target = Target(world, group, task.id, task.grant.address, port, task.grant.availability_zone)
            targets.append(target)
            target.watch(task.changed)
            task.narrate(events.registered(group))
        for registry in task.registries:
            await world.register(registry["registryArn"], task.id, task.grant.address, registry.get("containerPort"))

    async def _start_agents(self) -> None:
        """ECS Exec's agent comes up a moment after the task, if the task role lets it dial out."""
        task, around = self._task, self._around
        if not task.exec_enabled:
            return
        await asyncio.sleep(around.timings.agent_start)
        if around.world.role_allows(self._role("taskRoleArn"), _EXEC_ACTIONS):
            for container in task.containers:
                container.agent_status, container.agent_started_at = "RUNNING", around.now()
            task.changed()

    async def _until_over(self, stopping: "asyncio.Task[bool]") -> None:
        ending = asyncio.create_task(self._over.wait())
        await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not self._task.stop.is_set():
            self._ask_to_stop("EssentialContainerExited", "Essential container in task exited")

    async def _end(self) -> None:
        task, around = self._task, self._around
        task.status = "DEACTIVATING"
        for container in task.containers:
            if container.agent_status is not None:
                container.agent_status = "STOPPED"
        task.changed()
        await self._deregister()
        task.status = "STOPPING"
        task.changed()
        await asyncio.gather(*(self._stop(container) for container in task.containers))
        if self._running:
            task.times["executionStoppedAt"] = around.now()
        task.status, task.attachment_status = "DEPROVISIONING", "DELETED"
        await self._wind_up()
        task.status, task.stop_code = "STOPPED", task.stop_code_to_be
        task.times["stoppedAt"] = around.now()
        task.changed()
        around.ended(task)

    async def _deregister(self) -> None:
        """Leave target groups and Cloud Map; give connections their time, unless nobody is there to serve them."""
        task, around = self._task, self._around
        for registry in task.registries if task.grant else ():
            await around.world.deregister(registry["registryArn"], task.id)
        targets = around.targets.get(task.id, [])
        if not targets:
            return
        for target in targets:
            target.drain()
            task.narrate(events.deregistered(target.group))
        task.narrate(events.draining(1))
        with suppress(TimeoutError):
            async with asyncio.timeout(around.timings.deregistration_delay):
                await self._over.wait()

    async def _stop(self, container: ContainerState) -> None:
        timings = self._around.timings
        if running := self._running.get(container.name):
            await running.stop(container.definition.get("stopTimeout", timings.stop_timeout) * timings.scale)
        container.status = "STOPPED"

    async def _wind_up(self) -> None:
        task, around = self._task, self._around
        await asyncio.gather(*self._recorders)
        for log in self._logs.values():
            log.close()
        around.targets.pop(task.id, None)
        if task.grant is not None:
            await around.world.release(task.id)

    def _step(self, status: str, time: str) -> None:
        self._task.status = status
        self._task.times[time] = self._around.now()
        self._task.changed()

    def _ask_to_stop(self, code: str, reason: str) -> None:
        ask_to_stop(self._task, code, reason, self._around.now())

"""The service scheduler: keeps each service's tasks as its deployments want them."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from toolbox.lab.ecs import events, rollouts
from toolbox.lab.ecs.background import report_failure
from toolbox.lab.ecs.health import HEALTHY, UNHEALTHY, Target
from toolbox.lab.ecs.plan import Plan, Seen, plan
from toolbox.lab.ecs.state import (
    ACTIVE,
    COMPLETED,
    DRAINING,
    FAILED,
    IN_PROGRESS,
    INACTIVE,
    Deployment,
    Service,
    Task,
    Timings,
)
from toolbox.lab.ecs.tasks import ask_to_stop

_IMPAIRED_AFTER: Final = 3  # launches in a row that never ran
_FAULTS: Final = ("TaskFailedToStart", "EssentialContainerExited")
_ROUTINE: Final = "Scaling activity initiated by (deployment {})"

Launch = Callable[[Service, Deployment], "Task | str"]


class Scheduler:
    """One loop a service, woken by its tasks, by requests and by the time that it named itself.

    `launch` starts a task of a deployment, or says why it cannot be launched; `targets` finds a task's ELB targets.
    """

    def __init__(
        self, launch: Launch, targets: Callable[[str], Iterable[Target]], timings: Timings, now: Callable[[], float]
    ) -> None:
        self._launch = launch
        self._targets = targets
        self._timings = timings
        self._now = now
        self._loops: set[asyncio.Task[None]] = set()

    def watch(self, service: Service) -> None:
        """Keep `service` until it is INACTIVE."""
        loop = asyncio.create_task(self._keep(service), name=f"ecs service {service.name}")
        self._loops.add(loop)
        loop.add_done_callback(self._loops.discard)
        loop.add_done_callback(report_failure)

    async def aclose(self) -> None:
        """Stop scheduling; tasks stay."""
        for loop in list(self._loops):
            loop.cancel()
        await asyncio.gather(*list(self._loops), return_exceptions=True)

    async def _keep(self, service: Service) -> None:
        while service.status != INACTIVE:
            service.wake.clear()
            self._step(service)
            # Not wait_for: in Python 3.11 it can swallow a cancellation that comes with the timeout.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_something_is_due(service)):
                    await service.wake.wait()

    def _step(self, service: Service) -> None:
        now = self._now()
        self._account(service, now)
        self._judge_health(service, now)
        seen = [self._seen(service, task, now) for task in service.tasks if task.desired == "RUNNING"]
        if any(task.ready and task.new for task in seen):
            service.primary.has_served = True
            service.primary.failed_tasks = 0
        self._move(service, self._plan(service, seen, now), seen, now)
        self._settle(service, now)

    def _account(self, service: Service, now: float) -> None:
        """Draw the conclusions from tasks that began to run, or to end."""
        if service.launches_failed and service.running_of(service.primary):
            service.launches_failed = 0
            service.events.cause_ended()
        for task in [task for task in service.tasks if task.desired == "STOPPED" and not task.accounted]:
            task.accounted = True
            self._account_for(service, task, now)
        service.tasks[:] = [task for task in service.tasks if task.status != "STOPPED"]

    def _account_for(self, service: Service, task: Task, now: float) -> None:
        deployment = task.deployment
        assert deployment is not None
        deployment.updated_at = now
        service.steady = False
        if task.stop_code_to_be in _FAULTS:
            service.next_launch_at = max(service.next_launch_at, now + self._timings.relaunch)
        if task.stop_code_to_be == "TaskFailedToStart":
            self._launch_failed(service, task.stopped_reason or "", now)
        if task.unhealthy_reason or task.stop_code_to_be in _FAULTS:
            rollouts.count_failure(service, deployment, now, self._timings)

    def _launch_failed(self, service: Service, reason: str, now: float) -> None:
        timings = self._timings
        service.launches_failed += 1
        wait = timings.throttle_first * 2 ** (service.launches_failed - 1)
        service.next_launch_at = now + min(wait, timings.throttle_longest)
        service.events.say(now, events.unable_to_place(reason), once=f"place {reason[:40]}")
        if service.launches_failed >= _IMPAIRED_AFTER:
            service.events.say(now, events.impaired(), once="impaired")

    def _judge_health(self, service: Service, now: float) -> None:
        """Find tasks that failed a check after their grace period."""
        for task in service.tasks:
            if task.status != "RUNNING" or task.desired != "RUNNING" or task.unhealthy_reason:
                continue
            if now < self._grace_ends(service, task):
                continue
            if task.health == "UNHEALTHY":
                task.unhealthy_reason = "Task failed container health checks"
                service.events.say(now, events.failed_container_check(task.id))
            for target in self._targets(task.id):
                if target.state == UNHEALTHY:
                    task.unhealthy_reason = f"Task failed ELB health checks in (target-group {target.group})"
                    service.events.say(now, events.unhealthy_target(target.port, target.group, target.reason))
                elif target.state == "unused":
                    text = events.target_group_gone(task.id, target.group)
                    service.events.say(now, text, once=f"target group {target.group}")

    def _grace_ends(self, service: Service, task: Task) -> float:
        grace: float = service.settings["healthCheckGracePeriodSeconds"] * self._timings.scale
        return task.times["startedAt"] + grace

    def _seen(self, service: Service, task: Task, now: float) -> Seen:
        targets = list(self._targets(task.id))
        running = task.status == "RUNNING"
        if targets or task.checked:
            ready = all(target.state == HEALTHY for target in targets) and (
                not task.checked or task.health == "HEALTHY"
            )
        else:
            ready = running and now >= task.times["startedAt"] + self._timings.settle
        return Seen(
            id=task.id,
            new=task.deployment is service.primary,
            running=running,
            ready=running and ready and not task.unhealthy_reason,
            unhealthy=task.unhealthy_reason is not None,
        )

    def _plan(self, service: Service, seen: list[Seen], now: float) -> Plan:
        primary, configuration = service.primary, service.settings["deploymentConfiguration"]
        if service.status == DRAINING:
            return Plan(0, tuple(task.id for task in seen), deadlocked=False)
        if now < primary.begins_at:
            return Plan(0, (), deadlocked=False)
        if primary.desired != service.desired:
            primary.desired, primary.updated_at = service.desired, now
        return plan(
            service.desired,
            configuration["minimumHealthyPercent"],
            configuration["maximumPercent"],
            seen,
            may_launch=primary.rollout_state != FAILED and now >= service.next_launch_at,
            quiet=all(task.desired == "RUNNING" for task in service.tasks),
        )

    def _move(self, service: Service, step: Plan, seen: list[Seen], now: float) -> None:
        if step.deadlocked:
            service.events.say(now, events.deadlocked(), once="deadlock")
        if step.launch:
            self._launch_tasks(service, step.launch, sum(task.unhealthy for task in seen), now)
        by_id = {task.id: task for task in service.tasks}
        stopping = [by_id[task_id] for task_id in step.stop if by_id[task_id].desired == "RUNNING"]
        running = [task.id for task in stopping if task.status == "RUNNING"]
        if running:
            service.events.say(now, events.stopped(running))
        if len(running) < len(stopping):
            service.events.say(now, events.stopped_pending(len(stopping) - len(running)))
        for task in stopping:
            reason = task.unhealthy_reason or _ROUTINE.format(service.primary.id)
            ask_to_stop(task, "ServiceSchedulerInitiated", reason, now)
        for deployment in service.deployments[1:]:
            left = sum(task.deployment is deployment and task.desired == "RUNNING" for task in service.tasks)
            if deployment.desired > left:
                deployment.desired, deployment.updated_at = left, now

    def _launch_tasks(self, service: Service, count: int, replaced: int, now: float) -> None:
        launched = []
        for _ in range(count):
            task = self._launch(service, service.primary)
            if isinstance(task, str):
                self._launch_failed(service, task, now)
                rollouts.count_failure(service, service.primary, now, self._timings)
                break
            launched.append(task.id)
        if launched:
            service.steady = False
            service.primary.updated_at = now
            service.events.say(now, events.started(launched, replaced))

    def _settle(self, service: Service, now: float) -> None:
        """See whether a deployment is over, the service steady, or its deletion done."""
        if service.status == DRAINING:
            service.primary.desired = 0
            if not service.tasks:
                service.status = INACTIVE
            return
        primary = service.primary
        for deployment in service.deployments[1:]:
            if deployment.rollout_state == IN_PROGRESS and not any(t.deployment is deployment for t in service.tasks):
                service.deployments.remove(deployment)
        ready = [task for task in service.tasks if self._seen(service, task, now).ready]
        settled = now >= primary.begins_at and len(ready) == len(service.tasks) == service.desired
        settled = settled and all(t.deployment is primary and t.desired == "RUNNING" for t in ready)
        if settled and primary.rollout_state == IN_PROGRESS:
            rollouts.complete(service, now)
        if not settled or primary.rollout_state != COMPLETED:
            service.steady = False
        elif not service.steady or now - service.steady_said_at >= self._timings.steady_repeat:
            service.steady, service.steady_said_at = True, now
            service.events.cause_ended()
            service.events.say(now, events.steady())

    def _until_something_is_due(self, service: Service) -> float | None:
        """Seconds until a moment that no event marks; None when there is none."""
        now = self._now()
        moments = [service.primary.begins_at, service.next_launch_at]
        if service.status == ACTIVE and service.steady:
            moments.append(service.steady_said_at + self._timings.steady_repeat)
        for task in service.tasks:
            if task.status == "RUNNING":
                moments += [task.times["startedAt"] + self._timings.settle, self._grace_ends(service, task)]
        due = [moment - now for moment in moments if moment > now]
        return min(due) if due else None

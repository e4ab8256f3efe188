"""The lab's ECS with a small world around it; every answer is held to botocore's model of ECS."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.ecsworld import ListWorld
from tests.support.waiting import seen
from toolbox.lab.contract import SessionKey
from toolbox.lab.ecs import Ecs, EcsApiError, Timings
from toolbox.lab.ecs.shapes import check_answer
from toolbox.lab.runtime.containers import Runtime

ACCOUNT, REGION, CLUSTER = "123456789012", "eu-central-1", "lab-cluster"
ME = f"arn:aws:iam::{ACCOUNT}:user/me"
TASK_ROLE = f"arn:aws:iam::{ACCOUNT}:role/task"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}}
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
SERVES = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
QUICK = Timings(
    scale=0.02,
    provisioning=0.01,
    visible_after=0.1,
    deployment_start=0.1,
    settle=0.3,
    deregistration_delay=0.3,
    relaunch=0.05,
    throttle_first=0.05,
    throttle_longest=0.4,
    agent_start=0.05,
    agent_connects=0.2,
)

Json = dict[str, Any]


class EcsLab:
    """Calls ECS as a client does, and waits for what it wants to see."""

    def __init__(
        self, ecs: Ecs, world: ListWorld, runtime: Runtime, sessions: list[tuple[str, str, str]], stopped: list[str]
    ) -> None:
        self.ecs = ecs
        self.world = world
        self.runtime = runtime
        self.sessions = sessions
        self.stopped = stopped

    async def call(self, action: str, **request: Any) -> Json:
        """The answer, which fits the model."""
        answer = await self.ecs.call(action, request, ME)
        assert check_answer(action, answer) == ""
        return answer

    async def error_or_none(self, action: str, **request: Any) -> EcsApiError | None:
        """The error that the call ends with, or None when it succeeds."""
        try:
            await self.call(action, **request)
        except EcsApiError as error:
            return error
        return None

    async def error(self, action: str, **request: Any) -> EcsApiError:
        """The error that the call must end with."""
        error = await self.error_or_none(action, **request)
        assert error is not None, f"{action} succeeded"
        return error

    async def until_answered(self, action: str, seconds: float = 10, **request: Any) -> Json:
        """The answer, once it is one."""
        await seen(lambda: self.error_or_none(action, **request), lambda error: error is None, seconds)
        return await self.call(action, **request)

    async def define(self, image: str, *, family: str = "app", **more: Any) -> str:
        """A task definition with one container `app`; `more` goes into the container. Returns its ARN."""
        log = {"logDriver": "awslogs", "options": {"awslogs-group": "/ecs/app", "awslogs-stream-prefix": "lab"}}
        container = {"name": "app", "image": image, "logConfiguration": log, **more}
        return await self.define_all([container], family=family)

    async def define_all(self, containers: list[Json], *, family: str = "app", **more: Any) -> str:
        """A Fargate task definition; returns its ARN."""
        body = {
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "taskRoleArn": TASK_ROLE,
            "containerDefinitions": containers,
            **more,
        }
        answer = await self.call("RegisterTaskDefinition", **body)
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    async def serve(self, name: str, definition: str, **more: Any) -> Json:
        """CreateService with one task."""
        request = {"desiredCount": 1, "launchType": "FARGATE", "networkConfiguration": NETWORK, **more}
        answer = await self.call(
            "CreateService", cluster=CLUSTER, serviceName=name, taskDefinition=definition, **request
        )
        return dict(answer["service"])

    async def run(self, definition: str, **more: Any) -> Json:
        """RunTask; the one task."""
        request = {"launchType": "FARGATE", "networkConfiguration": NETWORK, **more}
        answer = await self.call("RunTask", cluster=CLUSTER, taskDefinition=definition, **request)
        (task,) = answer["tasks"]
        return dict(task)

    async def service(self, name: str) -> Json:
        """DescribeServices of one."""
        (service,) = (await self.call("DescribeServices", cluster=CLUSTER, services=[name]))["services"]
        return dict(service)

    async def tasks(self, status: str = "RUNNING", **filters: Any) -> list[Json]:
        """The tasks meant to be in `status`, oldest first."""
        arns = (await self.call("ListTasks", cluster=CLUSTER, desiredStatus=status, **filters))["taskArns"]
        if not arns:
            return []
        found = (await self.call("DescribeTasks", cluster=CLUSTER, tasks=arns, include=["TAGS"]))["tasks"]
        return sorted(found, key=lambda task: float(task["createdAt"]))

    async def task(self, arn: str) -> Json | None:
        """DescribeTasks of one; None when MISSING."""
        answer = await self.call("DescribeTasks", cluster=CLUSTER, tasks=[arn], include=["TAGS"])
        return dict(answer["tasks"][0]) if answer["tasks"] else None

    async def until_task(self, arn: str, status: str, seconds: float = 10) -> Json:
        """The task once its last status is `status`."""
        task = await seen(lambda: self.task(arn), lambda task: task and task["lastStatus"] == status, seconds)
        assert task is not None
        return task

    async def until_listed(self, count: int, seconds: float = 10, **filters: Any) -> list[Json]:
        """The tasks meant to run, oldest first, once ListTasks shows `count`."""
        return await seen(lambda: self.tasks(**filters), lambda found: len(found) == count, seconds)

    async def until_stopped(self, count: int, seconds: float = 10) -> list[Json]:
        """The stopped tasks, oldest first, once there are `count`."""
        return await seen(lambda: self._last_seen("STOPPED"), lambda stopped: len(stopped) >= count, seconds)

    async def until_replaced(self, old: Json, seconds: float = 10) -> Json:
        """The one task of its service that runs once `old` has stopped."""
        await self.until_task(old["taskArn"], "STOPPED", seconds)
        name = old["group"].removeprefix("service:")
        return (await seen(lambda: self._last_seen("RUNNING", serviceName=name), bool, seconds))[0]

    async def until_service(self, name: str, holds: Callable[[Json], bool], seconds: float = 15) -> Json:
        """The service once `holds` does."""
        return await seen(lambda: self.service(name), holds, seconds)

    async def _last_seen(self, status: str, **filters: Any) -> list[Json]:
        """The tasks that are meant to be in `status`, and are."""
        return [task for task in await self.tasks(status, **filters) if task["lastStatus"] == status]

    async def until_settled(self, name: str, seconds: float = 15) -> Json:
        """The service once its newest deployment is alone, COMPLETED and steady."""
        return await self.until_service(name, settled, seconds)


def settled(service: Json) -> bool:
    """Whether a service's newest deployment is alone, COMPLETED, and all tasks run."""
    (newest, *older) = service["deployments"]
    complete = newest["rolloutState"] == "COMPLETED" and not older
    return complete and service["runningCount"] == service["desiredCount"] and not service["pendingCount"]


def messages(service: Json) -> list[str]:
    """The events' texts, oldest first, without `(service NAME) `."""
    prefix = f"(service {service['serviceName']}) "
    return [event["message"].removeprefix(prefix) for event in reversed(service["events"])]


@asynccontextmanager
async def ecs_lab(directory: Path, timings: Timings = QUICK) -> AsyncIterator[EcsLab]:
    """A running ECS with an empty cluster."""
    world, runtime = ListWorld(), await Runtime.open(directory)
    sessions: list[tuple[str, str, str]] = []
    stopped: list[str] = []

    def open_session(task_id: str, container: str, command: str, key: SessionKey | None) -> tuple[str, str, str]:
        sessions.append((task_id, container, command))
        return f"ecs-execute-command-{len(sessions)}", "wss://lab/v1/data-channel/x", "token"

    around = {"account": ACCOUNT, "region": REGION}
    ecs = Ecs(world, runtime, open_session, **around, timings=timings, task_stopped=stopped.append)
    lab = EcsLab(ecs, world, runtime, sessions, stopped)
    await ecs.start()
    await lab.call("CreateCluster", clusterName=CLUSTER)
    yield lab
    await ecs.aclose()

"""Waiting for a task: until it can be entered, and until it dies."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from toolbox.aws import Aws
from toolbox.errors import AwsError, LaunchError
from toolbox.launcher import died
from toolbox.launcher.tasks import Progress, TaskRef, describe

_AGENT: Final = "ExecuteCommandAgent"

# ECS is eventually consistent: a task that RunTask has just answered may be MISSING for a while.
_MISSING_SECONDS: Final = 60.0
_MISSING_LOOKS: Final = 2  # one answer may come from a place that has not heard of the task
_STOP_CODE_SECONDS: Final = 3.0
_WATCH_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a task may take, in seconds: from RunTask to RUNNING, and from there to a session."""

    running: float
    agent: float


async def until_ready(aws: Aws, task: TaskRef, patience: Patience, progress: Progress) -> None:
    """Return when the task runs and its exec agent is up; raises LaunchError when it dies or takes too long."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    running_since: float | None = None
    pause = 0.2
    while True:
        described = await describe(aws, task.cluster, task.arn)
        waited = loop.time() - begun
        if described is None:
            if waited > _MISSING_SECONDS:
                raise LaunchError(
                    f"ECS started task {task.id} but has not shown it for {_MISSING_SECONDS:.0f} s.",
                    cause="task-missing",
                    next_step="Try again; if it persists, look at the cluster in the console.",
                )
            progress(f"task {task.short}: not visible yet")
        else:
            if described.get("desiredStatus") == "STOPPED":
                raise await explain_death(aws, task)
            if described["lastStatus"] != "RUNNING":
                progress(f"task {task.short}: {described['lastStatus']}")
                if waited > patience.running:
                    raise died.too_slow(task.id, described["lastStatus"], waited)
            else:
                running_since = running_since or loop.time()
                if _agent_status(described, task.container) == "RUNNING":
                    progress(f"task {task.short}: RUNNING, its exec agent has started")
                    return
                progress(f"task {task.short}: RUNNING, waiting for its exec agent")
                if loop.time() - running_since > patience.agent:
                    raise died.no_agent(task.id, described.get("taskDefinitionArn", ""))
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 2.0)


async def until_dead(aws: Aws, task: TaskRef) -> LaunchError:
    """Return why the task died, as soon as ECS says that it is to stop."""
    missing = 0
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        try:
            described = await describe(aws, task.cluster, task.arn)
        except AwsError:
            # A look that failed proves nothing about the task, and the session itself notices a peer that is gone.
            continue
        missing = missing + 1 if described is None else 0
        if missing == _MISSING_LOOKS or (described is not None and described.get("desiredStatus") == "STOPPED"):
            return await explain_death(aws, task)


async def is_to_stop(aws: Aws, task: TaskRef) -> bool:
    """Whether ECS says that the task is to stop; False too when ECS cannot be asked, or takes long to answer."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            described = await describe(aws, task.cluster, task.arn)
    except (AwsError, TimeoutError):
        return False
    return described is not None and described.get("desiredStatus") == "STOPPED"


async def explain_death(aws: Aws, task: TaskRef) -> LaunchError:
    """Why the task stopped: stop code, reasons and the tail of its log. The stop code may come seconds late."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _STOP_CODE_SECONDS
    described = await describe(aws, task.cluster, task.arn)
    while described is not None and not described.get("stopCode") and loop.time() < deadline:
        await asyncio.sleep(0.5)
        described = await describe(aws, task.cluster, task.arn)
    if described is None:
        return LaunchError(f"Task {task.id} is gone, and ECS no longer says why.", cause="task-died")
    tail = await died.log_tail(aws, described, task.container)
    return died.stopped(described, task.id, tail)


def _agent_status(task: Mapping[str, Any], container: str) -> str | None:
    """The exec agent's status in our container; containers that AWS injects carry no agents."""
    for described in task.get("containers", []):
        if described.get("name") == container:
            for agent in described.get("managedAgents", []):
                if agent.get("name") == _AGENT:
                    return str(agent.get("lastStatus"))
    return None

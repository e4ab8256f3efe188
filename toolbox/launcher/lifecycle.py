"""A task from RunTask to StopTask: whatever happens in between, nothing keeps running after its owner is gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from toolbox.aws import Aws, AwsDenied, AwsRefused, AwsUnreachable
from toolbox.cluster import reasons
from toolbox.errors import AwsError, LaunchError
from toolbox.launcher import died
from toolbox.launcher.plan import LAUNCH_TAG, STARTED_BY, Document
from toolbox.session.failures import SessionClosed, SessionLeft, SessionLost

Progress = Callable[[str], None]

AGENT: Final = "ExecuteCommandAgent"

# ECS is eventually consistent: a task that RunTask has just answered may be MISSING for a while.
_MISSING_SECONDS: Final = 60.0
_MISSING_LOOKS: Final = 2  # one answer may come from a place that has not heard of the task
_STOP_CODE_SECONDS: Final = 3.0
_WITHDRAW_SECONDS: Final = 40.0
_SEARCH_PAUSES: Final = (0.0, 1.0, 2.0, 4.0)
_STOP_PAUSES: Final = (0.0, 0.3, 1.0, 2.0, 4.0, 8.0)
_STOP_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 10.0
_SHORT: Final = 8
_MOST_DESCRIBED: Final = 100  # by one DescribeTasks


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a task may take, in seconds: from RunTask to RUNNING, and from there to a session."""

    running: float
    agent: float


@dataclass(frozen=True, slots=True)
class TaskRef:
    """A task of ours: enough to describe, enter and stop it."""

    cluster: str
    arn: str
    container: str

    @property
    def id(self) -> str:
        """The task's id: the last part of its ARN."""
        return self.arn.rpartition("/")[2]

    @property
    def short(self) -> str:
        """The beginning of the id: enough to recognize it, and for `--attach`."""
        return self.id[:_SHORT]


@asynccontextmanager
async def started(aws: Aws, run: Document, *, keep: bool, progress: Progress) -> AsyncIterator[TaskRef]:
    """The task that RunTask starts; stopped on every way out, unless `keep` and there was a session, however it ended.

    A cancellation while RunTask is under way waits for its answer, or looks for the task where none came.
    Raises LaunchError when ECS starts none.
    """
    container = run["overrides"]["containerOverrides"][0]["name"]
    request = asyncio.ensure_future(aws.call("ecs", "run_task", **run))
    try:
        answer = await asyncio.shield(request)
    except (asyncio.CancelledError, AwsError) as error:
        if _may_have_started(error):
            progress("looking for what may have been started, to stop it")
            await _to_its_end(_withdraw_in_time(aws, run, request))
        raise
    task = TaskRef(run["cluster"], _arn_of(answer), container)
    kept = False
    try:
        yield task
        kept = keep
    except (SessionClosed, SessionLeft, SessionLost):
        kept = keep  # a shell that is left or lost is what a kept task is to outlive
        raise
    finally:
        if kept:
            progress(f"task {task.short} is kept; come back with --attach {task.short}")
        else:
            progress(f"stopping task {task.short}")
            await _to_its_end(stop(aws, task.cluster, task.arn))


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
                    progress(f"task {task.short}: RUNNING, agent ready")
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


async def describe(aws: Aws, cluster: str, arn: str) -> Mapping[str, Any] | None:
    """The task as DescribeTasks gives it, None while (or once) ECS does not know it."""
    answer = await aws.call("ecs", "describe_tasks", cluster=cluster, tasks=[arn])
    tasks: Sequence[Mapping[str, Any]] = answer["tasks"]
    return tasks[0] if tasks else None


async def stop(aws: Aws, cluster: str, arn: str) -> None:
    """Stop the task, several tries; raises LaunchError with the line that stops it by hand when none succeeds."""
    error: AwsError | None = None
    with suppress(TimeoutError):  # without a network each call takes minutes to fail, and a person waits
        async with asyncio.timeout(_STOP_SECONDS):
            for pause in _STOP_PAUSES:
                await asyncio.sleep(pause)
                try:
                    await aws.call("ecs", "stop_task", cluster=cluster, task=arn, reason="toolbox: its shell has ended")
                except AwsError as failure:
                    # 'not found' is tried again too: ECS may say so of a task that it has started a moment ago.
                    error = failure
                    if isinstance(failure, AwsDenied):
                        break
                else:
                    return
    if isinstance(error, AwsRefused) and "not found" in error.message.lower():
        return
    raise LaunchError(
        f"Task {arn.rpartition('/')[2]} could not be stopped: {error or 'AWS gives no answer'}. Its own clock ends it.",
        cause="task-not-stopped",
        next_step=f"To stop it now: aws ecs stop-task --cluster {cluster} --task {arn}",
    )


async def mine(aws: Aws, cluster: str) -> list[Mapping[str, Any]]:
    """All tasks that the toolbox started in this cluster and that are not stopped, with their tags."""
    arns = await aws.listed("ecs", "list_tasks", "taskArns", cluster=cluster, startedBy=STARTED_BY)
    tasks: list[Mapping[str, Any]] = []
    for start in range(0, len(arns), _MOST_DESCRIBED):
        some = arns[start : start + _MOST_DESCRIBED]
        tasks += (await aws.call("ecs", "describe_tasks", cluster=cluster, tasks=some, include=["TAGS"]))["tasks"]
    return [task for task in tasks if task.get("desiredStatus") != "STOPPED"]


def tag(task: Mapping[str, Any], key: str) -> str:
    """The value of one tag of `task`, empty where it has none."""
    return next((str(pair["value"]) for pair in task.get("tags", []) if pair.get("key") == key), "")


async def _to_its_end(step: Coroutine[Any, Any, None]) -> None:
    """Carry `step` out although we are cancelled meanwhile; the cancellation counts afterwards."""
    job = asyncio.ensure_future(step)
    try:
        await asyncio.shield(job)
    except asyncio.CancelledError:
        await job
        raise


async def _withdraw_in_time(aws: Aws, run: Document, request: "asyncio.Future[dict[str, Any]]") -> None:
    try:
        await asyncio.wait_for(_withdraw(aws, run, request), _WITHDRAW_SECONDS)
    except (TimeoutError, AwsError) as error:
        raise LaunchError(
            f"AWS does not say whether it started a task ({error or 'no answer'}). If it did, its own clock ends it.",
            cause="task-not-stopped",
            next_step=f"To look: aws ecs list-tasks --cluster {run['cluster']} --started-by {STARTED_BY}",
        ) from error


async def _withdraw(aws: Aws, run: Document, request: "asyncio.Future[dict[str, Any]]") -> None:
    """Stop what a RunTask without a seen answer started: by its answer, when it still comes, else by its tag."""
    try:
        answer = await request
    except AwsError as error:
        if _may_have_started(error):
            await _stop_by_tag(aws, run)
    else:
        for task in answer["tasks"]:
            await stop(aws, run["cluster"], task["taskArn"])


def _may_have_started(error: BaseException) -> bool:
    """Whether AWS may have started a task although `error` is what came of asking for one."""
    if isinstance(error, AwsRefused):
        return not error.certain
    return isinstance(error, asyncio.CancelledError | AwsUnreachable)


async def _stop_by_tag(aws: Aws, run: Document) -> None:
    error: AwsError | None = None
    for pause in _SEARCH_PAUSES:
        await asyncio.sleep(pause)
        try:
            tasks = await mine(aws, run["cluster"])
        except AwsError as failure:
            error = failure  # what lost the answer to RunTask may not be over yet
            continue
        error = None
        for task in tasks:
            if tag(task, LAUNCH_TAG) == run["clientToken"]:
                await stop(aws, run["cluster"], task["taskArn"])
                return
    if error is not None:
        raise error


def _arn_of(answer: Mapping[str, Any]) -> str:
    """The started task; ECS answers HTTP 200 with `failures` when it starts none."""
    if answer["tasks"]:
        return str(answer["tasks"][0]["taskArn"])
    failures = answer.get("failures") or [{}]
    reason = str(failures[0].get("reason", "no reason given"))
    if failures[0].get("detail"):
        reason = f"{reason} ({failures[0]['detail']})"
    cause = reasons.classify(reason) or ("capacity" if reason.startswith("RESOURCE:") else "not-started")
    raise LaunchError(
        f"ECS started no task: {reason}.",
        cause=cause,
        next_step=reasons.next_step(cause) or "Try again in a minute; if it persists, read the service's events.",
    )


def _agent_status(task: Mapping[str, Any], container: str) -> str | None:
    """The exec agent's status in our container; containers that AWS injects carry no agents."""
    for described in task.get("containers", []):
        if described.get("name") == container:
            for agent in described.get("managedAgents", []):
                if agent.get("name") == AGENT:
                    return str(agent.get("lastStatus"))
    return None

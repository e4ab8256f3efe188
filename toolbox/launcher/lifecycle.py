"""A task from RunTask to StopTask: whatever happens in between, nothing keeps running after its owner is gone."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from toolbox.aws import Aws, AwsDenied, AwsRefused, AwsUnreachable
from toolbox.cluster import reasons
from toolbox.errors import AwsError, LaunchError
from toolbox.launcher.plan import LAUNCH_TAG, STARTED_BY, Document
from toolbox.launcher.tasks import Progress, TaskRef, mine, tag
from toolbox.session.failures import SessionClosed, SessionLeft, SessionLost

_WITHDRAW_SECONDS: Final = 40.0
_SEARCH_PAUSES: Final = (0.0, 1.0, 2.0, 4.0)
_STOP_PAUSES: Final = (0.0, 0.3, 1.0, 2.0, 4.0, 8.0)
_STOP_SECONDS: Final = 30.0


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
        async with asyncio.timeout(_WITHDRAW_SECONDS):
            await _withdraw(aws, run, request)
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

"""Sentences for a task that died, never came up, or whose agent stayed away."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolbox.aws import Aws
from toolbox.cluster import reasons
from toolbox.errors import AwsError, LaunchError

_TAIL_LINES: Final = 10
_LONGEST_LINE: Final = 1000
# What the task role must allow, or the agent cannot reach Session Manager (Amazon ECS: 'ECS Exec', IAM permissions).
EXEC_ACTIONS: Final = (
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


def stopped(task: Mapping[str, Any], task_id: str, tail: Sequence[str]) -> LaunchError:
    """The task stopped: its stop code, why, and the last lines it wrote."""
    reason = reasons.stop_reason(task)
    code = task.get("stopCode") or "no stop code yet"
    detail = tuple(f"log: {line}" for line in tail)
    return LaunchError(
        f"Task {task_id} has stopped ({code}): {reason.text}.".replace("..", "."),
        cause=reason.cause or "task-died",
        next_step=reason.next_step
        or "Open a new shell; if it happens again, look at its log and at the service's events.",
        detail=detail,
    )


def too_slow(task_id: str, status: str, seconds: float) -> LaunchError:
    """The task did not reach RUNNING."""
    return LaunchError(
        f"Task {task_id} is still {status} after {seconds:.0f} s.",
        cause="task-not-running",
        next_step="Try again; look at the service's events for capacity or network trouble if it persists.",
    )


def no_agent(task_id: str, definition: str) -> LaunchError:
    """The task runs, but nobody can enter it."""
    actions = ", ".join(EXEC_ACTIONS)
    return LaunchError(
        f"Task {task_id} runs, but its exec agent did not come up.",
        cause="agent-not-ready",
        next_step=f"Let the task role of {definition.rpartition('/')[2]} do {actions}, and check that the subnets reach"
        " ssmmessages (NAT, or an endpoint).",
    )


async def log_tail(aws: Aws, task: Mapping[str, Any], container: str) -> tuple[str, ...]:
    """The last lines of the container's log; one line that says why where they cannot be read. Untrusted text."""
    try:
        described = await aws.call("ecs", "describe_task_definition", taskDefinition=task["taskDefinitionArn"])
        logging = _logging(described["taskDefinition"], container)
        if logging is None:
            return ()
        answer = await aws.call(
            "logs",
            "get_log_events",
            logGroupName=logging["awslogs-group"],
            logStreamName=f"{logging['awslogs-stream-prefix']}/{container}/{task['taskArn'].rpartition('/')[2]}",
            limit=_TAIL_LINES,
        )
    except AwsError as error:
        if error.cause == "resource-not-found":
            return ("nothing: the container never wrote a line",)
        return (f"could not be read: {error.sentence}",)
    return tuple(_cut(str(event["message"])) for event in answer["events"])


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"


def _logging(definition: Mapping[str, Any], container: str) -> Mapping[str, str] | None:
    for described in definition["containerDefinitions"]:
        logging = described.get("logConfiguration") or {}
        if described["name"] == container and logging.get("logDriver") == "awslogs":
            options: Mapping[str, str] = logging["options"]
            return options
    return None

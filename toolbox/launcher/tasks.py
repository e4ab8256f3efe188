"""What ECS says of our tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolbox.aws import Aws
from toolbox.launcher.plan import STARTED_BY

Progress = Callable[[str], None]

_SHORT: Final = 8
_MOST_DESCRIBED: Final = 100  # by one DescribeTasks


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


async def describe(aws: Aws, cluster: str, arn: str) -> Mapping[str, Any] | None:
    """The task as DescribeTasks gives it, None while (or once) ECS does not know it."""
    answer = await aws.call("ecs", "describe_tasks", cluster=cluster, tasks=[arn])
    tasks: Sequence[Mapping[str, Any]] = answer["tasks"]
    return tasks[0] if tasks else None


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

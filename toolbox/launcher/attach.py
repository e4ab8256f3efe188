"""Which running task `--attach` means, and until when it runs: from what ECS tells of our tasks, pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from toolbox.errors import LaunchError
from toolbox.launcher.plan import EXPIRY_TAG, OWNER_TAG, tag_value
from toolbox.launcher.tasks import tag


def pick(tasks: Sequence[Mapping[str, Any]], owner: str, wanted: str) -> Mapping[str, Any]:
    """The one task of `owner` whose id starts with `wanted`; raises LaunchError where that is not exactly one."""
    ours = {task["taskArn"].rpartition("/")[2]: task for task in tasks if tag(task, OWNER_TAG) == tag_value(owner)}
    found = [task_id for task_id in ours if task_id.startswith(wanted)]
    if len(found) == 1:
        return ours[found[0]]
    if not ours:
        raise LaunchError(
            "None of your tasks is running, so there is nothing to attach to.",
            cause="attach-unclear",
            next_step="Open a shell without --attach; with --keep its task stays for a later --attach.",
        )
    raise LaunchError(
        f"{len(found) or 'None'} of your running tasks {'match' if found else 'matches'} --attach '{wanted}'.",
        cause="attach-unclear",
        next_step="Name one of these: --attach ID.",
        detail=tuple(
            f"{task_id}, until {tag(ours[task_id], EXPIRY_TAG) or 'its clock ends it'}"
            for task_id in sorted(found or ours)
        ),
    )


def expiry(task: Mapping[str, Any]) -> datetime | None:
    """When a task, or a RunTask input, is to end: its tag; None where it has none that is a time."""
    try:
        return datetime.fromisoformat(tag(task, EXPIRY_TAG))
    except ValueError:
        return None

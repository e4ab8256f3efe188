"""What the service scheduler does next: counts in, a plan out. Pure.

The percentages are those of the ECS developer guide, 'deploymentConfiguration': minimumHealthyPercent rounds up,
maximumPercent rounds down, of the desired count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

_THRESHOLD_LEAST: Final = 3
_THRESHOLD_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Seen:
    """A task that is meant to run. `ready`: it counts as healthy; `unhealthy`: a check failed after the grace."""

    id: str
    new: bool
    running: bool
    ready: bool
    unhealthy: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks to launch, tasks to stop, and whether nothing may move for the percentages' sake."""

    launch: int
    stop: tuple[str, ...]
    deadlocked: bool


def plan(
    desired: int, minimum_percent: int, maximum_percent: int, tasks: Sequence[Seen], *, may_launch: bool, quiet: bool
) -> Plan:
    """The next step towards `desired` tasks of the new deployment. `quiet`: no task is on its way out."""
    least = ceil(desired * minimum_percent / 100)
    most = floor(desired * maximum_percent / 100)
    good = [task for task in tasks if task.new and not task.unhealthy]
    sick = [task for task in tasks if task.new and task.unhealthy]
    old = [task for task in tasks if not task.new]
    wanted = desired - len(good)
    launch = max(0, min(wanted, most - len(tasks))) if may_launch else 0
    # Those that do not serve yet go first when there are too many.
    surplus = sorted(good, key=lambda task: task.ready)[: max(0, -wanted)]
    if sum(task.ready for task in good) >= desired:
        stop = surplus + sick + old
    else:
        crowded_out = max(0, wanted - launch) if may_launch else 0
        spare = max(0, sum(task.ready for task in tasks if task not in surplus) - least)
        stop = surplus + sick[:crowded_out] + [task for task in old if not task.running]
        stop += [task for task in old if task.ready][:spare]
        if crowded_out > len(stop):
            stop += [task for task in old if task.running and task.unhealthy]
    deadlocked = may_launch and quiet and wanted > 0 and bool(old) and not launch and not stop
    return Plan(launch, tuple(task.id for task in stop), deadlocked)


def breaker_threshold(desired: int) -> int:
    """How many failures in a row trip the deployment circuit breaker (ECS developer guide, 'failure threshold')."""
    return min(max(ceil(0.5 * desired), _THRESHOLD_LEAST), _THRESHOLD_MOST)

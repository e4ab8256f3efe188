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
    old = [task for task in tasks if not task.new]
    wanted = desired - len(good)
    room = most - len(tasks)
    launch = max(0, min(wanted, room)) if may_launch else 0
    served = sum(task.ready for task in good) >= desired

    surplus = sorted(good, key=lambda task: task.ready)[: max(0, -wanted)]
    stop = [task.id for task in surplus]
    crowded = wanted - launch if may_launch else 0
    sick = [task for task in tasks if task.unhealthy and task.new]
    stop += [task.id for task in (sick if served else sick[: max(0, crowded)])]
    spare = sum(task.ready for task in tasks) - len([task for task in surplus if task.ready]) - least
    stop += [task.id for task in old if served or not task.running]
    if not served:
        stop += [task.id for task in old if task.running and task.ready][: max(0, spare)]
        if crowded > len(stop):
            stop += [task.id for task in old if task.running and task.unhealthy]
    stuck = may_launch and quiet and wanted > 0 and not launch and not stop and bool(old)
    return Plan(launch, tuple(dict.fromkeys(stop)), stuck)


def breaker_threshold(desired: int) -> int:
    """How many failures in a row trip the deployment circuit breaker (ECS developer guide, 'failure threshold')."""
    return min(max(ceil(0.5 * desired), _THRESHOLD_LEAST), _THRESHOLD_MOST)

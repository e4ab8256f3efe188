"""A service's events: AWS's wording, at most 100, and no repetition while the cause stays.

The wording is that of recorded events and of 'Amazon ECS service event messages' in the ECS developer guide.
"""

import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

_KEPT: Final = 100
_SUPPRESSED_FOR: Final = 6 * 3600.0  # seconds


class Event(NamedTuple):
    """One event; `time` in seconds of the epoch."""

    id: str
    time: float
    message: str


class EventLog:
    """The newest events first."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._events: deque[Event] = deque(maxlen=_KEPT)
        self._said: dict[str, float] = {}

    def say(self, now: float, text: str, *, once: str | None = None) -> None:
        """Add `(service NAME) text`. With `once`, only if nothing under that word was said since `cause_ended`."""
        if once is not None:
            if now - self._said.get(once, -_SUPPRESSED_FOR) < _SUPPRESSED_FOR:
                return
            self._said[once] = now
        self._events.appendleft(Event(str(uuid.uuid4()), now, f"(service {self._service}) {text}"))

    def cause_ended(self) -> None:
        """What was said `once` may be said again."""
        self._said.clear()

    def newest_first(self) -> list[Event]:
        """All that are kept."""
        return list(self._events)


def started(task_ids: Sequence[str], replaced: int = 0) -> str:
    """Tasks were launched; `replaced` of them for unhealthy ones."""
    text = f"has started {len(task_ids)} tasks: {_tasks(task_ids)}."
    return f"{text} Amazon ECS replaced {replaced} tasks due to an unhealthy status." if replaced else text


def stopped(task_ids: Sequence[str]) -> str:
    """The scheduler stopped tasks."""
    return f"has stopped {len(task_ids)} running tasks: {_tasks(task_ids)}."


def stopped_pending(count: int) -> str:
    """The scheduler stopped tasks that did not run yet."""
    return f"has stopped {count} pending tasks."


def registered(target_group: str) -> str:
    """A task became a target."""
    return f"registered 1 targets in (target-group {target_group})"


def deregistered(target_group: str) -> str:
    """A task is no target any more."""
    return f"deregistered 1 targets in (target-group {target_group})"


def draining(count: int) -> str:
    """Targets finish what they have."""
    return f"has begun draining connections on {count} tasks."


def steady() -> str:
    """Everything is as it should be."""
    return "has reached a steady state."


def completed(deployment: str) -> str:
    """A deployment ended well."""
    return f"(deployment {deployment}) deployment completed."


def failed(deployment: str) -> str:
    """The circuit breaker tripped."""
    return f"(deployment {deployment}) deployment failed: tasks failed to start."


def rolling_back(deployment: str) -> str:
    """The circuit breaker goes back to an earlier deployment."""
    return f"rolling back to (deployment {deployment})."


def unhealthy_target(port: int, target_group: str, reason: str) -> str:
    """A target fails its checks."""
    return f"(port {port}) is unhealthy in (target-group {target_group}) due to (reason {reason})"


def target_group_gone(task_id: str, target_group: str) -> str:
    """The target group was deleted."""
    return f"(task {task_id}) is not healthy in (target-group {target_group}) due to TARGET GROUP IS NOT FOUND"


def failed_container_check(task_id: str) -> str:
    """A container health check failed."""
    return f"(task {task_id}) failed container health checks."


def unable_to_place(reason: str) -> str:
    """A task could not be launched."""
    return f"was unable to place a task. Reason: {reason.rstrip('.')}."


def impaired() -> str:
    """Launches fail again and again."""
    return (
        "is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of"
        " the Amazon ECS Developer Guide."
    )


def deadlocked() -> str:
    """The deployment's percentages allow neither a start nor a stop."""
    return (
        "was unable to stop or start tasks during a deployment because of the service deployment configuration. Update"
        " the minimumHealthyPercent or maximumPercent value and try again."
    )


def _tasks(task_ids: Sequence[str]) -> str:
    return " ".join(f"(task {task_id})" for task_id in task_ids)

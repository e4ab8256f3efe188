"""Health checks as ELB and the container agent make them: real requests and real commands."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from toolbox.lab.contract import TargetGroup, World
from toolbox.lab.ecs.background import report_failure
from toolbox.lab.ecs.state import ContainerState, Document

_HEAD_LIMIT: Final = 16 * 1024  # bytes of an answer that are read at most
_CODES: Final = re.compile(r"(\d{3})(?:-(\d{3}))?")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")

INITIAL: Final = "initial"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"
_DRAINING: Final = "draining"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its reason code and description as DescribeTargetHealth words them, both empty when it passed."""

    code: str = ""
    description: str = ""


PASSED: Final = Finding()


class Target:
    """A task's port in a target group, checked until it is closed.

    `state` is `initial`, `healthy`, `unhealthy` or `draining`, or `unused` when the target group was deleted.
    """

    def __init__(self, world: World, group: str, task_id: str, address: str, port: int, zone: str) -> None:
        self.group = group
        self.task_id = task_id
        self.port = port
        self.state = INITIAL
        self._world = world
        self._address = address
        self._zone = zone
        self._finding = Finding("Elb.RegistrationInProgress", "Target registration is in progress")
        self._checks: asyncio.Task[None] | None = None

    @property
    def reason(self) -> str:
        """Why it is not healthy, as the service events word it."""
        return self._finding.description

    def watch(self, changed: Callable[[], None]) -> None:
        """Start checking; `changed` is called after each change of state."""
        self._checks = asyncio.create_task(self._check_on(changed), name=f"health checks of task {self.task_id}")
        self._checks.add_done_callback(report_failure)

    def drain(self) -> None:
        """No new connections; what runs may end."""
        self.close()
        self.state = _DRAINING
        self._finding = Finding("Target.DeregistrationInProgress", "Target deregistration is in progress")

    def close(self) -> None:
        """Stop checking."""
        if self._checks is not None:
            self._checks.cancel()

    def describe(self) -> Document:
        """The entry of DescribeTargetHealth."""
        health: Document = {"State": self.state}
        if self._finding.code:
            health |= {"Reason": self._finding.code, "Description": self._finding.description}
        target = {"Id": self._address, "Port": self.port, "AvailabilityZone": self._zone}
        return {"Target": target, "HealthCheckPort": str(self.port), "TargetHealth": health}

    async def _check_on(self, changed: Callable[[], None]) -> None:
        passed = failed = 0
        while (group := self._world.target_group(self.group)) is not None:
            finding = await check_target(group, self._address, self.port)
            passed, failed = (passed + 1, 0) if finding == PASSED else (0, failed + 1)
            before = self.state
            if passed >= group.healthy_threshold:
                self.state = HEALTHY
            elif failed >= group.unhealthy_threshold:
                self.state = UNHEALTHY
            starting = Finding("Elb.InitialHealthChecking", "Initial health checks in progress")
            self._finding = {HEALTHY: PASSED, UNHEALTHY: finding}.get(self.state, starting)
            if self.state != before:
                changed()
            await asyncio.sleep(group.interval)
        self.state = "unused"
        self._finding = Finding("Target.NotInUse", "Target group is not configured to receive traffic")
        changed()


async def check_target(group: TargetGroup, address: str, port: int) -> Finding:
    """One HTTP check as an Application Load Balancer makes it."""
    try:
        async with asyncio.timeout(group.timeout):
            status = await _request(address, port, group.path)
    except TimeoutError:
        return Finding("Target.Timeout", "Request timed out")
    except OSError:
        return Finding("Target.FailedHealthChecks", "Health checks failed")
    if status is None:
        return Finding("Target.FailedHealthChecks", "Health checks failed")
    if not matches(group.matcher, status):
        return Finding("Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]")
    return PASSED


async def _request(address: str, port: int, path: str) -> int | None:
    """The status of a GET; None when the answer is not HTTP."""
    reader, writer = await asyncio.open_connection(address, port, limit=_HEAD_LIMIT)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: ELB-HealthChecker/2.0\r\n"
        writer.write(f"{head}Connection: close\r\nAccept-Encoding: gzip, compressed\r\n\r\n".encode())
        await writer.drain()
        with suppress(asyncio.LimitOverrunError, ValueError):
            found = _STATUS_LINE.match(await reader.readline())
            return int(found[1]) if found else None
        return None
    finally:
        writer.close()


def matches(matcher: str, status: int) -> bool:
    """Whether `status` fits an ELB matcher: codes and ranges, `200,202` or `200-299`."""
    parts = [found for part in matcher.split(",") if (found := _CODES.fullmatch(part.strip()))]
    return any(int(part[1]) <= status <= int(part[2] or part[1]) for part in parts)


class Runs(Protocol):
    """Runs a command in a container to its end: the exit code."""

    async def __call__(self, command: list[str], timeout: float) -> int:
        """The exit code; raises TimeoutError or OSError."""


async def check_container(container: ContainerState, run: Runs, scale: float, changed: Callable[[], None]) -> None:
    """Run a container's health check for ever, as the ECS API reference's HealthCheck says."""
    check = container.definition["healthCheck"]
    kind, *rest = check["command"]
    command = ["/bin/sh", "-c", *rest] if kind == "CMD-SHELL" else rest if kind == "CMD" else check["command"]
    interval, timeout = check.get("interval", 30) * scale, check.get("timeout", 5) * scale
    started, failed = asyncio.get_running_loop().time(), 0
    if kind == "NONE":
        return
    while True:
        await asyncio.sleep(interval)
        try:
            passed = await run(command, max(timeout, 1.0)) == 0
        except (TimeoutError, OSError):
            passed = False
        in_start_period = asyncio.get_running_loop().time() - started < check.get("startPeriod", 0) * scale
        failed = 0 if passed else failed if in_start_period else failed + 1
        health = "HEALTHY" if passed else "UNHEALTHY" if failed >= check.get("retries", 3) else container.health
        if health != container.health:
            container.health = health
            changed()

"""A lab that is up, as the supervisor's orders see it: its state, and its parts stopped and started."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from toolbox.errors import LabError
from toolbox.inventory import Inventory
from toolbox.lab.aws.backends import ACCOUNT
from toolbox.lab.aws.identities import Credentials, Identities
from toolbox.lab.ecs import Ecs, EcsApiError
from toolbox.lab.estate import PERSON
from toolbox.lab.place import Place
from toolbox.lab.runtime.spec import Isolation
from toolbox.lab.servers import Servers
from toolbox.lab.vpc import Vpc

DNS: Final = "dns"
_SETTLED_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Lab:
    """The parts that orders are about."""

    place: Place
    inventory: Inventory
    endpoint: str
    person: Credentials
    servers: Servers
    vpc: Vpc
    ecs: Ecs
    identities: Identities
    isolation: Isolation

    def parts(self) -> dict[str, bool]:
        """Whether each part runs."""
        return {**self.servers.running(), DNS: self.vpc.names_running}

    async def services(self) -> dict[str, tuple[int, int]]:
        """Each service's running and desired count, by its short name."""
        return {
            self.inventory.short(service["serviceName"]): (service["runningCount"], service["desiredCount"])
            for service in await self._describe()
        }

    async def settle(self, progress: Callable[[str], None]) -> None:
        """Wait until every service's deployment is complete; after 30 s say in `progress` which one's is not."""
        deadline = asyncio.get_running_loop().time() + _SETTLED_SECONDS
        while waiting := [service["serviceName"] for service in await self._describe() if not _is_settled(service)]:
            if asyncio.get_running_loop().time() > deadline:
                progress(f"not settled yet: {', '.join(waiting)}")
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _describe(self) -> list[dict[str, Any]]:
        names = [service.name for service in self.inventory.services]
        services: list[dict[str, Any]] = (await self._call("DescribeServices", services=names))["services"]
        return services

    async def stop(self, part: str) -> None:
        """Stop a part, or scale a service to nothing; raises LabError for what there is not."""
        if part == DNS:
            await self.vpc.stop_names()
        elif part in self.servers.running():
            await self.servers.stop(part)
        else:
            await self._scale(part, running=False)

    async def start(self, part: str) -> None:
        """Start a part again, or scale a service to what the inventory expects; raises LabError."""
        if part == DNS:
            await self.vpc.start_names()
        elif part in self.servers.running():
            await self.servers.start(part)
        else:
            await self._scale(part, running=True)

    async def _scale(self, part: str, *, running: bool) -> None:
        known = {self.inventory.short(service.name): service for service in self.inventory.services}
        if part not in known:
            raise LabError(
                f"The lab has no part '{part}'.",
                cause="lab-part-unknown",
                next_step=f"Use one of: {', '.join((*self.parts(), *known))}.",
            )
        service = known[part]
        await self._call("UpdateService", service=service.name, desiredCount=service.expected if running else 0)

    async def _call(self, action: str, **payload: object) -> dict[str, Any]:
        payload["cluster"] = self.inventory.cluster
        try:
            return await self.ecs.call(action, payload, f"arn:aws:iam::{ACCOUNT}:user/{PERSON}")
        except EcsApiError as error:
            raise LabError(
                f"The lab's ECS refuses {action}: {error.message}",
                cause="lab-part-failed",
                next_step="Was the cluster or a service deleted? A lab that is started anew has them all.",
            ) from error


def _is_settled(service: dict[str, Any]) -> bool:
    states = [deployment["rolloutState"] for deployment in service["deployments"]]
    return states == ["COMPLETED"] and service["runningCount"] == service["desiredCount"]

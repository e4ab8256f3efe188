"""What every probe gets, and the two Results that every probe may give without having looked."""

from collections.abc import Mapping
from dataclasses import dataclass

from toolbox.inventory import Inventory
from toolbox.model.result import Json, Result, Status
from toolbox.net.resolver import Resolver


@dataclass(frozen=True, slots=True)
class Context:
    """Where we are: the task's environment, the runbook, how names are resolved, and how long a phase may take.

    `timeout` is in seconds and goes before the inventory's thresholds.
    """

    environ: Mapping[str, str]
    inventory: Inventory
    resolver: Resolver
    timeout: float | None = None

    @property
    def connect_timeout(self) -> float:
        """Seconds for resolving a name, and for connecting."""
        return self.timeout or self.inventory.thresholds.connect_timeout

    @property
    def probe_timeout(self) -> float:
        """Seconds for each exchange after that."""
        return self.timeout or self.inventory.thresholds.probe_timeout


def skipped(check: str, target: str, reason: str) -> Result:
    """A check that is moot: its prerequisite failed, or it does not apply."""
    return Result(check, target, Status.SKIPPED, f"not checked: {reason}")


def not_checked(
    check: str, target: str, why: str, *, hint: str | None, facts: Mapping[str, Json] | None = None
) -> Result:
    """A check that could not be made: nothing is known about its target."""
    return Result(check, target, Status.UNKNOWN, why, facts=facts or {}, hint=hint)

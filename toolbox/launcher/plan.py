"""The running api service in, RegisterTaskDefinition and RunTask inputs out: pure, so that --plan can show it.

Network, environment, secrets, roles, platform come from the api service; its image, sidecars, ports, health check and
command do not. Limits are those of the ECS API: 65,536 bytes for a task definition, 8,192 characters of overrides.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from toolbox.errors import LaunchError

Document = dict[str, Any]

STARTED_BY: Final = "toolbox"
CONTENT_LABEL: Final = "toolbox.content"
LOG_PREFIX: Final = "toolbox"
OWNER_TAG: Final = "toolbox:owner"
EXPIRY_TAG: Final = "toolbox:expires"
LAUNCH_TAG: Final = "toolbox:launch"

_MAX_DEFINITION_BYTES: Final = 65_536
_MAX_OVERRIDE_CHARACTERS: Final = 8_192
# They would break the far side of the session, and say nothing about what the api sees.
_NOT_TAKEN_OVER: Final = frozenset({"PATH", "HOME", "SHELL", "TERM", "PWD"})
_OLDEST_PLATFORM: Final = (1, 4, 0)


@dataclass(frozen=True, slots=True)
class Clock:
    """When the task ends by itself, in seconds. `heartbeat` 0 means that it need not hear from its client."""

    lifetime: int
    idle: int
    heartbeat: int = 120


@dataclass(frozen=True, slots=True)
class Order:
    """What one launch asks for beyond what the api service says. `token` makes RunTask idempotent."""

    environment: str
    image: str
    task_role: str | None
    container: str | None
    clock: Clock
    owner: str
    token: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be sent to ECS, and what a person should know about it."""

    register: Document
    run: Document
    api_container: str
    notes: tuple[str, ...] = field(default=())

    @property
    def content(self) -> str:
        """The hash of the definition: a revision with the same one need not be registered again."""
        labels: Mapping[str, str] = self.register["containerDefinitions"][0]["dockerLabels"]
        return labels[CONTENT_LABEL]


def make_plan(service: Document, definition: Document, template: Document, order: Order) -> Plan:
    """The inputs that start a task beside `service`, whose task definition is `definition`.

    Raises LaunchError where no such task can be made, with the reason.
    """
    api, how = pick_container(definition, service, order.container)
    notes = [f"the api's container is '{api['name']}': {how}"] if how else []
    register = _registration(definition, api, template, order, notes)
    run = _run(service, register, order, notes)
    return Plan(register, run, api["name"], tuple(notes))


def pick_container(definition: Document, service: Document, configured: str | None) -> tuple[Document, str | None]:
    """The container of the application, and how it was told where its load balancer does not name it.

    Never the first of the list: sidecars stand anywhere in it. Raises LaunchError when nothing tells.
    """
    containers: Sequence[Document] = definition["containerDefinitions"]
    by_name = {container["name"]: container for container in containers}
    for balancer in service.get("loadBalancers", []):
        if balancer.get("containerName") in by_name:
            return by_name[balancer["containerName"]], None
    serving = [c for c in containers if c.get("essential", True) and c.get("portMappings")]
    if len(serving) == 1:
        return serving[0], "the only essential one with ports"
    if configured in by_name:
        return by_name[str(configured)], "the inventory names it"
    names = ", ".join(sorted(by_name))
    raise LaunchError(
        f"Cannot tell which container of {service['serviceName']} is the application: {names}.",
        cause="container-unclear",
        next_step='Name it in the inventory: [shell] container = "…".',
    )


def with_revision(plan: Plan, task_definition: str) -> Document:
    """The RunTask input once the revision is known."""
    return {**plan.run, "taskDefinition": task_definition}


def shown(plan: Plan) -> Document:
    """The plan as a person may see it: environment values that came from the api are not shown, only their names."""
    register = copy.deepcopy(plan.register)
    for container in register["containerDefinitions"]:
        for pair in container.get("environment", []):
            pair["value"] = "(not shown)"
    return {
        "container": plan.api_container,
        "notes": list(plan.notes),
        "register": register,
        "run": copy.deepcopy(plan.run),
    }


def _registration(definition: Document, api: Document, template: Document, order: Order, notes: list[str]) -> Document:
    register = copy.deepcopy(template)
    register["family"] = f"{template['family']}-{order.environment}"
    for key in ("executionRoleArn", "taskRoleArn", "runtimePlatform"):
        if definition.get(key):
            register[key] = copy.deepcopy(definition[key])
    if order.task_role:
        register["taskRoleArn"] = order.task_role
    if not register.get("taskRoleArn"):
        raise LaunchError(
            "The api's task definition has no task role, and ECS Exec needs one.",
            cause="task-role-missing",
            next_step='Name a role with the four ssmmessages actions in the inventory: task_role = "…".',
        )
    container: Document = register["containerDefinitions"][0]
    container["image"] = order.image
    container["environment"] = [
        dict(pair) for pair in api.get("environment", []) if pair["name"] not in _NOT_TAKEN_OVER
    ]
    for key in ("environmentFiles", "secrets"):
        if api.get(key):
            container[key] = copy.deepcopy(api[key])
    logging = _logging(api, notes)
    if logging:
        container["logConfiguration"] = logging
    if definition.get("volumes"):
        notes.append("the api's volumes are not mounted")
    canonical = json.dumps(register, sort_keys=True, separators=(",", ":"))
    container["dockerLabels"] = {CONTENT_LABEL: hashlib.sha256(canonical.encode()).hexdigest()}
    size = len(json.dumps(register, separators=(",", ":")).encode())
    if size > _MAX_DEFINITION_BYTES:
        raise LaunchError(
            f"The task definition would be {size} bytes; ECS takes {_MAX_DEFINITION_BYTES}.",
            cause="definition-too-large",
            next_step="Move the api's largest environment variables to an environment file or to secrets.",
        )
    return register


def _logging(api: Document, notes: list[str]) -> Document | None:
    """The api's log group under a stream prefix of our own, so that our output never mixes with the api's."""
    logging: Document | None = copy.deepcopy(api.get("logConfiguration"))
    if not logging or logging.get("logDriver") != "awslogs":
        driver = logging.get("logDriver") if logging else "none"
        notes.append(f"no log of the task: the api's log driver is {driver}, only awslogs can be shared")
        return None
    options: dict[str, str] = logging.setdefault("options", {})
    options["awslogs-stream-prefix"] = LOG_PREFIX
    for key in ("awslogs-multiline-pattern", "awslogs-datetime-format"):
        options.pop(key, None)
    return logging


def _run(service: Document, register: Document, order: Order, notes: list[str]) -> Document:
    network = service.get("networkConfiguration")
    if not network or "awsvpcConfiguration" not in network:
        raise LaunchError(
            f"{service['serviceName']} has no awsvpc network configuration, so there is no place beside it.",
            cause="network-mode",
            next_step='Name a service in the inventory that runs in the VPC: [shell] service = "…".',
        )
    environment = {
        "TOOLBOX_LIFETIME": str(order.clock.lifetime),
        "TOOLBOX_IDLE": str(order.clock.idle),
        "TOOLBOX_HEARTBEAT": str(order.clock.heartbeat),
        "TOOLBOX_ENVIRONMENT": order.environment,
    }
    override = {
        "name": register["containerDefinitions"][0]["name"],
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
    }
    run: Document = {
        "cluster": service["clusterArn"],
        "taskDefinition": register["family"],
        "count": 1,
        "networkConfiguration": copy.deepcopy(network),
        "enableExecuteCommand": True,
        "startedBy": STARTED_BY,
        "clientToken": order.token,
        "overrides": {"containerOverrides": [override]},
        "tags": [
            {"key": OWNER_TAG, "value": tag_value(order.owner)},
            {"key": EXPIRY_TAG, "value": order.expires.strftime("%Y-%m-%dT%H:%M:%SZ")},
            {"key": LAUNCH_TAG, "value": order.token},
        ],
    }
    run.update(_capacity(service, notes))
    if len(json.dumps(run["overrides"], separators=(",", ":"))) > _MAX_OVERRIDE_CHARACTERS:
        raise LaunchError("The overrides are longer than ECS takes.", cause="overrides-too-large")
    return run


def _capacity(service: Document, notes: list[str]) -> Document:
    """Either a capacity provider strategy or a launch type, never both, and the platform version."""
    capacity: Document = {}
    strategy: Sequence[Document] = service.get("capacityProviderStrategy", [])
    if strategy and all(provider["capacityProvider"].startswith("FARGATE") for provider in strategy):
        capacity["capacityProviderStrategy"] = copy.deepcopy(list(strategy))
        if any(provider["capacityProvider"] == "FARGATE_SPOT" for provider in strategy):
            notes.append("the task may run on Fargate Spot, as the api does, and be taken away")
    else:
        capacity["launchType"] = "FARGATE"
        if service.get("launchType", "FARGATE") != "FARGATE":
            notes.append(f"the api runs on {service['launchType']}; the task runs on Fargate")
    version = service.get("platformVersion")
    if version and version != "LATEST":
        if tuple(int(part) for part in version.split(".") if part.isdigit()) < _OLDEST_PLATFORM:
            version = "LATEST"
            notes.append("the api's platform version is older than ECS Exec needs (1.4.0): using LATEST")
        capacity["platformVersion"] = version
    return capacity


def tag_value(text: str) -> str:
    """`text` as ECS takes it in a tag: letters, digits, spaces and `+ - = . _ : / @`, at most 256 characters."""
    return "".join(c if c.isalnum() or c in " +-=._:/@" else "_" for c in text)[:256]

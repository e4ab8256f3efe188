"""What a launch must know before it changes anything: who we are, the running api service, the image, the plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from toolbox.aws import Aws, AwsRefused, Identity
from toolbox.errors import LaunchError, UsageError
from toolbox.inventory import Inventory
from toolbox.launcher import image
from toolbox.launcher.plan import CONTENT_LABEL, Clock, Document, Order, Plan, make_plan
from toolbox.launcher.tasks import Progress

TEMPLATE_FILE: Final = "task-definition.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that a launch needs, before anything was changed."""

    identity: Identity
    region: str
    service: str
    plan: Plan


async def prepare(aws: Aws, inventory: Inventory, clock: Clock, progress: Progress) -> Prepared:
    """Read who we are and the running api service, and plan the task; raises a ToolboxError, changes nothing."""
    root = image.repository_root()
    template = read_template(root / TEMPLATE_FILE)
    identity = await aws.identity()
    if inventory.account and inventory.account != identity.account:
        raise LaunchError(
            f"These credentials are for account {identity.account}; {inventory.environment} is {inventory.account}.",
            cause="wrong-account",
            next_step="Use the profile of the right account: AWS_PROFILE=…",
        )
    progress(who(identity, aws.region, inventory.cluster))
    service = await _service(aws, inventory)
    definition_arn, notes = running_definition(service)
    answer = await aws.call("ecs", "describe_task_definition", taskDefinition=definition_arn)
    choice = await image.choose(aws, identity.account, inventory.image_repository, image.content_tag(root))
    order = Order(
        environment=inventory.environment,
        image=choice.reference,
        task_role=_role_arn(inventory.task_role, identity.account),
        container=inventory.shell.container,
        clock=clock,
        owner=identity.name,
        token=str(uuid4()),
        expires=datetime.now(UTC) + timedelta(seconds=clock.lifetime),
    )
    plan = make_plan(service, answer["taskDefinition"], template, order)
    more = (*notes, *([choice.note] if choice.note else []))
    plan = Plan(plan.register, plan.run, plan.api_container, (*plan.notes, *more))
    return Prepared(identity, aws.region, service["serviceName"], plan)


def who(identity: Identity, region: str, cluster: str) -> str:
    """As whom, and where, everything that follows is done."""
    return f"{identity.name} in account {identity.account}, {region}, cluster {cluster}"


async def revision(aws: Aws, plan: Plan, progress: Progress) -> str:
    """The ARN of a revision with the plan's content: the newest one when it is the same, else a new one."""
    try:
        answer = await aws.call("ecs", "describe_task_definition", taskDefinition=plan.register["family"])
    except AwsRefused as error:
        if error.code != "ClientException":  # that is how ECS says that there is no such family yet
            raise
        answer = {}
    definition: Mapping[str, Any] = answer.get("taskDefinition", {})
    for container in definition.get("containerDefinitions", []):
        if container.get("dockerLabels", {}).get(CONTENT_LABEL) == plan.content:
            return str(definition["taskDefinitionArn"])
    progress(f"registering a revision of {plan.register['family']}")
    registered = await aws.call("ecs", "register_task_definition", **plan.register)
    return str(registered["taskDefinition"]["taskDefinitionArn"])


def running_definition(service: Document) -> tuple[str, tuple[str, ...]]:
    """The task definition of the api that runs *now*, and a note where it is not the one being rolled out."""
    deployments: Sequence[Mapping[str, Any]] = service.get("deployments", [])
    running = [deployment for deployment in deployments if deployment.get("runningCount", 0) > 0]
    wanted = str(service["taskDefinition"])
    if not running:
        return wanted, ("no task of the api is running: its definition is used",)
    if any(deployment["taskDefinition"] == wanted for deployment in running):
        return wanted, ()
    current = str(running[0]["taskDefinition"])
    return current, (f"the api runs {current.rpartition('/')[2]}; {wanted.rpartition('/')[2]} is not running yet",)


def read_template(path: Path) -> Document:
    """The RegisterTaskDefinition input that every launch starts from; raises UsageError naming file and place."""
    try:
        template: Document = json.loads(path.read_text(encoding="utf-8"))
        names = [container["name"] for container in template["containerDefinitions"]]
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", cause="template-invalid", next_step="Restore the file."
        ) from error
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{path}, line {error.lineno}: {error.msg}.", cause="template-invalid", next_step="Correct the line."
        ) from error
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no RegisterTaskDefinition input: no container with a name.",
            cause="template-invalid",
            next_step="Restore the file.",
        ) from error
    if len(names) != 1 or "family" not in template:
        raise UsageError(
            f"{path} must hold a family and exactly one container, not {len(names)}.",
            cause="template-invalid",
            next_step="Restore the file.",
        )
    return template


async def _service(aws: Aws, inventory: Inventory) -> Document:
    name = inventory.shell.service
    try:
        answer = await aws.call("ecs", "describe_services", cluster=inventory.cluster, services=[name])
    except AwsRefused as error:
        if error.code != "ClusterNotFoundException":
            raise
        raise LaunchError(
            f"There is no cluster {inventory.cluster} in this account and region ({aws.region}).",
            cause="cluster-missing",
            next_step="Check AWS_PROFILE and the region, or name another environment with --inventory.",
        ) from error
    services: Sequence[Document] = answer["services"]
    if not services or services[0]["status"] != "ACTIVE":
        state = services[0]["status"] if services else "missing"
        raise LaunchError(
            f"The service {name} is {state} in {inventory.cluster}, so there is nothing to start beside.",
            cause="service-missing",
            next_step="Find out who removed it; meanwhile name another: [shell] service in the inventory.",
        )
    return services[0]


def _role_arn(role: str | None, account: str) -> str | None:
    return role if role is None or role.startswith("arn:") else f"arn:aws:iam::{account}:role/{role}"

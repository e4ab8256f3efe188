"""Task definitions."""

import json
from collections import Counter
from typing import Final

from toolbox.lab.ecs.actions.paging import page
from toolbox.lab.ecs.containers import pairs
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe import definition_answer, tag_list
from toolbox.lab.ecs.errors import client
from toolbox.lab.ecs.state import ACTIVE, INACTIVE, Document, TaskDefinition

NO_ENVIRONMENT_FILES: Final = "The lab's ECS reads no environmentFiles: a task would start without their variables."
_LONGEST: Final = 64 * 1024  # bytes as JSON: 'Amazon ECS service quotas', task definition size


def register_task_definition(core: Core, request: Document, principal: str) -> Document:
    """RegisterTaskDefinition: the next revision of its family."""
    body = {key: value for key, value in request.items() if key != "tags"}
    _check(body)
    family = body["family"]
    revisions = core.state.definitions.setdefault(family, [])
    revision = len(revisions) + 1
    definition = TaskDefinition(
        arn=core.state.arn(f"task-definition/{family}:{revision}"),
        family=family,
        revision=revision,
        body=body,
        registered_at=core.now(),
        registered_by=principal,
        tags=pairs(request.get("tags", []), "key"),
    )
    revisions.append(definition)
    return {"taskDefinition": definition_answer(definition), "tags": tag_list(definition.tags)}


def _check(body: Document) -> None:
    containers = body["containerDefinitions"]
    if not containers:
        raise client("Container list cannot be empty.")
    repeated = [name for name, count in Counter(c.get("name") for c in containers).items() if count > 1]
    if repeated:
        raise client("Container names must be unique within a task definition.")
    for container in containers:
        if not container.get("name") or not container.get("image"):
            raise client("Container.name and Container.image should not be null or empty.")
        if container.get("environmentFiles"):
            raise client(NO_ENVIRONMENT_FILES)
    if not any(container.get("essential", True) for container in containers):
        raise client("Invalid setting for container. At least one container must be essential.")
    if "FARGATE" in body.get("requiresCompatibilities", []):
        if body.get("networkMode") != "awsvpc":
            raise client("Fargate only supports network mode ‘awsvpc’.")
        if not body.get("cpu") or not body.get("memory"):
            raise client("No Fargate configuration exists for given values.")
    length = len(json.dumps(body, separators=(",", ":")).encode())
    if length > _LONGEST:
        raise client(f"Actual length: '{length}'. Max allowed length is '{_LONGEST}' bytes.")


def deregister_task_definition(core: Core, request: Document, principal: str) -> Document:
    """DeregisterTaskDefinition: INACTIVE from now on, and still describable."""
    definition = core.definition(request["taskDefinition"])
    if definition.deregistered_at is None:
        definition.deregistered_at = core.now()
    return {"taskDefinition": definition_answer(definition)}


def describe_task_definition(core: Core, request: Document, principal: str) -> Document:
    """DescribeTaskDefinition."""
    definition = core.definition(request["taskDefinition"])
    tags = {"tags": tag_list(definition.tags)} if "TAGS" in request.get("include", []) else {}
    return {"taskDefinition": definition_answer(definition), **tags}


def list_task_definitions(core: Core, request: Document, principal: str) -> Document:
    """ListTaskDefinitions; `familyPrefix` is a whole family's name, as in AWS."""
    family, status = request.get("familyPrefix"), request.get("status", ACTIVE)
    found = [d for name, all_of in core.state.definitions.items() for d in all_of if family in (None, name)]
    found = [definition for definition in found if definition.status == status]
    found.sort(key=lambda d: (d.family, d.revision), reverse=request.get("sort") == "DESC")
    size = request.get("maxResults", 100)
    start = next((n for n, d in enumerate(found) if d.arn == request.get("nextToken")), -1) + 1
    answer: Document = {"taskDefinitionArns": [d.arn for d in found[start : start + size]]}
    if len(found) > start + size:
        answer["nextToken"] = found[start + size - 1].arn
    return answer


def list_task_definition_families(core: Core, request: Document, principal: str) -> Document:
    """ListTaskDefinitionFamilies."""
    prefix, status = request.get("familyPrefix", ""), request.get("status", "ALL")
    families = []
    for family, revisions in core.state.definitions.items():
        its = ACTIVE if any(d.status == ACTIVE for d in revisions) else INACTIVE
        if family.startswith(prefix) and status in ("ALL", its):
            families.append(family)
    return page(families, request, "families")

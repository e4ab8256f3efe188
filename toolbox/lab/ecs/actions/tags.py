"""Tags of clusters, services, tasks and task definitions."""

from toolbox.lab.ecs.containers import pairs
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe import tag_list
from toolbox.lab.ecs.errors import invalid
from toolbox.lab.ecs.state import Document


def tag_resource(core: Core, request: Document, principal: str) -> Document:
    """TagResource."""
    _tags_of(core, request["resourceArn"]).update(pairs(request["tags"], "key"))
    return {}


def untag_resource(core: Core, request: Document, principal: str) -> Document:
    """UntagResource."""
    tags = _tags_of(core, request["resourceArn"])
    for key in request["tagKeys"]:
        tags.pop(key, None)
    return {}


def list_tags_for_resource(core: Core, request: Document, principal: str) -> Document:
    """ListTagsForResource."""
    return {"tags": tag_list(_tags_of(core, request["resourceArn"]))}


def _tags_of(core: Core, arn: str) -> dict[str, str]:
    """The tags themselves; raises what ECS raises for an ARN that names nothing."""
    kind, *path = arn.split(":", 5)[-1].split("/")
    if kind == "task-definition":
        return core.definition(arn).tags
    if kind == "cluster" and path:
        return core.cluster(path[0]).tags
    if kind == "service" and len(path) == 2:
        return core.service(core.cluster(path[0]), path[1]).tags
    if kind == "task" and len(path) == 2 and (task := core.task(core.cluster(path[0]), path[1])):
        return task.tags
    raise invalid("The specified resource was not found.")

"""Tasks: run, stop, look, and a session into one."""

import json
from typing import Final

from toolbox.lab.contract import SessionKey
from toolbox.lab.ecs.actions.definitions import NO_ENVIRONMENT_FILES
from toolbox.lab.ecs.actions.paging import page
from toolbox.lab.ecs.containers import pairs
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe import task_answer
from toolbox.lab.ecs.errors import EcsApiError, invalid
from toolbox.lab.ecs.state import Cluster, ContainerState, Document, Task, TaskDefinition
from toolbox.lab.ecs.tasks import ask_to_stop

_MOST_TASKS: Final = 10
_MOST_DESCRIBED: Final = 100
_LONGEST_OVERRIDES: Final = 8192  # characters: RunTask in the ECS API reference
_EXEC_NOT_RUNNING: Final = (
    "The execute command failed because execute command was not enabled when the task was run or the execute command"
    " agent isn’t running. Wait and try again or run a new task with execute command enabled and try again."
)
_NOT_CONNECTED: Final = "The execute command failed due to an internal error. Try again later."


def run_task(core: Core, request: Document, principal: str) -> Document:
    """RunTask. The same clientToken with the same parameters answers the same tasks, with others ConflictException."""
    cluster = core.cluster(request.get("cluster"))
    token = request.get("clientToken")
    if token and (known := core.state.run_tokens.get((cluster.name, token))):
        before, tasks = known
        if before != request:
            raise EcsApiError("ConflictException", "The client token was used with other parameters.")
        return {"tasks": [task_answer(task, tags=True) for task in tasks], "failures": []}
    definition = core.definition(request["taskDefinition"], active=True)
    overrides = request.get("overrides", {})
    count = request.get("count", 1)
    _check_run(request, definition, overrides, count)
    core.check_roles(definition, overrides)
    tasks = [
        core.new_task(
            cluster,
            definition,
            group=request.get("group", f"family:{definition.family}"),
            network=request["networkConfiguration"],
            exec_enabled=request.get("enableExecuteCommand", False),
            overrides=overrides,
            started_by=request.get("startedBy"),
            tags=_tags(request, cluster, definition),
        )
        for _ in range(count)
    ]
    if token:
        core.state.run_tokens[cluster.name, token] = (request, tasks)
    for task in tasks:
        core.live(task, {})
    return {"tasks": [task_answer(task, tags=True) for task in tasks], "failures": []}


def _check_run(request: Document, definition: TaskDefinition, overrides: Document, count: int) -> None:
    if not 1 <= count <= _MOST_TASKS:
        raise invalid("Count must be between 1 and 10.")
    if not request.get("networkConfiguration", {}).get("awsvpcConfiguration"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if "launchType" not in request and "capacityProviderStrategy" not in request:
        raise invalid("No Container Instances were found in your cluster.")
    if len(json.dumps(overrides, separators=(",", ":"))) > _LONGEST_OVERRIDES:
        raise invalid(f"Container Overrides length must be at most {_LONGEST_OVERRIDES}")
    for override in overrides.get("containerOverrides", []):
        if definition.container(override.get("name", "")) is None:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
        if override.get("environmentFiles"):
            raise invalid(NO_ENVIRONMENT_FILES)


def _tags(request: Document, cluster: Cluster, definition: TaskDefinition) -> dict[str, str]:
    tags = dict(definition.tags) if request.get("propagateTags") == "TASK_DEFINITION" else {}
    if request.get("enableECSManagedTags"):
        tags["aws:ecs:clusterName"] = cluster.name
    return tags | pairs(request.get("tags", []), "key")


def stop_task(core: Core, request: Document, principal: str) -> Document:
    """StopTask: on its way out at once, its tags gone."""
    task = _known(core, core.cluster(request.get("cluster")), request["task"])
    if task is None:
        raise invalid("The referenced task was not found.")
    ask_to_stop(task, "UserInitiated", request.get("reason", "Task stopped by user"), core.now())
    task.tags.clear()
    return {"task": task_answer(task, tags=True)}


def describe_tasks(core: Core, request: Document, principal: str) -> Document:
    """DescribeTasks, at most 100; MISSING too for a task that was run a moment ago."""
    cluster = core.cluster(request.get("cluster"))
    if not request["tasks"]:
        raise invalid("Tasks cannot be empty.")
    if len(request["tasks"]) > _MOST_DESCRIBED:
        raise invalid("Tasks list cannot have more than 100 elements.")
    found, failures = [], []
    for reference in request["tasks"]:
        if task := _known(core, cluster, reference):
            found.append(task_answer(task, tags="TAGS" in request.get("include", [])))
        else:
            arn = reference if reference.startswith("arn:") else core.state.arn(f"task/{cluster.name}/{reference}")
            failures.append({"arn": arn, "reason": "MISSING"})
    return {"tasks": found, "failures": failures}


def _known(core: Core, cluster: Cluster, reference: str) -> Task | None:
    """The task, unless it is so young that the API does not know it yet (eventual consistency)."""
    task = core.task(cluster, reference)
    return task if task and _visible(core, task) else None


def _visible(core: Core, task: Task) -> bool:
    return core.now() - task.times["createdAt"] >= core.timings.visible_after


def list_tasks(core: Core, request: Document, principal: str) -> Document:
    """ListTasks: those meant to run unless STOPPED is asked for; `startedBy` only as the single filter."""
    cluster = core.cluster(request.get("cluster"))
    filters = {"family", "serviceName", "startedBy", "desiredStatus", "launchType", "containerInstance"} & set(request)
    if "startedBy" in filters and len(filters) > 1:
        raise invalid("The startedBy filter cannot be combined with other filters.")
    group = None
    if "serviceName" in request:
        group = f"service:{core.service(cluster, request['serviceName']).name}"
    arns = [
        task.arn
        for task in cluster.tasks.values()
        if _visible(core, task)
        and task.desired == request.get("desiredStatus", "RUNNING")
        and request.get("family") in (None, task.definition.family)
        and group in (None, task.group)
        and request.get("startedBy") in (None, task.started_by)
        and request.get("launchType", "FARGATE") == "FARGATE"
        and "containerInstance" not in request
    ]
    return page(arns, request, "taskArns")


def execute_command(core: Core, request: Document, principal: str) -> Document:
    """ExecuteCommand: a session with the container's agent, once that is connected."""
    cluster = core.cluster(request.get("cluster"))
    task = _known(core, cluster, request["task"])
    if task is None:
        raise invalid("The referenced task was not found.")
    if not request["interactive"]:
        raise invalid("Interactive is the only mode supported currently.")
    name = request.get("container") or (task.containers[0].name if len(task.containers) == 1 else None)
    container = next((c for c in task.containers if c.name == name), None)
    if container is None:
        raise invalid("The referenced container was not found." if name else "The container name must be given.")
    if not task.exec_enabled or task.status != "RUNNING" or container.status != "RUNNING":
        raise invalid(_EXEC_NOT_RUNNING)
    connected_at = (container.agent_started_at or core.now()) + core.timings.agent_connects
    if container.agent_status != "RUNNING" or core.now() < connected_at:
        raise EcsApiError("TargetNotConnectedException", _NOT_CONNECTED)
    key = _session_key(cluster, task, container)
    session_id, stream_url, token = core.open_session(task.id, container.name, request["command"], key)
    return {
        "clusterArn": cluster.arn,
        "containerArn": container.arn,
        "containerName": container.name,
        "interactive": True,
        "session": {"sessionId": session_id, "streamUrl": stream_url, "tokenValue": token},
        "taskArn": task.arn,
    }


def _session_key(cluster: Cluster, task: Task, container: ContainerState) -> SessionKey | None:
    """The key of the cluster's executeCommandConfiguration, if it has one."""
    key_id = cluster.settings.get("configuration", {}).get("executeCommandConfiguration", {}).get("kmsKeyId")
    if not key_id:
        return None
    role = task.overrides.get("taskRoleArn", task.definition.body.get("taskRoleArn"))
    return SessionKey(key_id, f"ecs:{cluster.name}_{task.id}_{container.runtime_id}", role)

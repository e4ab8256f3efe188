"""What ECS remembers, as the API shows it. Pure; times are seconds of the epoch."""

from collections.abc import Mapping
from typing import Any, Final

from toolbox.lab.ecs.state import ACTIVE, PENDING_STATES, Cluster, ContainerState, Document, Task, TaskDefinition

PLATFORM: Final = {"platformVersion": "1.4.0", "platformFamily": "Linux"}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the API lists them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def present(document: Mapping[str, Any]) -> Document:
    """Without what is None: the API leaves fields out rather than saying null."""
    return {key: value for key, value in document.items() if value is not None}


def cluster_answer(cluster: Cluster, *, tags: bool) -> Document:
    """A Cluster."""
    tasks = cluster.tasks.values()
    return {
        "clusterArn": cluster.arn,
        "clusterName": cluster.name,
        "status": ACTIVE,
        "registeredContainerInstancesCount": 0,
        "runningTasksCount": sum(task.status == "RUNNING" for task in tasks),
        "pendingTasksCount": sum(task.status in PENDING_STATES for task in tasks),
        "activeServicesCount": sum(service.status == ACTIVE for service in cluster.services.values()),
        "statistics": [],
        "tags": tag_list(cluster.tags) if tags else [],
        "settings": cluster.settings.get("settings", []),
        "capacityProviders": cluster.settings.get("capacityProviders", []),
        "defaultCapacityProviderStrategy": cluster.settings.get("defaultCapacityProviderStrategy", []),
    } | ({"configuration": cluster.settings["configuration"]} if "configuration" in cluster.settings else {})


def definition_answer(definition: TaskDefinition) -> Document:
    """A TaskDefinition: what was registered, and what ECS adds."""
    filled = [
        {"cpu": 0, "portMappings": [], "essential": True, "environment": [], "mountPoints": [], "volumesFrom": []}
        | container
        | {"portMappings": [{"hostPort": m.get("containerPort"), "protocol": "tcp"} | m for m in _ports(container)]}
        for container in definition.body["containerDefinitions"]
    ]
    return present(
        {"volumes": [], "placementConstraints": [], "requiresAttributes": []}
        | definition.body
        | {
            "containerDefinitions": filled,
            "taskDefinitionArn": definition.arn,
            "revision": definition.revision,
            "status": definition.status,
            "compatibilities": ["EC2", "FARGATE"],
            "registeredAt": definition.registered_at,
            "registeredBy": definition.registered_by,
            "deregisteredAt": definition.deregistered_at,
        }
    )


def _ports(container: Document) -> list[Document]:
    return list(container.get("portMappings", []))


def task_answer(task: Task, *, tags: bool) -> Document:
    """A Task."""
    body = task.definition.body
    grant = task.grant
    answer = {
        "attachments": [_attachment(task)],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "availabilityZone": grant.availability_zone if grant else None,
        "clusterArn": task.cluster.arn,
        "connectivity": "CONNECTED" if "connectivityAt" in task.times else None,
        "containers": [_container(task, container) for container in task.containers],
        "cpu": task.overrides.get("cpu", body.get("cpu", "256")),
        "memory": task.overrides.get("memory", body.get("memory", "512")),
        "desiredStatus": task.desired,
        "enableExecuteCommand": task.exec_enabled,
        "group": task.group,
        "healthStatus": task.health,
        "lastStatus": task.status,
        "launchType": "FARGATE",
        "overrides": _overrides(task),
        **PLATFORM,
        "startedBy": task.started_by,
        "stopCode": task.stop_code,
        "stoppedReason": task.stopped_reason,
        "tags": tag_list(task.tags) if tags else [],
        "taskArn": task.arn,
        "taskDefinitionArn": task.definition.arn,
        "version": task.version,
        "ephemeralStorage": {"sizeInGiB": 20},
        **task.times,
    }
    return present(answer)


def _overrides(task: Task) -> Document:
    given = {o["name"]: o for o in task.overrides.get("containerOverrides", [])}
    containers = [given.get(container.name, {"name": container.name}) for container in task.containers]
    return {**task.overrides, "containerOverrides": containers, "inferenceAcceleratorOverrides": []}


def _attachment(task: Task) -> Document:
    details = []
    if task.grant is not None:
        details = [
            {"name": "subnetId", "value": task.grant.subnet},
            {"name": "networkInterfaceId", "value": task.grant.interface_id},
            {"name": "macAddress", "value": _mac(task.grant.address)},
            {"name": "privateDnsName", "value": f"ip-{task.grant.address.replace('.', '-')}.internal"},
            {"name": "privateIPv4Address", "value": task.grant.address},
        ]
    return {
        "id": task.attachment_id,
        "type": "ElasticNetworkInterface",
        "status": task.attachment_status,
        "details": details,
    }


def _mac(address: str) -> str:
    return ":".join(["0a", "58", *(f"{int(part):02x}" for part in address.split("."))])


def _container(task: Task, container: ContainerState) -> Document:
    interface = {"attachmentId": task.attachment_id, "privateIpv4Address": task.grant.address if task.grant else ""}
    agent = present(
        {
            "name": "ExecuteCommandAgent",
            "lastStatus": container.agent_status,
            "lastStartedAt": container.agent_started_at,
        }
    )
    definition = container.definition
    return present(
        {
            "containerArn": container.arn,
            "taskArn": task.arn,
            "name": container.name,
            "image": definition["image"],
            "imageDigest": container.digest,
            "runtimeId": container.runtime_id if "pullStoppedAt" in task.times else None,
            "lastStatus": container.status,
            "exitCode": container.exit_code,
            "reason": container.reason,
            "networkBindings": [],
            "networkInterfaces": [interface] if task.grant else [],
            "healthStatus": container.health,
            "managedAgents": [agent] if container.agent_status else None,
            "cpu": str(definition.get("cpu", 0)),
            "memory": str(definition["memory"]) if "memory" in definition else None,
            "memoryReservation": str(definition["memoryReservation"]) if "memoryReservation" in definition else None,
        }
    )

"""From a container definition and an image to what the runtime starts. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from toolbox.lab.contract import Grant, Image
from toolbox.lab.ecs.state import ContainerState, Document, Task
from toolbox.lab.runtime.spec import ContainerSpec

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # Docker's, for an image without one


def container_spec(
    task: Task, container: ContainerState, image: Image, secrets: Mapping[str, str], grant: Grant, region: str
) -> ContainerSpec:
    """What the runtime starts. RunTask's overrides reach command and environment, never the entry point.

    Later environments win: what Fargate sets, the image's, the definition's, secrets, the placement's, the override's.
    """
    definition, override = container.definition, override_of(task, container.name)
    fargate = {
        "PATH": _PATH,
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
    environment = {
        **fargate,
        **image.environment,
        **pairs(definition.get("environment", [])),
        **secrets,
        **grant.environment,
        **pairs(override.get("environment", [])),
    }
    entry_point = definition.get("entryPoint") or image.entry_point
    # Docker drops the image's command when the entry point is replaced.
    default = () if definition.get("entryPoint") else image.command
    command = override.get("command") or definition.get("command") or default
    return ContainerSpec(
        task_id=task.id,
        name=container.name,
        argv=(*entry_point, *command),
        environment=environment,
        files={"/etc/hosts": grant.hosts, "/etc/resolv.conf": grant.resolv_conf},
        hostname=f"ip-{grant.address.replace('.', '-')}.{region}.compute.internal",
        directory=definition.get("workingDirectory", "/"),
        init=bool(definition.get("linuxParameters", {}).get("initProcessEnabled")),
        limits={limit["name"]: limit["softLimit"] for limit in definition.get("ulimits", [])},
    )


def override_of(task: Task, container: str) -> Document:
    """RunTask's override for `container`."""
    found = (o for o in task.overrides.get("containerOverrides", []) if o.get("name") == container)
    return next(found, {})


def pairs(entries: Sequence[Mapping[str, str]], key: str = "name") -> dict[str, str]:
    """`[{name, value}]`, or tags with `key`, as a dictionary."""
    return {entry[key]: entry.get("value", "") for entry in entries}


def repository(reference: str) -> str:
    """`reference` without its tag or digest; a registry's port stays."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def in_order(containers: Sequence[ContainerState]) -> list[ContainerState]:
    """The containers so that each comes after those it depends on; a circle is broken where it is met."""
    by_name = {container.name: container for container in containers}
    ordered: dict[str, ContainerState] = {}

    def add(container: ContainerState, above: frozenset[str]) -> None:
        for dependency in container.definition.get("dependsOn", []):
            name = dependency["containerName"]
            if name in by_name and name not in above:
                add(by_name[name], above | {container.name})
        ordered.setdefault(container.name, container)

    for container in containers:
        add(container, frozenset({container.name}))
    return list(ordered.values())

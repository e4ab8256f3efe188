"""What IAM asks for a request: actions, each with the ARNs that it is about (Service Authorization Reference).

Only as far as the toolbox's calls and the tests' policies go; everything else is about `*`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from toolbox.lab.aws.backends import ACCOUNT, REGION
from toolbox.lab.aws.request import Request

_ECS: Final = f"arn:aws:ecs:{REGION}:{ACCOUNT}"
_LOGS: Final = f"arn:aws:logs:{REGION}:{ACCOUNT}"
_IAM: Final = f"arn:aws:iam::{ACCOUNT}"


def needed(request: Request, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each action that the caller must be allowed, with the resources that it concerns."""
    resources = _RESOURCES.get(f"{request.service}:{request.action}", _anything)
    yield f"{request.service}:{request.action}", resources(parameters)
    if request.service == "ecs":
        yield from _needed_beside(request.action, parameters)


def _needed_beside(action: str, parameters: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    """What ECS asks for beside the action itself: handing over roles, and tagging at creation."""
    holders = (parameters, parameters.get("overrides") or {})
    roles = [holder[key] for holder in holders for key in ("taskRoleArn", "executionRoleArn") if holder.get(key)]
    if roles:
        yield "iam:PassRole", [_arn(f"{_IAM}:role/", role) for role in roles]
    if action in ("RunTask", "CreateService", "RegisterTaskDefinition") and parameters.get("tags"):
        yield "ecs:TagResource", ["*"]


def _arn(prefix: str, name: str) -> str:
    return name if name.startswith("arn:") else prefix + name


def _anything(_: Mapping[str, Any]) -> Sequence[str]:
    return ["*"]


def _cluster(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("cluster") or "default").rpartition("/")[2]


def _tasks(parameters: Mapping[str, Any]) -> Sequence[str]:
    tasks = parameters.get("tasks") or [parameters.get("task", "*")]
    return [_arn(f"{_ECS}:task/{_cluster(parameters)}/", str(task)) for task in tasks]


def _services(parameters: Mapping[str, Any]) -> Sequence[str]:
    services = parameters.get("services") or [parameters.get("service", "*")]
    return [_arn(f"{_ECS}:service/{_cluster(parameters)}/", str(service)) for service in services]


def _task_definition(parameters: Mapping[str, Any]) -> Sequence[str]:
    name = str(parameters.get("taskDefinition", "*"))
    return [_arn(f"{_ECS}:task-definition/", name if ":" in name else f"{name}:*")]


def _log_group(parameters: Mapping[str, Any]) -> Sequence[str]:
    name = str(parameters.get("logGroupName") or parameters.get("logGroupIdentifier") or "*").removesuffix(":*")
    return [_arn(f"{_LOGS}:log-group:", name) + ":log-stream:"]


def _secret(parameters: Mapping[str, Any]) -> Sequence[str]:
    return [_arn(f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:", str(parameters.get("SecretId", "*")))]


def _role(parameters: Mapping[str, Any]) -> Sequence[str]:
    return [f"{_IAM}:role/{parameters.get('RoleName', '*')}"]


_RESOURCES: Final = {
    "ecs:RunTask": _task_definition,
    "ecs:StopTask": _tasks,
    "ecs:DescribeTasks": _tasks,
    "ecs:ExecuteCommand": _tasks,
    "ecs:DescribeServices": _services,
    "ecs:UpdateService": _services,
    "ecs:DeleteService": _services,
    "logs:FilterLogEvents": _log_group,
    "logs:GetLogEvents": _log_group,
    "secretsmanager:GetSecretValue": _secret,
    "secretsmanager:DescribeSecret": _secret,
    "iam:GetRole": _role,
    "iam:GetRolePolicy": _role,
    "iam:ListRolePolicies": _role,
    "iam:ListAttachedRolePolicies": _role,
}

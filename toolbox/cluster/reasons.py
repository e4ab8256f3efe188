"""Why a task stopped: the texts of ECS as a cause class and a next step. Pure.

ECS rewords its texts every year and cuts them, so classes are told by substrings, case ignored. Evidence ranks:
a container's reason, then stoppedReason, then the exit code; 'Essential container in task exited' carries no cause.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Containers that nobody put into the task definition: never the cause.
_INJECTED: Final = ("aws-guardduty-agent", "ecs-service-connect")


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a task stopped. `cause` is a class or None; `text` is ECS's own words (untrusted); `next_step` a sentence."""

    cause: str | None
    text: str
    next_step: str


@dataclass(frozen=True, slots=True)
class _Rule:
    cause: str
    every: tuple[str, ...]
    some: tuple[str, ...]
    next_step: str


_NAT: Final = "Check that the subnets have a way out: NAT, or endpoints whose security group lets the task in on 443."
# The first that fits counts: registry-auth before secrets, since its text may also hold 'unable to pull secrets'.
_RULES: Final = (
    _Rule(
        "registry-auth",
        (),
        ("unable to retrieve ecr registry auth", "get registry auth from asm"),
        f"The execution role needs ecr:GetAuthorizationToken. {_NAT}",
    ),
    _Rule(
        "image-network",
        ("cannotpull",),
        (
            "could not reach any registry",
            "i/o timeout",
            "context canceled",
            "deadline exceeded",
            "no such host",
            "request canceled",
            "dial tcp",
        ),
        _NAT,
    ),
    _Rule(
        "image-rate", ("cannotpull",), ("toomanyrequests", "pull rate limit", "httpreaderseeker"), "Try again later."
    ),
    _Rule(
        "image-architecture",
        (),
        ("does not contain descriptor matching platform", "exec format error"),
        "Build the image for the architecture of the api's runtimePlatform.",
    ),
    _Rule(
        "image-denied",
        ("cannotpull",),
        ("403", "401", "denied", "no basic auth", "not authorized"),
        "Let the execution role pull from the repository (ecr:BatchGetImage, ecr:GetDownloadUrlForLayer).",
    ),
    _Rule(
        "image-missing",
        ("cannotpull",),
        ("not found", "manifest unknown", "does not exist"),
        "Publish the image, or name the repository that holds it in the inventory (image_repository).",
    ),
    _Rule("disk", (), ("no space left on device",), "Ask for more ephemeral storage."),
    _Rule(
        "secrets-denied",
        ("unable to pull secrets",),
        ("accessdenied", "kms"),
        "Let the execution role read the secret (secretsmanager:GetSecretValue, kms:Decrypt).",
    ),
    _Rule(
        "secrets-missing",
        ("unable to pull secrets",),
        ("resourcenotfound", "invalid parameters", "did not contain json key", "can't find"),
        "Restore the secret that the api's task definition names, or correct the name.",
    ),
    _Rule("secrets-network", ("unable to pull secrets",), ("deadline exceeded", "connection issue"), _NAT),
    _Rule("secrets-shape", ("unable to pull secrets",), ("invalid character",), "Make the secret valid JSON."),
    _Rule(
        "logging",
        (),
        ("failed to validate logger args", "failed to initialize logging driver"),
        "Check that the log group exists and that the execution role may write to it.",
    ),
    _Rule("volume", (), ("failed to invoke efs utils", "mount.nfs4"), "Check the file system's mount targets."),
    _Rule(
        "eni",
        (),
        ("network interface provisioning", "unexpected ec2 error"),
        "Try again; if it persists, check that the subnets have free addresses and the security groups exist.",
    ),
    _Rule("oom", (), ("outofmemory",), "Give the task more memory."),
    _Rule("elb-check", (), ("failed elb health checks",), "Read the task's log: the health check gets no good answer."),
    _Rule("container-check", (), ("failed container health checks",), "Read the task's log."),
    _Rule("cannot-start", (), ("cannotstartcontainer", "cannotcreatecontainer"), "Check the image's entry point."),
    _Rule("maintenance", (), ("maintenance on the underlying infrastructure",), "Start it again."),
    _Rule("spot", (), ("spot task was interrupted", "spotinterruption"), "Start it again."),
    _Rule("capacity", (), ("capacity is unavailable",), "Try again in a minute, or in another availability zone."),
    _Rule("quota", (), ("limit on the number of", "is above your limit"), "Ask AWS for a higher Fargate quota."),
    _Rule("roles", (), ("unable to assume the role",), "Check the role's trust policy and that it still exists."),
    _Rule("aws", (), ("internal error",), "Try again; look at the AWS Health Dashboard if it persists."),
)


def stop_reason(task: Mapping[str, Any]) -> StopReason:
    """Why `task` (as DescribeTasks gives it) stopped."""
    texts = list(_evidence(task))
    for text in texts:
        for rule in _RULES:
            if _fits(rule, text.lower()):
                return StopReason(rule.cause, text, rule.next_step)
    cause = "operator" if task.get("stopCode") == "UserInitiated" else None
    return StopReason(cause, texts[0] if texts else "ECS gives no reason", "")


def classify(text: str) -> str | None:
    """The cause class of one text of ECS (a stoppedReason, a failure of RunTask, an event), None where none fits."""
    return next((rule.cause for rule in _RULES if _fits(rule, text.lower())), None)


def next_step(cause: str | None) -> str:
    """What to do about a cause class, in a sentence; empty where there is nothing to say."""
    return next((rule.next_step for rule in _RULES if rule.cause == cause), "")


def _fits(rule: _Rule, text: str) -> bool:
    return all(part in text for part in rule.every) and any(part in text for part in rule.some)


def _evidence(task: Mapping[str, Any]) -> Iterator[str]:
    containers: Sequence[Mapping[str, Any]] = [
        container for container in task.get("containers", []) if not container.get("name", "").startswith(_INJECTED)
    ]
    for container in containers:
        if container.get("reason"):
            yield str(container["reason"])
    reason = str(task.get("stoppedReason", ""))
    exits = [f"{c['name']} exited with {c['exitCode']}" for c in containers if c.get("exitCode") is not None]
    if reason and not reason.startswith("Essential container in task exited"):
        yield reason
    elif exits:
        yield f"{reason or 'The task stopped'}: {', '.join(exits)}"
    elif reason:
        yield reason

"""Why a task stopped, told from ECS's own words (wording as recorded from live accounts)."""

import pytest

from toolbox.cluster.reasons import classify, next_step, stop_reason


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
            "docker.io/library/api:nope: docker.io/library/api:nope: not found",
            "image-missing",
        ),
        (
            "CannotPullContainerError: The task cannot pull registry.example/api from the registry. There is a "
            "connection issue: dial tcp 10.0.0.1:443: i/o timeout",
            "image-network",
        ),
        ("CannotPullContainerError: toomanyrequests: You have reached your pull rate limit", "image-rate"),
        (
            "CannotPullContainerError: image Manifest does not contain descriptor matching platform 'linux/amd64'",
            "image-architecture",
        ),
        ("CannotPullContainerError: pull access denied for api", "image-denied"),
        (
            "ResourceInitializationError: unable to pull secrets or registry auth: "
            "unable to retrieve ecr registry auth",
            "registry-auth",
        ),
        (
            "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval "
            "failed: unable to retrieve secret from asm: AccessDeniedException",
            "secrets-denied",
        ),
        (
            "ResourceInitializationError: unable to pull secrets: ResourceNotFoundException: can't find it",
            "secrets-missing",
        ),
        ("ResourceInitializationError: failed to validate logger args: create stream has been retried", "logging"),
        ("OutOfMemoryError: Container killed due to memory usage", "oom"),
        ("Task failed ELB health checks in (target-group arn:aws:x)", "elb-check"),
        ("Capacity is unavailable at this time. Please try again later", "capacity"),
        ("You've reached the limit on the number of vCPUs you can run concurrently", "quota"),
        ("Essential container in task exited", None),
    ],
)
def test_classes(text: str, cause: str | None) -> None:
    assert classify(text) == cause
    assert bool(next_step(cause)) == (cause is not None)


def test_a_container_reason_outranks_the_task_and_injected_ones_do_not_count() -> None:
    reason = stop_reason(
        {
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "containers": [
                {"name": "aws-guardduty-agent-x", "reason": "CannotPullContainerError: not found"},
                {
                    "name": "toolbox",
                    "exitCode": 137,
                    "reason": "OutOfMemoryError: Container killed due to memory usage",
                },
            ],
        }
    )
    assert (reason.cause, reason.text) == ("oom", "OutOfMemoryError: Container killed due to memory usage")


def test_an_exit_code_is_told_where_nothing_else_is() -> None:
    reason = stop_reason(
        {"stoppedReason": "Essential container in task exited", "containers": [{"name": "toolbox", "exitCode": 1}]}
    )
    assert reason.cause is None
    assert reason.text == "Essential container in task exited: toolbox exited with 1"


def test_a_person_is_named_as_such() -> None:
    reason = stop_reason({"stopCode": "UserInitiated", "stoppedReason": "deploy of the new year", "containers": []})
    assert (reason.cause, reason.text) == ("operator", "deploy of the new year")

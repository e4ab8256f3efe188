"""Everything that can keep a shell from opening is a sentence and a next step, with 255, and leaves no task."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w

from tests.support.labs import Lab
from tests.support.shells import run
from toolbox import inventory
from toolbox.inventory import Inventory
from toolbox.lab import control
from toolbox.launcher.died import EXEC_ACTIONS


@pytest.fixture(autouse=True)
def nothing_stays(lab: Lab) -> Iterator[None]:
    yield
    try:
        lab.wait_for_no_task(seconds=2)
    finally:
        lab.stop_toolbox_tasks()


def opened(lab: Lab, tmp_path: Path, *options: str, **changes: Any) -> "subprocess.CompletedProcess[bytes]":
    """A command in a shell, with the lab's inventory changed."""
    file = tmp_path / "changed.toml"
    changed: Inventory = msgspec.structs.replace(lab.inventory, **changes)
    file.write_text(tomli_w.dumps(inventory.dump(changed)), encoding="utf-8")
    words = ["shell", "--inventory", str(file), "--scripts", str(lab.scripts), *options, "--", "true"]
    return run(lab, words)


def assert_told(done: "subprocess.CompletedProcess[bytes]", *told: str) -> None:
    errors = done.stderr.decode()
    assert done.returncode == 255, errors
    assert done.stdout == b""
    assert "Traceback" not in errors
    assert "→" in errors
    for text in told:
        assert text in errors


def test_another_account(lab: Lab, tmp_path: Path) -> None:
    done = opened(lab, tmp_path, account="999999999999")
    assert_told(done, "credentials are for account 123456789012", "lab is 999999999999", "AWS_PROFILE")


def test_no_such_cluster(lab: Lab, tmp_path: Path) -> None:
    assert_told(opened(lab, tmp_path, cluster="elsewhere"), "There is no cluster elsewhere", "--inventory")


def test_no_such_service(lab: Lab, tmp_path: Path) -> None:
    ours = lab.inventory
    renamed = msgspec.structs.replace(ours.services[0], name="tracker-restapi-production-gone")
    shell = msgspec.structs.replace(ours.shell, service=renamed.name)
    done = opened(lab, tmp_path, services=(*ours.services, renamed), shell=shell)
    assert_told(done, "tracker-restapi-production-gone is missing")


def test_no_image(lab: Lab, tmp_path: Path) -> None:
    done = opened(lab, tmp_path, image_repository="not-there")
    assert_told(done, "There is no image in", "not-there", "Dockerfile")


def test_an_image_that_cannot_be_pulled(lab: Lab, tmp_path: Path) -> None:
    done = opened(lab, tmp_path, image_repository="registry.example.com/toolbox")
    assert_told(done, "has stopped (TaskFailedToStart)", "CannotPullContainerError")


def test_a_role_that_cannot_be_entered(lab: Lab, tmp_path: Path) -> None:
    iam = lab.client("iam")
    trust = '{"Version": "2012-10-17", "Statement": []}'
    role = iam.create_role(RoleName="bare", AssumeRolePolicyDocument=trust)["Role"]
    thresholds = msgspec.structs.replace(lab.inventory.thresholds, agent_ready=2.0)
    try:
        done = opened(lab, tmp_path, task_role=role["Arn"], thresholds=thresholds)
    finally:
        iam.delete_role(RoleName="bare")
    assert_told(done, "its exec agent did not come up", *EXEC_ACTIONS)


def test_a_task_that_ends_before_anybody_came(lab: Lab, tmp_path: Path) -> None:
    """Its clock runs out while it waits for an agent: the reason and its last words are shown."""
    iam = lab.client("iam")
    trust = '{"Version": "2012-10-17", "Statement": []}'
    role = iam.create_role(RoleName="mute", AssumeRolePolicyDocument=trust)["Role"]
    try:
        done = opened(lab, tmp_path, "--lifetime", "1s", task_role=role["Arn"])
    finally:
        iam.delete_role(RoleName="mute")
    assert_told(done, "has stopped (EssentialContainerExited)", "toolbox exited with 0", "the lifetime of 1 s is over")


@pytest.mark.parametrize(
    "action",
    [
        "ecs:DescribeServices",
        "ecs:DescribeTaskDefinition",
        "ecs:RegisterTaskDefinition",
        "ecs:RunTask",
        "ecs:TagResource",
        "iam:PassRole",
        "ecs:DescribeTasks",
        "ecs:ExecuteCommand",
    ],
)
def test_a_permission_that_is_missing_is_named(lab: Lab, tmp_path: Path, action: str) -> None:
    # A family of its own, so that a revision has to be registered as well.
    with lab.denied(action):
        done = opened(lab, tmp_path, environment=f"denied-{action.partition(':')[2]}")
    assert_told(done, f"{action} is missing", f"Ask for {action}")


def test_no_permission_to_look_at_images_is_no_obstacle(lab: Lab, tmp_path: Path) -> None:
    with lab.denied("ecr:DescribeImages"):
        done = opened(lab, tmp_path)
    assert b"whether the image exists is unknown: ecr:DescribeImages is missing" in done.stderr


def test_no_permission_to_stop_tells_how_it_ends_anyway(lab: Lab, tmp_path: Path) -> None:
    with lab.denied("ecs:StopTask"):
        done = opened(lab, tmp_path, "--idle", "3s")
    assert_told(done, "could not be stopped", "Its own clock ends it", "aws ecs stop-task --cluster")
    lab.wait_for_no_task(seconds=15)


def test_an_expired_login(lab: Lab, tmp_path: Path) -> None:
    control.expire(lab.name, True, lab.environment)
    try:
        done = opened(lab, tmp_path)
    finally:
        control.expire(lab.name, False, lab.environment)
    assert_told(done, "Your AWS credentials have expired", "aws sso login --profile")


def test_a_secret_that_is_gone(lab: Lab, tmp_path: Path) -> None:
    secrets = lab.client("secretsmanager")
    (name, *_) = [secret["Name"] for secret in secrets.list_secrets()["SecretList"] if "database" in secret["Name"]]
    secrets.delete_secret(SecretId=name)
    try:
        done = opened(lab, tmp_path)
    finally:
        secrets.restore_secret(SecretId=name)
        lab.settle()
    assert_told(done, "has stopped (TaskFailedToStart)", "ResourceInitializationError", "Restore the secret")

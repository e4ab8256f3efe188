"""A cluster whose executeCommandConfiguration has a KMS key: the way in, and what must be allowed for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.labs import Lab
from tests.support.shells import run, shell

_TASK_ROLE = "tracker-production-task"


@contextmanager
def decrypting(lab: Lab, key: str) -> Iterator[None]:
    """The task role may decrypt with `key` meanwhile."""
    iam, names = lab.client("iam"), {"RoleName": _TASK_ROLE, "PolicyName": "sessions"}
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key}
    iam.put_role_policy(**names, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**names)


@pytest.fixture
def key(lab: Lab) -> Iterator[str]:
    """The ARN of a key that the cluster encrypts its sessions with meanwhile."""
    arn: str = lab.client("kms").create_key()["KeyMetadata"]["Arn"]
    ecs = lab.client("ecs")

    def configure(**settings: str) -> None:
        ecs.update_cluster(
            cluster=lab.cluster, configuration={"executeCommandConfiguration": {"logging": "DEFAULT", **settings}}
        )

    configure(kmsKeyId=arn)
    try:
        yield arn
    finally:
        configure()


def test_a_command_in_an_encrypted_session(lab: Lab, key: str) -> None:
    described = lab.client("ecs").describe_clusters(clusters=[lab.cluster], include=["CONFIGURATIONS"])["clusters"][0]
    assert described["configuration"]["executeCommandConfiguration"]["kmsKeyId"] == key
    with decrypting(lab, key):
        done = shell(lab, "cat; exit 42", stdin=b"there and back")
    assert (done.returncode, done.stdout) == (42, b"there and back"), done.stderr


def test_without_the_right_to_a_data_key_it_says_so(lab: Lab, key: str) -> None:
    with decrypting(lab, key), lab.denied("kms:GenerateDataKey"):
        done = shell(lab, "true")
    assert done.returncode == 255
    assert b"encrypts its sessions with a KMS key" in done.stderr
    assert b"kms:GenerateDataKey is missing" in done.stderr
    lab.wait_for_no_task(10)


def test_a_task_role_that_may_not_decrypt_is_named(lab: Lab, key: str) -> None:
    done = run(lab, ["shell", "--scripts", str(lab.scripts), "--", "true"])
    assert done.returncode == 255
    assert b"kms:Decrypt" in done.stderr
    lab.wait_for_no_task(10)

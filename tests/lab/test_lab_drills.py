"""Faults in the lab are causal: what breaks is what breaks in production, and the services say so themselves."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.support.labs import Lab
from tests.support.shells import shell
from tests.support.waiting import until_now


@contextmanager
def _revoked(lab: Lab, group: str, port: int) -> Iterator[None]:
    """The rule that lets the services reach `port` is taken out of a security group meanwhile."""
    ec2 = lab.client("ec2")
    names = {found["GroupName"]: found for found in ec2.describe_security_groups()["SecurityGroups"]}
    target, source = names[f"tracker-production-{group}"], names["tracker-production-services"]
    pairs = [{"GroupId": source["GroupId"]}]
    rule = [{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "UserIdGroupPairs": pairs}]
    ec2.revoke_security_group_ingress(GroupId=target["GroupId"], IpPermissions=rule)
    try:
        yield
    finally:
        ec2.authorize_security_group_ingress(GroupId=target["GroupId"], IpPermissions=rule)
        lab.settle()


def _logged(lab: Lab, service: str, pattern: str, since: int) -> bool:
    return bool(lab.messages(service, filterPattern=f'"{pattern}"', startTime=since))


def _now() -> int:
    return time.time_ns() // 1_000_000


def test_services_work_with_the_database_with_redis_and_with_each_other(lab: Lab) -> None:
    for service, line in (
        ("api", "GET /positions 200"),
        ("admin", "dashboard: 200 active trackers"),
        ("frontend", "20 trackers shown"),
        ("tracker-fetcher-2", "fetched 1 report"),
        ("unified-geofence", "checked 1 reports"),
        ("notification-service", "delivered notification"),
        ("materialized-view-service", "refreshed latest_positions"),
        ("anisette", "provisioned"),
    ):
        until_now(partial(_logged, lab, service, line, 0), 30, f"{service} logs '{line}'")


def test_a_stopped_database_is_refused_and_ecs_replaces_what_becomes_unhealthy(lab: Lab) -> None:
    ecs, api = lab.client("ecs"), lab.full_name("api")
    before = set(ecs.list_tasks(cluster=lab.cluster, serviceName=api)["taskArns"])
    since = _now()
    with lab.stopped("postgres"):
        until_now(lambda: _logged(lab, "api", "Connection refused", since), 20, "the api's psycopg is refused")
        until_now(
            lambda: _logged(lab, "materialized-view-service", "psycopg.OperationalError", since), 20, "and the view's"
        )
        groups = lab.client("elbv2").describe_target_groups(Names=["tracker-api"])["TargetGroups"]

        def unhealthy() -> bool:
            answer = lab.client("elbv2").describe_target_health(TargetGroupArn=groups[0]["TargetGroupArn"])
            states = [target["TargetHealth"] for target in answer["TargetHealthDescriptions"]]
            return any(state.get("Reason") == "Target.ResponseCodeMismatch" for state in states)

        until_now(unhealthy, 30, "the load balancer sees a 503")
        until_now(
            lambda: bool(before - set(ecs.list_tasks(cluster=lab.cluster, serviceName=api)["taskArns"])),
            30,
            "ECS has replaced the api's task",
        )
    (stopped,) = ecs.describe_tasks(cluster=lab.cluster, tasks=list(before))["tasks"]
    assert "Task failed ELB health checks" in stopped["stoppedReason"]
    since = _now()
    until_now(lambda: _logged(lab, "api", "GET /positions 200", since), 20, "the api works again")


def test_a_stopped_redis_is_refused(lab: Lab) -> None:
    since = _now()
    with lab.stopped("redis"):
        until_now(
            lambda: _logged(lab, "notification-service", "redis.exceptions.ConnectionError", since), 20, "redis-py"
        )


@pytest.mark.parametrize(
    ("group", "port", "service", "words"),
    [
        ("database", 5432, "unified-geofence", "connection timeout expired"),
        ("redis", 6379, "notification-service", "redis.exceptions.TimeoutError: Timeout connecting to server"),
    ],
)
def test_a_revoked_security_group_rule_is_a_timeout(lab: Lab, group: str, port: int, service: str, words: str) -> None:
    since = _now()
    with _revoked(lab, group, port):
        until_now(lambda: _logged(lab, service, words, since), 30, f"'{words}' in the log")
        assert not _logged(lab, service, "refused", since)


def test_the_probe_in_a_task_tells_the_two_apart(lab: Lab) -> None:
    with _revoked(lab, "database", 5432):
        done = shell(lab, "toolbox", "probe", "db", "--json")
        assert done.returncode == 2, done.stderr.decode()
        results = json.loads(done.stdout)["results"]
        assert [result["cause"] for result in results if result["status"] == "fail"] == ["tcp-timeout"]


def test_without_a_name_server_no_name_resolves(lab: Lab) -> None:
    with lab.stopped("dns"):
        done = shell(lab, "toolbox", "probe", "db", "--json")
        causes = {result["cause"] for result in json.loads(done.stdout)["results"] if result["status"] != "skipped"}
        assert causes <= {"dns-timeout", "dns-refused"}
        assert causes


def test_a_service_is_scaled_to_nothing_and_back(lab: Lab) -> None:
    with lab.stopped("anisette"):
        until_now(lambda: lab.status()["services"]["anisette"] == {"running": 0, "desired": 0}, 20, "0/0")
    assert lab.status()["services"]["anisette"] == {"running": 1, "desired": 1}


def test_a_secret_that_is_gone_keeps_a_task_from_starting(lab: Lab) -> None:
    ecs = lab.client("ecs")
    definition = ecs.describe_task_definition(taskDefinition=lab.full_name("anisette"))["taskDefinition"]
    container: dict[str, Any] = definition["containerDefinitions"][0]
    gone = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone-AbCdEf"
    broken = ecs.register_task_definition(
        family="broken",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        executionRoleArn=definition["executionRoleArn"],
        containerDefinitions=[{**container, "secrets": [{"name": "GONE", "valueFrom": gone}]}],
    )["taskDefinition"]["taskDefinitionArn"]
    service = ecs.describe_services(cluster=lab.cluster, services=[lab.full_name("anisette")])["services"][0]
    task = ecs.run_task(
        cluster=lab.cluster,
        taskDefinition=broken,
        launchType="FARGATE",
        networkConfiguration=service["networkConfiguration"],
    )["tasks"][0]["taskArn"]

    def stopped() -> dict[str, Any] | None:
        tasks: list[dict[str, Any]] = ecs.describe_tasks(cluster=lab.cluster, tasks=[task])["tasks"]
        return tasks[0] if tasks and tasks[0]["lastStatus"] == "STOPPED" else None

    until_now(lambda: stopped() is not None, 20, "the task has failed to start")
    found = stopped()
    assert found is not None
    assert found["stopCode"] == "TaskFailedToStart"
    assert "Secrets Manager can't find the specified secret." in found["stoppedReason"]

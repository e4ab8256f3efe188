"""The AWS CLI, a client that is not ours, works against the lab and agrees with boto3."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.families import every_argv
from tests.support.labs import Lab
from tests.support.shells import run, shell
from tests.support.waiting import until_now

_AWS = str(Path(sys.executable).parent / "aws")


def _plain(document: Any) -> Any:
    """A boto3 answer as the CLI prints it, without what differs between any two calls."""
    return json.loads(json.dumps(document, default=lambda value: value.isoformat()))


def _without(document: Any, *keys: str) -> Any:
    if isinstance(document, dict):
        return {key: _without(value, *keys) for key, value in document.items() if key not in keys}
    return [_without(item, *keys) for item in document] if isinstance(document, list) else document


def _same(ours: Any, theirs: Any) -> None:
    volatile = [key for key in _keys(theirs) if key.endswith("At")] + ["ResponseMetadata", "RequestId"]
    assert _without(_plain(ours), *volatile) == _without(theirs, *volatile)


def _keys(document: Any) -> set[str]:
    if isinstance(document, dict):
        return set(document).union(*(_keys(value) for value in document.values()))
    return set().union(*(_keys(item) for item in document)) if isinstance(document, list) else set()


def test_who_we_are(lab: Lab) -> None:
    identity = lab.aws("sts", "get-caller-identity")
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/oncall"
    _same(lab.client("sts").get_caller_identity(), identity)


def test_describe_services_list_tasks_and_describe_tasks_agree(lab: Lab) -> None:
    ecs, where, api = lab.client("ecs"), ("--cluster", lab.cluster), lab.full_name("api")
    services = [lab.full_name(name) for name in ("api", "frontend", "tracker-fetcher-2")]
    _same(
        ecs.describe_services(cluster=lab.cluster, services=services),
        lab.aws("ecs", "describe-services", *where, "--services", *services),
    )
    tasks = lab.aws("ecs", "list-tasks", *where, "--service-name", api)
    _same(ecs.list_tasks(cluster=lab.cluster, serviceName=api), tasks)
    _same(
        ecs.describe_tasks(cluster=lab.cluster, tasks=tasks["taskArns"]),
        lab.aws("ecs", "describe-tasks", *where, "--tasks", *tasks["taskArns"]),
    )


def test_run_task_and_stop_task(lab: Lab) -> None:
    where, name = ("--cluster", lab.cluster), lab.full_name("anisette")
    (service,) = lab.aws("ecs", "describe-services", *where, "--services", name)["services"]
    network = json.dumps(service["networkConfiguration"])
    ran = lab.aws(
        "ecs",
        "run-task",
        *where,
        "--task-definition",
        name,
        "--launch-type",
        "FARGATE",
        "--network-configuration",
        network,
    )
    assert ran["failures"] == []
    arn = ran["tasks"][0]["taskArn"]
    lab.aws("ecs", "wait", "tasks-running", *where, "--tasks", arn)
    lab.aws("ecs", "stop-task", *where, "--task", arn, "--reason", "no longer needed")
    lab.aws("ecs", "wait", "tasks-stopped", *where, "--tasks", arn)
    (task,) = lab.client("ecs").describe_tasks(cluster=lab.cluster, tasks=[arn])["tasks"]
    assert (task["stopCode"], task["stoppedReason"]) == ("UserInitiated", "no longer needed")


def test_update_service_deploys_anew(lab: Lab) -> None:
    where, name = ("--cluster", lab.cluster), lab.full_name("anisette")
    before = lab.client("ecs").list_tasks(cluster=lab.cluster, serviceName=name)["taskArns"]
    updated = lab.aws("ecs", "update-service", *where, "--service", name, "--force-new-deployment")
    assert len(updated["service"]["deployments"]) == 2
    lab.settle()
    after = lab.client("ecs").list_tasks(cluster=lab.cluster, serviceName=name)["taskArns"]
    assert len(after) == 1
    assert not set(before) & set(after)


def test_filter_log_events_agrees(lab: Lab) -> None:
    group = f"/ecs/{lab.full_name('anisette')}"
    until_now(lambda: len(lab.messages("anisette")) > 5, 20, "some lines")
    end = lab.client("logs").filter_log_events(logGroupName=group)["events"][4]["timestamp"]
    words = ("--log-group-name", group, "--end-time", str(end), "--filter-pattern", "provisioned")
    answer = lab.aws(
        "logs", "filter-log-events", *words, "--log-stream-name-prefix", "ecs/anisette/", "--page-size", "2"
    )
    assert len(answer["events"]) >= 2
    ours = lab.client("logs").filter_log_events(
        logGroupName=group, endTime=end, filterPattern="provisioned", logStreamNamePrefix="ecs/anisette/"
    )
    assert ours["events"] == answer["events"]


def test_cloud_map_speaks_cbor(lab: Lab) -> None:
    (namespace,) = lab.client("servicediscovery").list_namespaces()["Namespaces"]
    assert namespace["Name"] == "tracker.lab.internal"
    assert namespace["CreateDate"].year >= 2024
    services = lab.aws("servicediscovery", "list-services")["Services"]
    assert {service["Name"] for service in services} == {"admin", "anisette", "api", "frontend"}


def test_the_account_agrees_with_what_runs(lab: Lab) -> None:
    """Every task has a network interface in a subnet that has its address, and the groups of its service."""
    ecs, ec2 = lab.client("ecs"), lab.client("ec2")
    arns = ecs.list_tasks(cluster=lab.cluster)["taskArns"]
    tasks = ecs.describe_tasks(cluster=lab.cluster, tasks=arns)["tasks"]
    assert len(tasks) >= 8
    for task in tasks:
        details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
        (interface,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[details["networkInterfaceId"]])[
            "NetworkInterfaces"
        ]
        assert interface["PrivateIpAddress"] == details["privateIPv4Address"]
        assert interface["SubnetId"] == details["subnetId"]
        assert [group["GroupName"] for group in interface["Groups"]] == ["tracker-production-services"]
    for port in (5432, 6379):
        rules = ec2.describe_security_groups(Filters=[{"Name": "ip-permission.to-port", "Values": [str(port)]}])
        assert len(rules["SecurityGroups"]) == 1


def test_a_task_is_its_role(lab: Lab) -> None:
    words = f"--cluster {lab.cluster}"
    script = f"aws sts get-caller-identity && aws ecs list-services {words} >&2; aws ecs stop-task {words} --task x"
    done = shell(lab, script)
    identity = json.loads(done.stdout)
    assert identity["Arn"].startswith("arn:aws:sts::123456789012:assumed-role/tracker-production-task/")
    assert lab.full_name("api").encode() in done.stderr
    assert done.returncode != 0
    assert b"is not authorized to perform: ecs:StopTask on resource: arn:aws:ecs:" in done.stderr


@pytest.mark.parametrize(
    ("action", "service", "method", "how", "code"),
    [
        ("ecs:RunTask", "ecs", "run_task", {"taskDefinition": "broken"}, "AccessDeniedException"),
        ("ecs:ListTasks", "ecs", "list_tasks", {}, "AccessDeniedException"),
        ("logs:FilterLogEvents", "logs", "filter_log_events", {"logGroupName": "/ecs/x"}, "AccessDeniedException"),
        ("ec2:DescribeSubnets", "ec2", "describe_subnets", {}, "UnauthorizedOperation"),
        ("iam:GetRole", "iam", "get_role", {"RoleName": "tracker-production-task"}, "AccessDenied"),
        (
            "elasticloadbalancing:DescribeTargetGroups",
            "elbv2",
            "describe_target_groups",
            {},
            "AccessDenied",
        ),
        ("servicediscovery:ListServices", "servicediscovery", "list_services", {}, "AccessDeniedException"),
    ],
)
def test_what_a_policy_denies_is_denied_in_awss_words(
    lab: Lab, action: str, service: str, method: str, how: dict[str, str], code: str
) -> None:
    with lab.denied(action), pytest.raises(ClientError) as caught:
        getattr(lab.client(service), method)(**how)
    error = caught.value.response["Error"]
    assert error["Code"] == code
    assert f"user/oncall is not authorized to perform: {action} on resource: " in error["Message"]
    assert "with an explicit deny in an identity-based policy" in error["Message"]


def test_running_a_task_passes_the_roles_of_its_definition(lab: Lab) -> None:
    ecs, api = lab.client("ecs"), lab.full_name("api")
    network = ecs.describe_services(cluster=lab.cluster, services=[api])["services"][0]["networkConfiguration"]
    how = {"cluster": lab.cluster, "launchType": "FARGATE", "networkConfiguration": network}
    role = ecs.describe_task_definition(taskDefinition=api)["taskDefinition"]["taskRoleArn"]
    with lab.denied("iam:PassRole"), pytest.raises(ClientError) as caught:
        ecs.run_task(taskDefinition=api, **how)
    error = caught.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert f"not authorized to perform: iam:PassRole on resource: {role}" in error["Message"]
    with lab.denied("iam:PassRole"), pytest.raises(ClientError, match=r"TaskDefinition not found\."):
        ecs.run_task(taskDefinition="nothing", **how)


@pytest.mark.parametrize(
    ("service", "method", "code"),
    [
        ("ecs", "list_clusters", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("ec2", "describe_vpcs", "AuthFailure"),
        ("servicediscovery", "list_services", "UnrecognizedClientException"),
    ],
)
def test_an_unknown_key_is_nobody(lab: Lab, service: str, method: str, code: str) -> None:
    stranger = lab.with_environment({**lab.environment, "AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"})
    with pytest.raises(ClientError) as caught:
        getattr(stranger.client(service), method)()
    assert caught.value.response["Error"]["Code"] == code


def test_an_expired_session_is_said(lab: Lab) -> None:
    from toolbox.lab import control

    control.expire(lab.name, True, lab.environment)
    try:
        for service, method, code in (
            ("ecs", "list_clusters", "ExpiredTokenException"),
            ("sts", "get_caller_identity", "ExpiredToken"),
        ):
            with pytest.raises(ClientError) as caught:
                getattr(lab.client(service), method)()
            assert caught.value.response["Error"]["Code"] == code
    finally:
        control.expire(lab.name, False, lab.environment)
    assert lab.client("ecs").list_clusters()["clusterArns"]


def test_a_profile_of_another_account_reaches_only_the_lab(lab: Lab, tmp_path: Path) -> None:
    """With every AWS setting pointing to a trap, `--lab` still talks to the lab alone."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        caught: list[object] = []
        trap.settimeout(0.1)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                try:
                    connection, peer = trap.accept()
                except TimeoutError:
                    continue
                caught.append(peer)
                connection.close()

        listener = threading.Thread(target=listen)
        listener.start()
        url = f"http://127.0.0.1:{trap.getsockname()[1]}"
        config = tmp_path / "config"
        config.write_text(f"[profile glimpse-prod]\nregion = us-east-1\nendpoint_url = {url}\n")
        environment = {
            **os.environ,
            "XDG_STATE_HOME": lab.environment["XDG_STATE_HOME"],
            "TOOLBOX_LAB": lab.name,
            "AWS_PROFILE": "glimpse-prod",
            "AWS_CONFIG_FILE": str(config),
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_ECS": url,
            "AWS_SESSION_TOKEN": "another account's",
            "HTTP_PROXY": url,
        }
        environment.pop("TOOLBOX_INVENTORY", None)
        try:
            seen = lab.with_environment(environment)
            done = run(seen, ["shell", "--lab", "--", "true"])
            shown = run(seen, ["lab", "env"])
            script = f'eval "$({sys.executable} -I -m toolbox lab env)"; {_AWS} sts get-caller-identity'
            asked = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, check=False)
        finally:
            over.set()
            listener.join()
    assert done.returncode == 0, done.stderr.decode()
    assert b"unset AWS_PROFILE\n" in shown.stdout
    assert b"user/oncall" in asked.stdout, asked.stderr.decode()
    assert not caught


def test_no_secret_stands_in_any_process_s_arguments(lab: Lab) -> None:
    secrets = lab.client("secretsmanager")
    names = [secret["Name"] for secret in secrets.list_secrets()["SecretList"]]
    values = [secrets.get_secret_value(SecretId=name)["SecretString"] for name in names]
    passwords = set(re.findall(r"://[^:]+:([^@]+)@", " ".join(values)))
    passwords |= {lab.environment["AWS_SECRET_ACCESS_KEY"]}
    assert len(passwords) >= 4, "database (two roles), Redis and the person's key"
    for argv in every_argv():
        assert not any(password.encode() in argv for password in passwords)

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ecslab import CLUSTER, NETWORK, SERVES, EcsLab, Json, ecs_lab
from tests.support.marks import marked
from tests.support.waiting import until
from toolbox.lab.ecs.containers import repository

OVERRIDE_OF_ANOTHER = {"overrides": {"containerOverrides": [{"name": "x"}]}}
OVERRIDE_TOO_LONG = {"overrides": {"containerOverrides": [{"name": "app", "command": ["x" * 9000]}]}}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[EcsLab]:
    async with ecs_lab(tmp_path) as lab:
        yield lab


def task_id(task: Json) -> str:
    return str(task["taskArn"].rpartition("/")[2])


async def ran(lab: EcsLab, *argv: str, **container: Any) -> Json:
    """A task of its own that has stopped."""
    definition = await lab.define(lab.world.push("job", *argv), **container)
    return await lab.until_task((await lab.run(definition))["taskArn"], "STOPPED")


@pytest.mark.parametrize("code", [0, 1, 42])
async def test_a_task_ends_with_its_essential_container(lab: EcsLab, code: int) -> None:
    task = await ran(lab, "sh", "-c", f"exit {code}")
    assert (task["stopCode"], task["stoppedReason"]) == (
        "EssentialContainerExited",
        "Essential container in task exited",
    )
    assert task["containers"][0]["exitCode"] == code
    assert task["desiredStatus"] == "STOPPED"
    order = ["createdAt", "connectivityAt", "pullStartedAt", "pullStoppedAt", "startedAt"]
    order += ["stoppingAt", "executionStoppedAt", "stoppedAt"]
    assert [task[name] for name in order] == sorted(task[name] for name in order)
    assert lab.world.placed == {}
    assert lab.stopped == [task_id(task)]


async def test_a_task_passes_through_every_status(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    first = await lab.run(definition)
    assert (first["lastStatus"], first["desiredStatus"]) == ("PROVISIONING", "RUNNING")
    running = await lab.until_task(first["taskArn"], "RUNNING")
    details = {entry["name"]: entry["value"] for entry in running["attachments"][0]["details"]}
    address = running["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert details["privateIPv4Address"] == address == lab.world.placed[task_id(first)].address
    assert running["connectivity"] == "CONNECTED"
    assert (running["launchType"], running["platformVersion"]) == ("FARGATE", "1.4.0")
    assert running["group"] == "family:app"
    stopping = (await lab.call("StopTask", cluster=CLUSTER, task=first["taskArn"], reason="over"))["task"]
    assert (stopping["lastStatus"], stopping["desiredStatus"]) == ("RUNNING", "STOPPED")
    assert stopping["stoppedReason"] == "over"
    assert "stopCode" not in stopping
    stopped = await lab.until_task(first["taskArn"], "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "over")
    assert stopped["containers"][0]["exitCode"] == 0


async def test_a_task_is_missing_for_a_moment(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    task = await lab.run(definition, startedBy="me")
    answer = await lab.call("DescribeTasks", cluster=CLUSTER, tasks=[task["taskArn"]])
    assert answer == {"tasks": [], "failures": [{"arn": task["taskArn"], "reason": "MISSING"}]}
    assert (await lab.call("ListTasks", cluster=CLUSTER, startedBy="me"))["taskArns"] == []
    await lab.until_task(task["taskArn"], "RUNNING")
    assert (await lab.call("ListTasks", cluster=CLUSTER, startedBy="me"))["taskArns"] == [task["taskArn"]]


async def test_sigterm_ignored_ends_in_137_after_the_stop_timeout(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", "sleep", "300"), stopTimeout=20)
    task = await lab.run(definition)
    await lab.until_task(task["taskArn"], "RUNNING")
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"])
    stopped = await lab.until_task(task["taskArn"], "STOPPED")
    assert stopped["containers"][0]["exitCode"] == 137
    assert stopped["stoppedReason"] == "Task stopped by user"
    assert stopped["executionStoppedAt"] - stopped["stoppingAt"] > 0.39  # 0.4 s by another clock


async def test_a_task_can_be_stopped_before_it_runs(lab: EcsLab) -> None:
    lab.world.secrets_arrive.clear()
    definition = await lab.define(lab.world.push("app", *SERVES), secrets=[{"name": "S", "valueFrom": "arn:slow"}])
    task = await lab.run(definition)
    pending = await lab.until_task(task["taskArn"], "PENDING")
    assert pending["lastStatus"] == "PENDING"
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"], reason="changed my mind")
    stopped = await lab.until_task(task["taskArn"], "STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "changed my mind")
    assert "startedAt" not in stopped
    assert "executionStoppedAt" not in stopped
    assert lab.world.placed == {}


async def test_an_image_that_is_missing(lab: EcsLab) -> None:
    definition = await lab.define("registry/app:nowhere")
    task = await lab.until_task((await lab.run(definition))["taskArn"], "STOPPED")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotPullContainerError: ")
    assert task["containers"][0]["reason"] == task["stoppedReason"]
    assert "exitCode" not in task["containers"][0]
    assert "pullStartedAt" in task
    assert "startedAt" not in task


async def test_a_secret_that_is_missing_fails_before_the_pull(lab: EcsLab) -> None:
    secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone"
    task = await ran(lab, *SERVES, secrets=[{"name": "S", "valueFrom": secret}])
    assert "unable to pull secrets or registry auth" in task["stoppedReason"]
    assert "pullStartedAt" not in task
    assert "reason" not in task["containers"][0]


async def test_no_address_left(lab: EcsLab) -> None:
    lab.world.no_addresses = True
    task = await ran(lab, *SERVES)
    assert "network interface provisioning" in task["stoppedReason"]
    assert "connectivity" not in task
    assert lab.world.placed == {}


async def test_a_failure_of_the_world_is_awss_and_is_reported(lab: EcsLab) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    definition = await lab.define(lab.world.push("app", *SERVES))
    lab.world.images = None  # type: ignore[assignment]  # a bug in the world
    task = await lab.until_task((await lab.run(definition))["taskArn"], "STOPPED")
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Internal error.")
    assert [type(context["exception"]) for context in reported] == [TypeError]
    assert lab.world.placed == {}


async def test_a_program_that_is_missing(lab: EcsLab) -> None:
    task = await ran(lab, "no-such-program")
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"].startswith("CannotStartContainerError: ")
    assert '"no-such-program": executable file not found in $PATH' in task["containers"][0]["reason"]
    assert "startedAt" not in task


async def test_the_log_is_in_the_stream_of_the_task(lab: EcsLab) -> None:
    task = await ran(lab, "sh", "-c", "echo one; echo two >&2; printf three")
    stream = lab.world.streams[f"lab/app/{task_id(task)}"]
    assert (stream.lines, stream.closed) == (["one", "two", "three"], True)


async def test_where_the_environment_comes_from(lab: EcsLab) -> None:
    lab.world.secrets["arn:secret"] = "s3cret"
    names = ("FROM", "S", "AWS_REGION", "TASK_ADDRESS", "PATH")
    program = f"import os; print([os.environ[n] for n in {names!r}])"
    image = lab.world.push(
        "job", sys.executable, "-I", "-S", "-c", program, environment={"FROM": "image", "PATH": "/x"}
    )
    definition = await lab.define(
        image,
        environment=[{"name": "FROM", "value": "definition"}, {"name": "S", "value": "definition"}],
        secrets=[{"name": "S", "valueFrom": "arn:secret"}],
    )
    override = {"name": "app", "environment": [{"name": "FROM", "value": "override"}]}
    task = await lab.run(definition, overrides={"containerOverrides": [override]})
    address = (await lab.until_task(task["taskArn"], "STOPPED"))["containers"][0]["networkInterfaces"][0]
    expected = ["override", "s3cret", "eu-central-1", address["privateIpv4Address"], "/x"]
    assert lab.world.lines(task_id(task)) == [str(expected)]


async def test_the_command_is_overridden_the_entry_point_never(lab: EcsLab) -> None:
    image = lab.world.push("job", "sh", "-c", "echo image")
    definition = await lab.define(image, entryPoint=["echo", "entry"], command=["definition"])
    override = {"name": "app", "command": ["override", "two"]}
    for overrides, line in (({}, "entry definition"), ({"containerOverrides": [override]}, "entry override two")):
        task = await lab.run(definition, overrides=overrides)
        await lab.until_task(task["taskArn"], "STOPPED")
        assert lab.world.lines(task_id(task)) == [line]


async def test_containers_of_a_task_share_its_fate_and_depend_on_one_another(lab: EcsLab) -> None:
    def container(name: str, program: str, **more: Any) -> Json:
        log = {"logDriver": "awslogs", "options": {"awslogs-stream-prefix": "lab"}}
        return {"name": name, "image": lab.world.push(name, "sh", "-c", program), "logConfiguration": log, **more}

    after = [{"containerName": "init", "condition": "SUCCESS"}]
    definition = await lab.define_all(
        [
            container("app", "echo $$; sleep 0.2; exit 4", dependsOn=after),
            container("init", "exit 0", essential=False),
            container("side", "trap 'exit 9' TERM; while :; do sleep 0.05; done", essential=False),
        ]
    )
    task = await lab.until_task((await lab.run(definition))["taskArn"], "STOPPED")
    assert {c["name"]: c["exitCode"] for c in task["containers"]} == {"app": 4, "init": 0, "side": 9}
    assert task["stopCode"] == "EssentialContainerExited"


async def test_a_client_token_answers_the_same_task(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    first = await lab.run(definition, clientToken="once", startedBy="me")
    again = await lab.run(definition, clientToken="once", startedBy="me")
    assert again["taskArn"] == first["taskArn"]
    request = {"taskDefinition": definition, "networkConfiguration": NETWORK, "launchType": "FARGATE"}
    other = await lab.error("RunTask", cluster=CLUSTER, clientToken="once", startedBy="you", **request)
    assert other.code == "ConflictException"
    await lab.until_task(first["taskArn"], "RUNNING")
    assert len(await lab.tasks()) == 1
    await lab.call("StopTask", cluster=CLUSTER, task=first["taskArn"])
    await lab.until_task(first["taskArn"], "STOPPED")
    assert (await lab.run(definition, clientToken="once", startedBy="me"))["taskArn"] == first["taskArn"]


async def test_stopping_a_task_deletes_its_tags(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    tags = [{"key": "owner", "value": "me"}]
    task = await lab.run(definition, tags=tags)
    assert (await lab.until_task(task["taskArn"], "RUNNING"))["tags"] == tags
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"])
    assert (await lab.until_task(task["taskArn"], "STOPPED"))["tags"] == []


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"launchType": None}, "InvalidParameterException", "No Container Instances were found in your cluster."),
        ({"networkConfiguration": None}, "InvalidParameterException", "Network Configuration must be provided"),
        ({"count": 11}, "InvalidParameterException", "Count"),
        ({"cluster": "other"}, "ClusterNotFoundException", "Cluster not found."),
        ({"taskDefinition": "nope"}, "ClientException", "TaskDefinition not found."),
        (
            {"overrides": {"containerOverrides": [{"name": "x"}]}},
            "InvalidParameterException",
            "named x is not a container",
        ),
        (
            {"overrides": {"containerOverrides": [{"name": "app", "command": ["x" * 9000]}]}},
            "InvalidParameterException",
            "8192",
        ),
        ({"overrides": {"taskRoleArn": "arn:gone"}}, "ClientException", "unable to assume the role 'arn:gone'"),
        ({"launchType": "MOON"}, "InvalidParameterException", "MOON"),
        ({"count": "one"}, "InvalidParameterException", "count"),
    ],
)
async def test_what_run_task_refuses(lab: EcsLab, changes: Json, code: str, words: str) -> None:
    lab.world.missing_roles.add("arn:gone")
    definition = await lab.define(lab.world.push("app", *SERVES))
    request = {
        "cluster": CLUSTER,
        "taskDefinition": definition,
        "networkConfiguration": NETWORK,
        "launchType": "FARGATE",
    }
    request = {key: value for key, value in (request | changes).items() if value is not None}
    error = await lab.error("RunTask", **request)
    assert (error.code, error.http_status) == (code, 400)
    assert words in error.message


async def test_exec_waits_for_the_agent(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    task = await lab.run(definition, enableExecuteCommand=True)
    assert task["containers"][0]["managedAgents"] == [{"name": "ExecuteCommandAgent", "lastStatus": "PENDING"}]
    request = {"cluster": CLUSTER, "task": task["taskArn"], "interactive": True, "command": "sh"}
    await lab.until_task(task["taskArn"], "RUNNING")
    early = await lab.error("ExecuteCommand", **request)
    assert early.code == "TargetNotConnectedException"
    answer = await lab.until_answered("ExecuteCommand", container="app", **request)
    assert answer["session"]["streamUrl"].startswith("wss://")
    assert lab.sessions[-1] == (task_id(task), "app", "sh")
    agent = (await lab.until_task(task["taskArn"], "RUNNING"))["containers"][0]["managedAgents"][0]
    assert agent["lastStatus"] == "RUNNING"


async def test_exec_without_rights_never_connects(lab: EcsLab) -> None:
    lab.world.denied_actions.add("ssmmessages:OpenDataChannel")
    definition = await lab.define(lab.world.push("app", *SERVES))
    task = await lab.run(definition, enableExecuteCommand=True)
    request: Json = {"cluster": CLUSTER, "interactive": True, "command": "sh"}
    await lab.until_task(task["taskArn"], "RUNNING")
    await until(lambda: lab.world.asked_for_rights == 1)
    lab.world.denied_actions.clear()  # too late for this one, in time for the next
    other = await lab.run(definition, enableExecuteCommand=True)
    await lab.until_task(other["taskArn"], "RUNNING")
    await lab.until_answered("ExecuteCommand", task=other["taskArn"], **request)
    error = await lab.error("ExecuteCommand", task=task["taskArn"], **request)
    assert error.code == "TargetNotConnectedException"
    running = await lab.until_task(task["taskArn"], "RUNNING")
    assert running["containers"][0]["managedAgents"][0]["lastStatus"] == "PENDING"


async def test_exec_must_be_enabled(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    task = await lab.run(definition)
    await lab.until_task(task["taskArn"], "RUNNING")
    request = {"cluster": CLUSTER, "task": task["taskArn"], "command": "sh"}
    error = await lab.error("ExecuteCommand", interactive=True, **request)
    assert (error.code, "was not enabled" in error.message) == ("InvalidParameterException", True)
    assert (await lab.error("ExecuteCommand", interactive=False, **request)).code == "InvalidParameterException"


async def test_a_session_is_in_the_tasks_own_container(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES), environment=[{"name": "WHO", "value": "api"}])
    task = await lab.run(definition, enableExecuteCommand=True)
    await lab.until_task(task["taskArn"], "RUNNING")
    process = await lab.runtime.spawn(task_id(task), "app", ["sh", "-c", "echo $WHO; cat /etc/hosts; exit 42"])
    assert await process.wait() == 42
    shown = os.read(process.master, 4096)
    os.close(process.master)
    assert shown.startswith(b"api\r\n")
    assert lab.world.placed[task_id(task)].address.encode() in shown


async def test_nothing_of_a_stopped_task_runs(lab: EcsLab) -> None:
    mark = uuid.uuid4().hex
    image = lab.world.push("app", "sh", "-c", "setsid sleep 300 & trap 'exit 0' TERM; while :; do sleep 0.05; done")
    definition = await lab.define(image, environment=[{"name": "MARK", "value": mark}])
    task = await lab.run(definition)
    await lab.until_task(task["taskArn"], "RUNNING")
    await until(lambda: len(marked(mark)) >= 2)
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"])
    await lab.until_task(task["taskArn"], "STOPPED")
    assert marked(mark) == []


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("app", "app"),
        ("app:1", "app"),
        ("host:5000/app", "host:5000/app"),
        ("host:5000/team/app:1", "host:5000/team/app"),
        ("host/app@sha256:00", "host/app"),
        ("host/app:1@sha256:00", "host/app"),
    ],
)
def test_a_repository_is_its_reference_without_tag_and_digest(reference: str, name: str) -> None:
    assert repository(reference) == name

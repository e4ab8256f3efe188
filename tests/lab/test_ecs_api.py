import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.support.ecsfront import http_front
from tests.support.ecslab import CLUSTER, NETWORK, REGION, SERVES, EcsLab, ecs_lab
from toolbox.lab.ecs import shapes

_FILE = {"value": "arn:aws:s3:::settings/api.env", "type": "s3"}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[EcsLab]:
    async with ecs_lab(tmp_path) as lab:
        yield lab


async def test_an_action_that_the_lab_has_not(lab: EcsLab) -> None:
    error = await lab.error("CreateTaskSet")
    assert (error.code, "CreateTaskSet" in error.message) == ("UnsupportedFeatureException", True)
    assert (await lab.error("DropTables")).code == "UnsupportedFeatureException"


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("DescribeServices", {}),
        ("DescribeServices", {"services": "web"}),
        ("DescribeServices", {"services": ["web"], "surprise": 1}),
        ("ListTasks", {"desiredStatus": "ASLEEP"}),
        ("RegisterTaskDefinition", {"family": "x", "containerDefinitions": [{"image": 1}]}),
        ("UpdateService", {"service": "web", "desiredCount": "one"}),
    ],
)
async def test_what_does_not_fit_the_model_is_an_invalid_parameter(lab: EcsLab, action: str, request_: Any) -> None:
    assert (await lab.error(action, **request_)).code == "InvalidParameterException"


async def test_clusters(lab: EcsLab) -> None:
    tags = [{"key": "team", "value": "ops"}]
    second = (await lab.call("CreateCluster", clusterName="second", tags=tags))["cluster"]
    assert (await lab.call("CreateCluster", clusterName="second"))["cluster"] == second
    arns = (await lab.call("ListClusters"))["clusterArns"]
    assert [arn.rpartition("/")[2] for arn in arns] == [CLUSTER, "second"]
    answer = await lab.call("DescribeClusters", clusters=["second", arns[0], "third"], include=["TAGS"])
    assert [cluster["clusterName"] for cluster in answer["clusters"]] == ["second", CLUSTER]
    assert answer["clusters"][0]["tags"] == tags
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


async def test_services_of_two_clusters_are_apart(lab: EcsLab) -> None:
    await lab.call("CreateCluster", clusterName="second")
    definition = await lab.define(lab.world.push("app", *SERVES))
    await lab.serve("web", definition)
    answer = await lab.call("DescribeServices", cluster="second", services=["web"])
    assert answer["services"] == []
    assert answer["failures"][0]["reason"] == "MISSING"
    assert (await lab.call("ListServices", cluster="second"))["serviceArns"] == []
    assert (await lab.error("ListServices", cluster="third")).code == "ClusterNotFoundException"
    assert (await lab.error("ListServices")).code == "ClusterNotFoundException"  # there is no cluster `default`


async def test_revisions_of_a_task_definition(lab: EcsLab) -> None:
    arns = [await lab.define("image", family="web") for _ in range(3)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["web:1", "web:2", "web:3"]
    newest = await lab.call("DescribeTaskDefinition", taskDefinition="web")
    assert newest["taskDefinition"]["taskDefinitionArn"] == arns[2]
    assert newest["taskDefinition"]["containerDefinitions"][0]["essential"] is True
    gone = (await lab.call("DeregisterTaskDefinition", taskDefinition=arns[2]))["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    latest = await lab.call("DescribeTaskDefinition", taskDefinition="web")
    assert latest["taskDefinition"]["taskDefinitionArn"] == arns[1]
    inactive = await lab.call("DescribeTaskDefinition", taskDefinition=arns[2])
    assert inactive["taskDefinition"]["status"] == "INACTIVE"
    listed = await lab.call("ListTaskDefinitions", familyPrefix="web", sort="DESC")
    assert listed["taskDefinitionArns"] == arns[1::-1]
    error = await lab.error("RunTask", cluster=CLUSTER, taskDefinition=arns[2], networkConfiguration=NETWORK)
    assert (error.code, error.message) == ("ClientException", "TaskDefinition is inactive")
    assert (await lab.error("DescribeTaskDefinition", taskDefinition="nope")).code == "ClientException"
    await lab.define("image", family="worker")
    assert (await lab.call("ListTaskDefinitionFamilies"))["families"] == ["web", "worker"]
    assert (await lab.call("ListTaskDefinitionFamilies", familyPrefix="wo"))["families"] == ["worker"]


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        ([], "cannot be empty"),
        ([{"name": "a"}], "should not be null"),
        ([{"name": "a", "image": "i"}, {"name": "a", "image": "i"}], "unique"),
        ([{"name": "a", "image": "i", "essential": False}], "essential"),
        ([{"name": "a", "image": "i", "command": ["x" * 70_000]}], "65536"),
        ([{"name": "a", "image": "i", "environmentFiles": [_FILE]}], "reads no environmentFiles"),
    ],
)
async def test_task_definitions_that_are_refused(lab: EcsLab, containers: Any, words: str) -> None:
    error = await lab.error("RegisterTaskDefinition", family="x", containerDefinitions=containers)
    assert words in error.message


async def test_files_of_variables_are_refused_and_not_left_out_in_silence(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    overrides = {"containerOverrides": [{"name": "app", "environmentFiles": [_FILE]}]}
    request = {"cluster": CLUSTER, "taskDefinition": definition, "networkConfiguration": NETWORK}
    error = await lab.error("RunTask", **request, launchType="FARGATE", overrides=overrides)
    assert "reads no environmentFiles" in error.message


async def test_lists_come_in_pages(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    names = [f"service-{number:02}" for number in range(12)]
    for name in names:
        await lab.serve(name, definition, desiredCount=0)
    first = await lab.call("ListServices", cluster=CLUSTER)
    assert len(first["serviceArns"]) == 10
    second = await lab.call("ListServices", cluster=CLUSTER, nextToken=first["nextToken"])
    assert "nextToken" not in second
    assert [arn.rpartition("/")[2] for arn in first["serviceArns"] + second["serviceArns"]] == names
    whole = await lab.call("ListServices", cluster=CLUSTER, maxResults=100)
    assert len(whole["serviceArns"]) == 12
    for bad in ({"nextToken": "???"}, {"maxResults": 0}, {"maxResults": 101}):
        assert (await lab.error("ListServices", cluster=CLUSTER, **bad)).code == "InvalidParameterException"
    eleven = await lab.error("DescribeServices", cluster=CLUSTER, services=names[:11])
    assert eleven.message == "Services list cannot have more than 10 elements."


async def test_service_deployments_come_in_pages_newest_first(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    await lab.serve("web", definition, desiredCount=0)
    for _ in range(4):
        await lab.call("UpdateService", cluster=CLUSTER, service="web", forceNewDeployment=True)
    request = {"cluster": CLUSTER, "service": "web"}
    everything = (await lab.call("ListServiceDeployments", **request))["serviceDeployments"]
    created = [deployment["createdAt"] for deployment in everything]
    assert created == sorted(created, reverse=True)
    first = await lab.call("ListServiceDeployments", **request, maxResults=3)
    rest = await lab.call("ListServiceDeployments", **request, nextToken=first["nextToken"])
    assert first["serviceDeployments"] + rest["serviceDeployments"] == everything
    stopped = await lab.call("ListServiceDeployments", **request, status=["STOPPED"])
    assert len(stopped["serviceDeployments"]) == 4


async def test_list_tasks_filters(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    other = await lab.define(lab.world.push("other", *SERVES), family="other")
    await lab.serve("web", definition)
    alone = await lab.run(other, startedBy="me/laptop")
    await lab.until_task(alone["taskArn"], "RUNNING")
    await lab.until_settled("web")

    async def arns(**filters: Any) -> list[str]:
        return list((await lab.call("ListTasks", cluster=CLUSTER, **filters))["taskArns"])

    assert len(await arns()) == 2
    assert await arns(family="other") == await arns(startedBy="me/laptop") == [alone["taskArn"]]
    assert alone["taskArn"] not in await arns(serviceName="web")
    assert len(await arns(serviceName="web")) == len(await arns(family="app")) == 1
    assert await arns(desiredStatus="STOPPED") == await arns(launchType="EC2") == []
    error = await lab.error("ListTasks", cluster=CLUSTER, startedBy="me/laptop", family="other")
    assert error.code == "InvalidParameterException"
    missing = await lab.error("ListTasks", cluster=CLUSTER, serviceName="nope")
    assert missing.code == "ServiceNotFoundException"


async def test_tags(lab: EcsLab) -> None:
    definition = await lab.define(lab.world.push("app", *SERVES))
    service = await lab.serve("web", definition, propagateTags="SERVICE", enableECSManagedTags=True)
    tags = [{"key": "team", "value": "ops"}, {"key": "tier", "value": "1"}]
    for arn in (service["serviceArn"], service["clusterArn"], definition):
        await lab.call("TagResource", resourceArn=arn, tags=tags)
        await lab.call("UntagResource", resourceArn=arn, tagKeys=["tier", "never"])
        assert (await lab.call("ListTagsForResource", resourceArn=arn))["tags"] == tags[:1]
    described = await lab.call("DescribeTaskDefinition", taskDefinition=definition, include=["TAGS"])
    assert described["tags"] == tags[:1]
    await lab.until_settled("web")
    (task,) = await lab.tasks()
    assert {"key": "aws:ecs:serviceName", "value": "web"} in task["tags"]
    assert tags[0] in task["tags"]
    assert (await lab.error("ListTagsForResource", resourceArn="arn:aws:ecs:x:y:moon/1")).code


def test_the_model_is_asked_about_answers_too() -> None:
    assert shapes.check_answer("StopTask", {"task": {"taskArn": 1}}) != ""
    assert shapes.check_answer("StopTask", {"task": {"stopCode": "Bored"}}) != ""
    assert shapes.check_answer("StopTask", {"task": {"surprise": "x"}}) != ""


async def test_boto3_drives_it_over_http(lab: EcsLab) -> None:
    image = lab.world.push("app", *SERVES)

    def drive(url: str) -> None:
        ecs = boto3.client(
            "ecs",
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"total_max_attempts": 1}),
        )
        definition = ecs.register_task_definition(
            family="web",
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "app", "image": image}],
        )["taskDefinition"]
        assert definition["registeredAt"].year >= 2024
        ecs.create_service(
            cluster=CLUSTER,
            serviceName="web",
            taskDefinition="web",
            desiredCount=1,
            launchType="FARGATE",
            networkConfiguration=NETWORK,
        )
        waiter = ecs.get_waiter("services_stable")
        waiter.wait(cluster=CLUSTER, services=["web"], WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        pages = ecs.get_paginator("list_tasks").paginate(cluster=CLUSTER, serviceName="web")
        arns = [arn for page in pages for arn in page["taskArns"]]
        (task,) = ecs.describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"]
        assert task["lastStatus"] == "RUNNING"
        assert task["startedAt"] >= task["createdAt"]
        with pytest.raises(ecs.exceptions.ServiceNotFoundException):
            ecs.update_service(cluster=CLUSTER, service="nope", forceNewDeployment=True)
        with pytest.raises(ecs.exceptions.UnsupportedFeatureException):
            ecs.list_attributes(cluster=CLUSTER, targetType="container-instance")

    async with http_front(lab.ecs) as url:
        await asyncio.to_thread(drive, url)

"""The plan: what is taken over from the api, what is not, and that ECS takes the result (botocore's own model)."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import botocore.loaders
import botocore.model
import botocore.validate
import pytest

from toolbox.errors import LaunchError
from toolbox.launcher.image import repository_root
from toolbox.launcher.plan import CONTENT_LABEL, Clock, Document, Order, make_plan, pick_container, shown, with_revision
from toolbox.launcher.prepare import TEMPLATE_FILE, read_template, running_definition

ECS = botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("ecs", "service-2"))


def assert_ecs_takes(operation: str, document: Document) -> None:
    shape = ECS.operation_model(operation).input_shape
    assert shape is not None
    report = botocore.validate.ParamValidator().validate(document, shape)
    assert not report.has_errors(), report.generate_report()


def order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "environment": "production",
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/tracker-toolbox:abc",
        "task_role": None,
        "container": None,
        "clock": Clock(14400, 1200),
        "owner": "kim@example.com",
        "token": "0b8a9c1e-1111-4222-8333-444455556666",
        "expires": datetime(2026, 11, 24, 7, 20, tzinfo=UTC),
    }
    return Order(**{**values, **changes})


def api_service(**changes: Any) -> Document:
    return {
        "serviceName": "tracker-restapi-production-api",
        "clusterArn": "arn:aws:ecs:eu-central-1:123456789012:cluster/tracker-restapi-production-cluster",
        "status": "ACTIVE",
        "taskDefinition": "arn:aws:ecs:eu-central-1:123456789012:task-definition/api:7",
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "loadBalancers": [{"targetGroupArn": "arn:tg", "containerName": "web", "containerPort": 8000}],
        "networkConfiguration": {
            "awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
        },
        **changes,
    }


def api_definition(**changes: Any) -> Document:
    return {
        "taskDefinitionArn": "arn:aws:ecs:eu-central-1:123456789012:task-definition/api:7",
        "family": "api",
        "revision": 7,
        "status": "ACTIVE",
        "taskRoleArn": "arn:aws:iam::123456789012:role/api-task",
        "executionRoleArn": "arn:aws:iam::123456789012:role/api-execution",
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "cpu": "2048",
        "memory": "4096",
        "volumes": [{"name": "shared"}],
        "containerDefinitions": [
            {"name": "envoy", "image": "envoy", "essential": True, "portMappings": [{"containerPort": 9901}]},
            {
                "name": "web",
                "image": "api:1.2.3",
                "essential": True,
                "command": ["gunicorn"],
                "portMappings": [{"containerPort": 8000}],
                "healthCheck": {"command": ["CMD-SHELL", "curl -f localhost:8000/health"]},
                "dependsOn": [{"containerName": "envoy", "condition": "START"}],
                "environment": [{"name": "LOG_LEVEL", "value": "info"}, {"name": "PATH", "value": "/app/bin"}],
                "environmentFiles": [{"value": "arn:aws:s3:::config/api.env", "type": "s3"}],
                "secrets": [{"name": "DATABASE_URL", "valueFrom": "arn:aws:secretsmanager:eu-central-1:1:secret:db"}],
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {
                        "awslogs-group": "/ecs/api",
                        "awslogs-region": "eu-central-1",
                        "awslogs-stream-prefix": "api",
                        "awslogs-multiline-pattern": "^INFO",
                    },
                },
            },
        ],
        **changes,
    }


def template() -> Document:
    return read_template(repository_root() / TEMPLATE_FILE)


def test_the_template_is_a_registration_as_it_stands() -> None:
    assert_ecs_takes("RegisterTaskDefinition", template())


def test_ecs_takes_both_inputs() -> None:
    plan = make_plan(api_service(), api_definition(), template(), order())
    assert_ecs_takes("RegisterTaskDefinition", plan.register)
    assert_ecs_takes("RunTask", with_revision(plan, "tracker-toolbox-production:3"))


def test_lives_where_the_api_lives() -> None:
    plan = make_plan(api_service(), api_definition(), template(), order())
    container = plan.register["containerDefinitions"][0]
    assert plan.run["networkConfiguration"] == api_service()["networkConfiguration"]
    assert plan.register["taskRoleArn"] == "arn:aws:iam::123456789012:role/api-task"
    assert plan.register["executionRoleArn"] == "arn:aws:iam::123456789012:role/api-execution"
    assert plan.register["runtimePlatform"]["cpuArchitecture"] == "ARM64"
    assert container["secrets"] == api_definition()["containerDefinitions"][1]["secrets"]
    assert container["environmentFiles"] == api_definition()["containerDefinitions"][1]["environmentFiles"]
    assert container["environment"] == [{"name": "LOG_LEVEL", "value": "info"}]


def test_leaves_the_rest_of_the_api_behind() -> None:
    plan = make_plan(api_service(), api_definition(), template(), order())
    (container,) = plan.register["containerDefinitions"]
    assert not {"portMappings", "healthCheck", "dependsOn", "command", "entryPoint"} & set(container)
    assert container["linuxParameters"]["initProcessEnabled"] is True
    assert (plan.register["cpu"], plan.register["memory"]) == ("512", "1024")
    assert "the api's volumes are not mounted" in plan.notes


def test_logs_beside_the_api_but_never_mixed() -> None:
    plan = make_plan(api_service(), api_definition(), template(), order())
    options = plan.register["containerDefinitions"][0]["logConfiguration"]["options"]
    assert options == {
        "awslogs-group": "/ecs/api",
        "awslogs-region": "eu-central-1",
        "awslogs-stream-prefix": "toolbox",
    }


def test_orders_travel_in_the_override_and_owner_in_tags() -> None:
    run = make_plan(api_service(), api_definition(), template(), order(owner="kim <k>")).run
    (override,) = run["overrides"]["containerOverrides"]
    assert {"name": "TOOLBOX_LIFETIME", "value": "14400"} in override["environment"]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["toolbox:owner"] == "kim _k_"
    assert tags["toolbox:expires"] == "2026-11-24T07:20:00Z"
    assert run["clientToken"] == tags["toolbox:launch"]
    assert run["startedBy"] == "toolbox"


def test_equal_content_has_an_equal_hash_whoever_launches() -> None:
    first = make_plan(api_service(), api_definition(), template(), order())
    second = make_plan(api_service(), api_definition(), template(), order(owner="lee", token="other"))
    third = make_plan(api_service(), api_definition(taskRoleArn="arn:aws:iam::1:role/x"), template(), order())
    assert first.content == second.content
    assert first.content != third.content
    assert first.register["containerDefinitions"][0]["dockerLabels"][CONTENT_LABEL] == first.content


@pytest.mark.parametrize(
    ("changes", "configured", "name", "how"),
    [
        ({}, None, "web", None),
        ({"loadBalancers": []}, "web", "web", "the inventory names it"),
    ],
)
def test_picks_the_container_that_serves(changes: Any, configured: str | None, name: str, how: str | None) -> None:
    container, told = pick_container(api_definition(), api_service(**changes), configured)
    assert (container["name"], told) == (name, how)


def test_only_a_guess_at_the_container_is_worth_a_note() -> None:
    assert not any(
        "container" in note for note in make_plan(api_service(), api_definition(), template(), order()).notes
    )
    guessed = make_plan(api_service(loadBalancers=[]), api_definition(), template(), replace(order(), container="web"))
    assert any("container" in note for note in guessed.notes)
    assert shown(guessed)["container"] == guessed.api_container


def test_picks_the_only_one_with_ports_wherever_it_stands() -> None:
    definition = api_definition()
    definition["containerDefinitions"][0]["portMappings"] = []
    container, told = pick_container(definition, api_service(loadBalancers=[]), None)
    assert (container["name"], told) == ("web", "the only essential one with ports")


def test_does_not_guess_between_two() -> None:
    with pytest.raises(LaunchError) as caught:
        pick_container(api_definition(), api_service(loadBalancers=[]), None)
    assert caught.value.cause == "container-unclear"
    assert "envoy, web" in caught.value.sentence


def test_capacity_is_a_strategy_or_a_launch_type_never_both() -> None:
    strategy = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    service = api_service(capacityProviderStrategy=strategy)
    del service["launchType"]
    plan = make_plan(service, api_definition(), template(), order())
    assert plan.run["capacityProviderStrategy"] == strategy
    assert "launchType" not in plan.run
    assert any("Spot" in note for note in plan.notes)
    assert make_plan(api_service(), api_definition(), template(), order()).run["launchType"] == "FARGATE"


@pytest.mark.parametrize(("version", "used"), [("1.3.0", "LATEST"), ("1.4.0", "1.4.0"), ("LATEST", None), (None, None)])
def test_the_platform_is_new_enough_for_exec(version: str | None, used: str | None) -> None:
    plan = make_plan(api_service(platformVersion=version), api_definition(), template(), order())
    assert plan.run.get("platformVersion") == used


def test_refuses_what_cannot_work() -> None:
    no_role = api_definition()
    del no_role["taskRoleArn"]
    with pytest.raises(LaunchError, match="no task role"):
        make_plan(api_service(), no_role, template(), order())
    with pytest.raises(LaunchError, match="no awsvpc network"):
        make_plan(api_service(networkConfiguration=None), api_definition(), template(), order())
    huge = api_definition()
    huge["containerDefinitions"][1]["environment"] = [{"name": "BLOB", "value": "x" * 66_000}]
    with pytest.raises(LaunchError, match=r"would be 6\d{4} bytes; ECS takes 65536"):
        make_plan(api_service(), huge, template(), order())


def test_the_inventory_role_wins() -> None:
    plan = make_plan(api_service(), api_definition(), template(), order(task_role="arn:aws:iam::1:role/toolbox"))
    assert plan.register["taskRoleArn"] == "arn:aws:iam::1:role/toolbox"


def test_what_is_shown_holds_no_value_of_the_api() -> None:
    definition = api_definition()
    definition["containerDefinitions"][1]["environment"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"})
    plan = make_plan(api_service(), definition, template(), order())
    text = json.dumps(shown(plan))
    assert "AWS_SECRET_ACCESS_KEY" in text
    assert "hunter2" not in text
    assert plan.register["containerDefinitions"][0]["environment"][1]["value"] == "hunter2"


def test_the_definition_is_that_of_the_api_that_runs() -> None:
    old, new = "arn:td/api:7", "arn:td/api:8"
    deployments = [
        {"status": "PRIMARY", "taskDefinition": new, "runningCount": 0},
        {"status": "ACTIVE", "taskDefinition": old, "runningCount": 1},
    ]
    arn, notes = running_definition(api_service(taskDefinition=new, deployments=deployments))
    assert (arn, notes) == (old, ("the api runs api:7; api:8 is not running yet",))
    deployments[0]["runningCount"] = 1
    assert running_definition(api_service(taskDefinition=new, deployments=deployments)) == (new, ())
    arn, notes = running_definition(api_service(taskDefinition=new, deployments=[]))
    assert (arn, len(notes)) == (new, 1)

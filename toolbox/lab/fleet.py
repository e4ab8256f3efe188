"""The eight services as ECS is told of them: RegisterTaskDefinition and CreateService inputs. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from toolbox.inventory import DATABASE, REDIS, Inventory, Service
from toolbox.lab.aws.backends import REGION
from toolbox.lab.estate import REGISTRY, Estate, log_group

ZONE: Final = "tracker.lab.internal"
TAG: Final = "v1"
# Names of secrets.
DATABASE_URL: Final = "tracker/production/database-url"
ASYNC_DATABASE_URL: Final = "tracker/production/database-url-asyncpg"
OWNER_DATABASE_URL: Final = "tracker/production/database-url-owner"
DATABASE_PASSWORD: Final = "tracker/production/database-password"
REDIS_SETTINGS: Final = "tracker/production/redis"

Document = dict[str, Any]


def repository(inventory: Inventory, service: Service) -> str:
    """The image repository of a service."""
    return f"tracker/{inventory.short(service.name)}"


def task_definition(inventory: Inventory, service: Service, estate: Estate, database: Mapping[str, str]) -> Document:
    """RegisterTaskDefinition's input. `database` holds PGHOST, PGPORT, PGDATABASE and PGUSER."""
    short = inventory.short(service.name)
    environment, secrets = _way_to_data(short, service, estate, database)
    for need in service.needs:
        if need not in (DATABASE, REDIS):
            other = inventory.service(need)
            environment[_variable(inventory.short(need))] = f"http://{_name(inventory, other)}"
    container: Document = {
        "name": short,
        "image": f"{REGISTRY}/{repository(inventory, service)}:{TAG}",
        "essential": True,
        "environment": [{"name": name, "value": value} for name, value in environment.items()],
        "secrets": [{"name": name, "valueFrom": value} for name, value in secrets.items()],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": log_group(service),
                "awslogs-region": REGION,
                "awslogs-stream-prefix": "ecs",
            },
        },
        "stopTimeout": 30,
    }
    if service.http:
        container["portMappings"] = [{"containerPort": service.http.port, "protocol": "tcp"}]
        environment_of_port = {"name": "PORT", "value": str(service.http.port)}
        container["environment"].append(environment_of_port)
    return {
        "family": service.name,
        "taskRoleArn": estate.task_role,
        "executionRoleArn": estate.execution_role,
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [container],
    }


def service_request(inventory: Inventory, service: Service, estate: Estate) -> Document:
    """CreateService's input."""
    short = inventory.short(service.name)
    request: Document = {
        "cluster": inventory.cluster,
        "serviceName": service.name,
        "taskDefinition": service.name,
        "desiredCount": service.expected,
        "launchType": "FARGATE",
        "platformVersion": "LATEST",
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
        },
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(estate.subnets),
                "securityGroups": [estate.service_group],
                "assignPublicIp": "DISABLED",
            }
        },
        "propagateTags": "SERVICE",
    }
    if service.name in estate.target_groups and service.http:
        request["loadBalancers"] = [
            {
                "targetGroupArn": estate.target_groups[service.name],
                "containerName": short,
                "containerPort": service.http.port,
            }
        ]
        request["healthCheckGracePeriodSeconds"] = 60
    if service.name in estate.registries:
        request["serviceRegistries"] = [{"registryArn": estate.registries[service.name]}]
    return request


def _way_to_data(
    short: str, service: Service, estate: Estate, database: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Environment and secrets that lead to database and Redis: each service in the form that its author liked."""
    environment: dict[str, str] = {}
    secrets: dict[str, str] = {}
    if DATABASE in service.needs:
        match short:
            case "materialized-view-service":
                secrets["DATABASE_URL"] = estate.secrets[OWNER_DATABASE_URL]
            case "tracker-fetcher-2":
                secrets["SQLALCHEMY_DATABASE_URI"] = estate.secrets[ASYNC_DATABASE_URL]
            case "unified-geofence":
                environment |= database
                secrets["PGPASSWORD"] = estate.secrets[DATABASE_PASSWORD]
            case _:
                secrets["DATABASE_URL"] = estate.secrets[DATABASE_URL]
    if REDIS in service.needs:
        secrets["REDIS_URL"] = f"{estate.secrets[REDIS_SETTINGS]}:url::"
    return environment, secrets


def _variable(short: str) -> str:
    return f"{short.upper().replace('-', '_')}_URL"


def _name(inventory: Inventory, service: Service) -> str:
    port = f":{service.http.port}" if service.http else ""
    return f"{inventory.short(service.name)}.{ZONE}{port}"

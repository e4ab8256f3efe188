"""Services."""

from typing import Final

from toolbox.lab.ecs import rollouts
from toolbox.lab.ecs.actions.paging import page
from toolbox.lab.ecs.containers import pairs
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe_services import service_answer
from toolbox.lab.ecs.errors import invalid, service_not_active
from toolbox.lab.ecs.events import EventLog
from toolbox.lab.ecs.state import ACTIVE, DRAINING, INACTIVE, Document, Service

_PER_CALL: Final = 10
_PER_PAGE: Final = 10
_DEFAULTS: Final[Document] = {
    "loadBalancers": [],
    "serviceRegistries": [],
    "networkConfiguration": {},
    "platformVersion": "LATEST",
    "healthCheckGracePeriodSeconds": 0,
    "enableECSManagedTags": False,
    "propagateTags": "NONE",
    "enableExecuteCommand": False,
}
_CONFIGURATION: Final[Document] = {
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}
_NOT_DEPLOYED: Final[tuple[str, ...]] = (
    "healthCheckGracePeriodSeconds",
    "enableExecuteCommand",
    "enableECSManagedTags",
    "propagateTags",
)


def create_service(core: Core, request: Document, principal: str) -> Document:
    """CreateService; the answer's deployment wants its tasks already, and has none."""
    cluster = core.cluster(request.get("cluster"))
    name = request["serviceName"]
    existing = cluster.services.get(name)
    if existing is not None and existing.status == ACTIVE:
        raise invalid("Creation of service was not idempotent.")
    if existing is not None and existing.status == DRAINING:
        raise invalid("Unable to Start a service that is still Draining.")
    if request.get("deploymentController", {}).get("type", "ECS") != "ECS":
        raise invalid("The lab's services have the deployment controller ECS.")
    definition = core.definition(request.get("taskDefinition", ""), active=True)
    if not request.get("networkConfiguration", {}).get("awsvpcConfiguration"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    settings = {**_DEFAULTS, **{key: request[key] for key in _DEFAULTS if key in request}}
    settings["deploymentConfiguration"] = _configuration(_CONFIGURATION, request)
    for key in ("launchType", "capacityProviderStrategy"):
        if key in request:
            settings[key] = request[key]
    if "launchType" not in settings and "capacityProviderStrategy" not in settings:
        settings["launchType"] = "FARGATE"
    service = Service(
        name=name,
        arn=core.state.arn(f"service/{cluster.name}/{name}"),
        cluster=cluster,
        settings=settings,
        desired=request.get("desiredCount", 0),
        created_at=core.now(),
        created_by=principal,
        tags=pairs(request.get("tags", []), "key"),
        events=EventLog(name),
    )
    rollouts.begin(service, definition, core.now(), core.timings).desired = service.desired
    cluster.services[name] = service
    answer = service_answer(service, tags=True)
    core.scheduler.watch(service)
    return {"service": answer}


def _configuration(before: Document, request: Document) -> Document:
    given = dict(request.get("deploymentConfiguration", {}))
    return {**before, **given}


def update_service(core: Core, request: Document, principal: str) -> Document:
    """UpdateService; a deployment begins only when what a task is made from changes, or when it is forced."""
    service = core.service(core.cluster(request.get("cluster")), request["service"])
    if service.status != ACTIVE:
        raise service_not_active()
    now = core.now()
    deployed = {
        key: request[key]
        for key in rollouts.DEPLOYED_SETTINGS
        if key in request and request[key] != service.settings[key]
    }
    definition = service.primary.revision.definition
    if "taskDefinition" in request:
        definition = core.definition(request["taskDefinition"], active=True)
    kept = {key: request[key] for key in _NOT_DEPLOYED if key in request}
    configuration = _configuration(service.settings["deploymentConfiguration"], request)
    service.settings = {**service.settings, **deployed, **kept, "deploymentConfiguration": configuration}
    service.desired = request.get("desiredCount", service.desired)
    changed = definition is not service.primary.revision.definition
    if changed or deployed or request.get("forceNewDeployment"):
        rollouts.begin(service, definition, now, core.timings)
    service.events.cause_ended()
    answer = service_answer(service, tags=True)
    service.wake.set()
    return {"service": answer}


def delete_service(core: Core, request: Document, principal: str) -> Document:
    """DeleteService: DRAINING while tasks end, then INACTIVE."""
    service = core.service(core.cluster(request.get("cluster")), request["service"])
    if service.status == INACTIVE:
        raise service_not_active()
    if service.desired and not request.get("force"):
        raise invalid("The service cannot be stopped while it is scaled above 0.")
    service.status, service.desired = DRAINING, 0
    service.wake.set()
    return {"service": service_answer(service, tags=True)}


def describe_services(core: Core, request: Document, principal: str) -> Document:
    """DescribeServices, at most 10; DRAINING and INACTIVE ones by name too."""
    cluster = core.cluster(request.get("cluster"))
    if not request["services"]:
        raise invalid("Services cannot be empty.")
    if len(request["services"]) > _PER_CALL:
        raise invalid("Services list cannot have more than 10 elements.")
    found, failures = [], []
    for reference in request["services"]:
        name = reference.rpartition("/")[2]
        if service := cluster.services.get(name):
            found.append(service_answer(service, tags="TAGS" in request.get("include", [])))
        else:
            failures.append({"arn": core.state.arn(f"service/{cluster.name}/{name}"), "reason": "MISSING"})
    return {"services": found, "failures": failures}


def list_services(core: Core, request: Document, principal: str) -> Document:
    """ListServices: the ACTIVE ones, 10 a page unless asked."""
    cluster, kind = core.cluster(request.get("cluster")), request.get("launchType")
    active = [s for s in cluster.services.values() if s.status == ACTIVE]
    arns = [service.arn for service in active if kind in (None, service.settings.get("launchType"))]
    return page(arns, request, "serviceArns", _PER_PAGE)

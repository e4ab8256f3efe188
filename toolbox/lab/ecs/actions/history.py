"""Service deployments and revisions: what was deployed, and how it ended."""

from collections.abc import Iterator
from typing import Final

from toolbox.lab.ecs import rollouts
from toolbox.lab.ecs.core import Core
from toolbox.lab.ecs.describe_services import revision_answer, rollout_answer, rollout_brief
from toolbox.lab.ecs.errors import EcsApiError, invalid
from toolbox.lab.ecs.state import IN_PROGRESS, Document, Service

_PER_PAGE: Final = 20


def list_service_deployments(core: Core, request: Document, principal: str) -> Document:
    """ListServiceDeployments: newest first, 20 a page unless asked."""
    service = core.service(core.cluster(request.get("cluster")), request["service"])
    wanted, created = request.get("status"), request.get("createdAt", {})
    found = [
        rollout
        for rollout in service.rollouts
        if (not wanted or rollout.status in wanted)
        and float(created.get("after", 0)) <= rollout.created_at <= float(created.get("before", rollout.created_at))
    ]
    size = request.get("maxResults", _PER_PAGE)
    start = next((n for n, r in enumerate(found) if r.arn == request.get("nextToken")), -1) + 1
    answer: Document = {"serviceDeployments": [rollout_brief(service, r) for r in found[start : start + size]]}
    if len(found) > start + size:
        answer["nextToken"] = found[start + size - 1].arn
    return answer


def describe_service_deployments(core: Core, request: Document, principal: str) -> Document:
    """DescribeServiceDeployments, at most 20."""
    arns = request["serviceDeploymentArns"]
    _check_length(arns)
    known = {rollout.arn: (service, rollout) for service in _services(core) for rollout in service.rollouts}
    return {
        "serviceDeployments": [rollout_answer(*known[arn]) for arn in arns if arn in known],
        "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known],
    }


def describe_service_revisions(core: Core, request: Document, principal: str) -> Document:
    """DescribeServiceRevisions, at most 20."""
    arns = request["serviceRevisionArns"]
    _check_length(arns)
    known = {revision.arn: (service, revision) for service in _services(core) for revision in service.revisions}
    return {
        "serviceRevisions": [revision_answer(*known[arn]) for arn in arns if arn in known],
        "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known],
    }


def stop_service_deployment(core: Core, request: Document, principal: str) -> Document:
    """StopServiceDeployment with ROLLBACK (the default), for a deployment that is in progress."""
    arn = request["serviceDeploymentArn"]
    service = next((s for s in _services(core) if any(r.arn == arn for r in s.rollouts)), None)
    if service is None:
        raise EcsApiError("ServiceDeploymentNotFoundException", "Service deployment not found.")
    if request.get("stopType", "ROLLBACK") != "ROLLBACK":
        raise EcsApiError("UnsupportedFeatureException", "The lab's ECS stops a service deployment with ROLLBACK only.")
    rollout = service.primary.rollout
    if rollout.arn != arn or rollout.status != IN_PROGRESS:
        raise EcsApiError("ConflictException", "The service deployment is not in progress.")
    if not rollouts.stop_by_hand(service, core.now(), core.timings):
        raise invalid("There is no earlier service revision to roll back to.")
    return {"serviceDeploymentArn": arn}


def _services(core: Core) -> Iterator[Service]:
    return (service for cluster in core.state.clusters.values() for service in cluster.services.values())


def _check_length(arns: list[str]) -> None:
    if not 1 <= len(arns) <= _PER_PAGE:
        raise invalid("The list must have between 1 and 20 elements.")

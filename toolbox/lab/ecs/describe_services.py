"""Services, their deployments and revisions as the API shows them. Pure; times are seconds of the epoch."""

from typing import Final

from toolbox.lab.ecs.describe import PLATFORM, present, tag_list
from toolbox.lab.ecs.plan import breaker_threshold
from toolbox.lab.ecs.state import IN_PROGRESS, INACTIVE, Deployment, Document, Revision, Rollout, Service

_SERVICE_ROLE: Final = "aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS"


def service_answer(service: Service, *, tags: bool) -> Document:
    """A Service, deployments and events newest first."""
    under_way = [rollout for rollout in service.rollouts if rollout.finished_at is None]
    answer = {
        **service.settings,
        "serviceArn": service.arn,
        "serviceName": service.name,
        "clusterArn": service.cluster.arn,
        "status": service.status,
        "desiredCount": service.desired,
        "runningCount": service.running_of(),
        "pendingCount": service.pending_of(),
        "platformFamily": "Linux",
        "taskDefinition": service.primary.revision.definition.arn,
        "deployments": [] if service.status == INACTIVE else [_deployment(service, d) for d in service.deployments],
        "roleArn": f"arn:aws:iam::{service.arn.split(':')[4]}:role/{_SERVICE_ROLE}",
        "events": [{"id": e.id, "createdAt": e.time, "message": e.message} for e in service.events.newest_first()],
        "createdAt": service.created_at,
        "createdBy": service.created_by,
        "currentServiceDeployment": under_way[0].arn if under_way else None,
        "currentServiceRevisions": [_revision_counts(service, d) for d in service.deployments],
        "placementConstraints": [],
        "placementStrategy": [],
        "schedulingStrategy": "REPLICA",
        "deploymentController": {"type": "ECS"},
        "tags": tag_list(service.tags) if tags else None,
        "availabilityZoneRebalancing": "DISABLED",
    }
    return present(answer)


def _deployment(service: Service, deployment: Deployment) -> Document:
    settings = deployment.revision.settings
    return present(
        {
            "id": deployment.id,
            "status": deployment.status,
            "taskDefinition": deployment.revision.definition.arn,
            "desiredCount": deployment.desired,
            "pendingCount": service.pending_of(deployment),
            "runningCount": service.running_of(deployment),
            "failedTasks": deployment.failed_tasks,
            "createdAt": deployment.created_at,
            "updatedAt": deployment.updated_at,
            "launchType": settings.get("launchType"),
            "capacityProviderStrategy": settings.get("capacityProviderStrategy"),
            **PLATFORM,
            "networkConfiguration": settings["networkConfiguration"],
            "rolloutState": deployment.rollout_state,
            "rolloutStateReason": deployment.reason,
        }
    )


def _revision_counts(service: Service, deployment: Deployment) -> Document:
    return {
        "arn": deployment.revision.arn,
        "requestedTaskCount": deployment.desired,
        "runningTaskCount": service.running_of(deployment),
        "pendingTaskCount": service.pending_of(deployment),
    }


def rollout_brief(service: Service, rollout: Rollout) -> Document:
    """A ServiceDeploymentBrief."""
    return present(
        {
            "serviceDeploymentArn": rollout.arn,
            "serviceArn": service.arn,
            "clusterArn": service.cluster.arn,
            "startedAt": rollout.started_at,
            "createdAt": rollout.created_at,
            "finishedAt": rollout.finished_at,
            "targetServiceRevisionArn": rollout.target.arn,
            "status": rollout.status,
            "statusReason": rollout.reason,
        }
    )


def rollout_answer(service: Service, rollout: Rollout) -> Document:
    """A ServiceDeployment."""
    brief = rollout_brief(service, rollout)
    del brief["targetServiceRevisionArn"]
    breaker = rollout.configuration.get("deploymentCircuitBreaker", {})
    monitored = "MONITORING" if rollout.status == IN_PROGRESS else "MONITORING_COMPLETE"
    status = "TRIGGERED" if rollout.triggered else monitored if breaker.get("enable") else "DISABLED"
    threshold = breaker_threshold(service.desired)
    return present(
        brief
        | {
            "stoppedAt": rollout.stopped_at,
            "updatedAt": rollout.updated_at,
            "sourceServiceRevisions": [_counts_of(service, source) for source in rollout.sources],
            "targetServiceRevision": _counts_of(service, rollout.target),
            "deploymentConfiguration": rollout.configuration,
            "rollback": rollout.rollback,
            "deploymentCircuitBreaker": {"status": status, "failureCount": rollout.failures, "threshold": threshold},
            "alarms": {"status": "DISABLED"},
        }
    )


def _counts_of(service: Service, revision: Revision) -> Document:
    found = [d for d in service.deployments if d.revision is revision]
    return {
        "arn": revision.arn,
        "requestedTaskCount": sum(d.desired for d in found),
        "runningTaskCount": sum(service.running_of(d) for d in found),
        "pendingTaskCount": sum(service.pending_of(d) for d in found),
    }


def revision_answer(service: Service, revision: Revision) -> Document:
    """A ServiceRevision, with the images that it pinned."""
    settings, definitions = revision.settings, revision.definition.body["containerDefinitions"]
    return present(
        {
            "serviceRevisionArn": revision.arn,
            "serviceArn": service.arn,
            "clusterArn": service.cluster.arn,
            "taskDefinition": revision.definition.arn,
            "launchType": settings.get("launchType"),
            "capacityProviderStrategy": settings.get("capacityProviderStrategy"),
            **PLATFORM,
            "loadBalancers": settings["loadBalancers"],
            "serviceRegistries": settings["serviceRegistries"],
            "networkConfiguration": settings["networkConfiguration"],
            "containerImages": [
                present(
                    {"containerName": c["name"], "imageDigest": revision.digests.get(c["name"]), "image": c["image"]}
                )
                for c in definitions
            ],
            "guardDutyEnabled": False,
            "createdAt": revision.created_at,
        }
    )

"""How a service's deployments begin, succeed, fail and go back."""

import secrets
import string
from typing import Final

from toolbox.lab.ecs import events
from toolbox.lab.ecs.plan import breaker_threshold
from toolbox.lab.ecs.state import (
    ACTIVE,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    Deployment,
    Document,
    Revision,
    Rollout,
    Service,
    TaskDefinition,
    Timings,
)

# What belongs to a service revision beside the task definition: to change it takes a deployment (ECS API reference,
# UpdateService), and a rollback takes it back.
DEPLOYED_SETTINGS: Final[tuple[str, ...]] = (
    "networkConfiguration",
    "loadBalancers",
    "serviceRegistries",
    "platformVersion",
)
_ID_DIGITS: Final = 19
_ALPHABET: Final = string.ascii_letters + string.digits
_BROKEN: Final = "ECS deployment circuit breaker: tasks failed to start."
_KEPT_ROLLOUTS: Final = 100


def begin(service: Service, definition: TaskDefinition, now: float, timings: Timings) -> Deployment:
    """A new PRIMARY with a new revision, at 0/0; what was under way before is superseded."""
    revision = Revision(
        arn=_arn(service, "service-revision", _digits()),
        definition=definition,
        settings=dict(service.settings),
        created_at=now,
    )
    for rollout in service.rollouts:
        _finish(rollout, "STOPPED", "Service deployment was stopped because it was superseded by a newer one.", now)
    sources = [deployment.revision for deployment in service.deployments if deployment.desired]
    rollout = Rollout(
        arn=_arn(service, "service-deployment", "".join(secrets.choice(_ALPHABET) for _ in range(21))),
        target=revision,
        sources=sources,
        created_at=now,
        started_at=now,
        updated_at=now,
        configuration=service.settings["deploymentConfiguration"],
    )
    service.rollouts.insert(0, rollout)
    del service.rollouts[_KEPT_ROLLOUTS:]
    service.revisions.insert(0, revision)
    deployment = _new_primary(service, revision, rollout, now, timings)
    deployment.reason = f"ECS deployment {deployment.id} in progress."
    return deployment


def complete(service: Service, now: float) -> None:
    """The PRIMARY has what it wanted and nothing old is left."""
    deployment = service.primary
    deployment.rollout_state = COMPLETED
    deployment.reason = f"ECS deployment {deployment.id} completed."
    deployment.updated_at = now
    service.deployments[1:] = []
    service.last_good, service.last_good_id = deployment.revision, deployment.id
    rolled_back = deployment.rollout.rollback is not None
    _finish(deployment.rollout, "ROLLBACK_SUCCESSFUL" if rolled_back else "SUCCESSFUL", None, now)
    service.events.cause_ended()
    service.events.say(now, events.completed(deployment.id))


def count_failure(service: Service, deployment: Deployment, now: float, timings: Timings) -> None:
    """One more task of a rollout failed; trips the circuit breaker at its threshold."""
    if deployment.rollout_state != IN_PROGRESS or deployment.has_served:
        return
    deployment.failed_tasks += 1
    deployment.updated_at = now
    deployment.rollout.failures = deployment.failed_tasks
    deployment.rollout.updated_at = now
    breaker = breaker_of(service)
    if breaker.get("enable") and deployment.failed_tasks >= breaker_threshold(service.desired):
        deployment.rollout.triggered = True
        _fail(service, deployment, rollback=bool(breaker.get("rollback")), now=now, timings=timings)


def breaker_of(service: Service) -> Document:
    """deploymentCircuitBreaker, {} when it was never set."""
    breaker: Document = service.settings["deploymentConfiguration"].get("deploymentCircuitBreaker", {})
    return breaker


def roll_back(service: Service, reason: str, now: float, timings: Timings) -> Deployment | None:
    """Go back to the last deployment that completed, under a new id; None when there is none."""
    failed = service.primary
    if service.last_good is None or service.last_good is failed.revision:
        return None
    rollout = failed.rollout
    rollout.status, rollout.reason, rollout.updated_at = "ROLLBACK_IN_PROGRESS", reason, now
    rollout.rollback = {"reason": reason, "startedAt": now, "serviceRevisionArn": service.last_good.arn}
    service.settings = {**service.settings, **{key: service.last_good.settings[key] for key in DEPLOYED_SETTINGS}}
    deployment = _new_primary(service, service.last_good, rollout, now, timings)
    deployment.reason = f"ECS deployment circuit breaker: rolling back to deploymentId {service.last_good_id}."
    service.events.say(now, events.rolling_back(service.last_good_id or ""))
    return deployment


def stop_by_hand(service: Service, now: float, timings: Timings) -> bool:
    """StopServiceDeployment with ROLLBACK; False when there is nothing to go back to."""
    failed = service.primary
    if roll_back(service, "Service deployment was stopped by the user.", now, timings) is None:
        return False
    failed.rollout_state = FAILED
    failed.reason = f"ECS deployment {failed.id} was stopped."
    return True


def _fail(service: Service, deployment: Deployment, *, rollback: bool, now: float, timings: Timings) -> None:
    deployment.rollout_state, deployment.reason, deployment.updated_at = FAILED, _BROKEN, now
    service.events.say(now, events.failed(deployment.id))
    rollout = deployment.rollout
    if rollout.rollback is not None:
        _finish(rollout, "ROLLBACK_FAILED", _BROKEN, now)
    elif not rollback or roll_back(service, _BROKEN, now, timings) is None:
        rollout.stopped_at = now
        _finish(rollout, "STOPPED", _BROKEN, now)


def _new_primary(service: Service, revision: Revision, rollout: Rollout, now: float, timings: Timings) -> Deployment:
    deployment = Deployment(
        id=f"ecs-svc/{_digits()}",
        revision=revision,
        rollout=rollout,
        created_at=now,
        updated_at=now,
        begins_at=now + timings.deployment_start,
    )
    for older in service.deployments:
        older.status = ACTIVE
    service.deployments.insert(0, deployment)
    service.launches_failed, service.next_launch_at, service.steady = 0, 0.0, False
    service.wake.set()
    return deployment


def _finish(rollout: Rollout, status: str, reason: str | None, now: float) -> None:
    if rollout.finished_at is None:
        rollout.status, rollout.reason = status, reason or rollout.reason
        rollout.finished_at = rollout.updated_at = now


def _arn(service: Service, kind: str, name: str) -> str:
    return f"{service.arn.replace(':service/', f':{kind}/')}/{name}"


def _digits() -> str:
    return str(secrets.randbelow(9 * 10 ** (_ID_DIGITS - 1)) + 10 ** (_ID_DIGITS - 1))

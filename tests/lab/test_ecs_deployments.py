from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.ecslab import BREAKER, CLUSTER, SERVES, EcsLab, Json, ecs_lab, messages, settled

FAILS = ("sh", "-c", "exit 3")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[EcsLab]:
    async with ecs_lab(tmp_path) as lab:
        yield lab


async def update(lab: EcsLab, name: str = "web", **changes: Any) -> Json:
    service: Json = (await lab.call("UpdateService", cluster=CLUSTER, service=name, **changes))["service"]
    return service


async def settled_service(lab: EcsLab, **more: Any) -> Json:
    definition = await lab.define(lab.world.push("good", *SERVES))
    created = await lab.serve("web", definition, **more)
    assert (created["runningCount"], created["deployments"][0]["rolloutState"]) == (0, "IN_PROGRESS")
    return await lab.until_settled("web")


async def test_a_new_service_settles_and_says_so_once(lab: EcsLab) -> None:
    service = await settled_service(lab)
    (task,) = await lab.tasks(serviceName="web")
    deployment = service["deployments"][0]
    assert task["startedBy"] == deployment["id"]
    assert task["group"] == "service:web"
    assert deployment["rolloutStateReason"] == f"ECS deployment {deployment['id']} completed."
    assert messages(service) == [
        f"has started 1 tasks: (task {task['taskArn'].rpartition('/')[2]}).",
        f"(deployment {deployment['id']}) deployment completed.",
        "has reached a steady state.",
    ]


async def test_t0_shows_a_primary_with_nothing(lab: EcsLab) -> None:
    before = await settled_service(lab)
    after = await update(lab, forceNewDeployment=True)
    primary, active = after["deployments"]
    assert primary["status"] == "PRIMARY"
    assert [primary[key] for key in ("desiredCount", "runningCount", "pendingCount")] == [0, 0, 0]
    assert primary["rolloutState"] == "IN_PROGRESS"
    assert (active["id"], active["status"]) == (before["deployments"][0]["id"], "ACTIVE")
    assert (active["desiredCount"], active["runningCount"], active["rolloutState"]) == (1, 1, "COMPLETED")
    assert after["runningCount"] == after["desiredCount"] == 1
    assert after["currentServiceDeployment"]
    await lab.until_settled("web")


async def test_the_new_task_runs_before_the_old_one_stops(lab: EcsLab) -> None:
    await settled_service(lab)
    (old,) = await lab.tasks()
    new_id = (await update(lab, forceNewDeployment=True))["deployments"][0]["id"]
    both = await lab.until_service("web", lambda s: s["runningCount"] == 2)
    assert [d["runningCount"] for d in both["deployments"]] == [1, 1]
    after = await lab.until_settled("web")
    assert after["deployments"][0]["id"] == new_id
    stopped = await lab.until_task(old["taskArn"], "STOPPED")
    (new,) = await lab.tasks()
    assert stopped["stoppingAt"] >= new["startedAt"] + 0.3
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"] == f"Scaling activity initiated by (deployment {new_id})"
    assert stopped["containers"][0]["exitCode"] == 0


async def test_without_a_minimum_there_is_a_gap(lab: EcsLab) -> None:
    configuration = {"minimumHealthyPercent": 0, "maximumPercent": 100}
    await settled_service(lab, deploymentConfiguration=configuration)
    await update(lab, forceNewDeployment=True)
    await lab.until_service("web", lambda s: s["runningCount"] == 0)
    await lab.until_settled("web")


async def test_percentages_that_allow_nothing_are_a_deadlock(lab: EcsLab) -> None:
    configuration = {"minimumHealthyPercent": 100, "maximumPercent": 100}
    await settled_service(lab, deploymentConfiguration=configuration)
    await update(lab, forceNewDeployment=True)
    stuck = await lab.until_service("web", lambda s: any("unable to stop or start" in m for m in messages(s)))
    assert stuck["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert stuck["deployments"][0]["runningCount"] == 0
    assert sum("unable to stop or start" in message for message in messages(stuck)) == 1
    await update(lab, deploymentConfiguration={"maximumPercent": 200})
    await lab.until_settled("web")


async def test_the_circuit_breaker_rolls_back_under_a_new_id(lab: EcsLab) -> None:
    before = await settled_service(lab, deploymentConfiguration=BREAKER)
    bad = await lab.define(lab.world.push("bad", *FAILS))
    ours = (await update(lab, taskDefinition=bad))["deployments"][0]["id"]
    old = before["deployments"][0]["id"]
    back = await lab.until_service("web", lambda s: s["deployments"][0]["id"] not in (ours, old))
    primary, failed = back["deployments"][:2]
    assert primary["rolloutStateReason"] == f"ECS deployment circuit breaker: rolling back to deploymentId {old}."
    assert primary["taskDefinition"] == back["taskDefinition"] == before["taskDefinition"]
    assert (failed["id"], failed["rolloutState"], failed["failedTasks"]) == (ours, "FAILED", 3)
    assert failed["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    after = await lab.until_settled("web")
    assert len(after["deployments"]) == 1
    told = messages(after)
    assert told.index(f"(deployment {ours}) deployment failed: tasks failed to start.") < told.index(
        f"rolling back to (deployment {old})."
    )
    newest, first = (await lab.call("ListServiceDeployments", cluster=CLUSTER, service="web"))["serviceDeployments"]
    assert (newest["status"], first["status"]) == ("ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
    assert "currentServiceDeployment" not in after


async def test_a_rollback_takes_the_network_back_too(lab: EcsLab) -> None:
    before = await settled_service(lab, deploymentConfiguration=BREAKER)
    bad = await lab.define(lab.world.push("bad", *FAILS))
    elsewhere = {"awsvpcConfiguration": {"subnets": ["subnet-2"], "securityGroups": []}}
    moved = await update(lab, taskDefinition=bad, networkConfiguration=elsewhere)
    assert moved["networkConfiguration"] == moved["deployments"][0]["networkConfiguration"] == elsewhere
    after = await lab.until_settled("web")
    assert after["networkConfiguration"] == before["networkConfiguration"]
    assert after["deployments"][0]["networkConfiguration"] == before["networkConfiguration"]


async def test_three_failures_trip_the_breaker_and_nothing_more_is_launched(lab: EcsLab) -> None:
    bad = await lab.define(lab.world.push("bad", *FAILS))
    configuration = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
    await lab.serve("web", bad, deploymentConfiguration=configuration)
    failed = await lab.until_service("web", lambda s: s["deployments"][0]["rolloutState"] == "FAILED")
    assert failed["deployments"][0]["failedTasks"] == 3
    assert len(failed["deployments"]) == 1  # nothing to roll back to
    (rollout,) = (await lab.call("ListServiceDeployments", cluster=CLUSTER, service="web"))["serviceDeployments"]
    assert rollout["status"] == "STOPPED"
    (details,) = (
        await lab.call("DescribeServiceDeployments", serviceDeploymentArns=[rollout["serviceDeploymentArn"]])
    )["serviceDeployments"]
    assert details["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    stopped = await lab.until_stopped(3)
    assert [task["containers"][0]["exitCode"] for task in stopped] == [3, 3, 3]
    assert {task["stopCode"] for task in stopped} == {"EssentialContainerExited"}
    good = await lab.define(lab.world.push("good", *SERVES))
    await update(lab, taskDefinition=good)
    await lab.until_settled("web")
    assert len(await lab.tasks("STOPPED")) == 3


async def test_without_breaker_it_tries_for_ever(lab: EcsLab) -> None:
    bad = await lab.define(lab.world.push("bad", *FAILS))
    await lab.serve("web", bad)
    trying = await lab.until_service("web", lambda s: s["deployments"][0]["failedTasks"] >= 5)
    assert trying["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert not any("consistently" in message for message in messages(trying))


async def test_launches_that_never_run_are_throttled_and_told(lab: EcsLab) -> None:
    definition = await lab.define("registry/app:nowhere")
    await lab.serve("web", definition)
    told = await lab.until_service("web", lambda s: any("unable to consistently" in m for m in messages(s)))
    placements = [message for message in messages(told) if "was unable to place a task" in message]
    assert len(placements) == 1
    assert placements[0].startswith("was unable to place a task. Reason: CannotPullContainerError: ")
    await lab.until_service("web", lambda s: s["deployments"][0]["failedTasks"] >= 5)
    stopped = await lab.until_stopped(5)
    starts = [task["createdAt"] for task in stopped]
    gaps = [after - before for before, after in pairwise(starts)]
    assert gaps[3] > gaps[0] * 2, gaps


async def test_a_rollout_that_never_starts_is_throttled_beside_the_old_task(lab: EcsLab) -> None:
    await settled_service(lab)
    await update(lab, taskDefinition=await lab.define("registry/app:nowhere"))
    told = await lab.until_service("web", lambda s: any("unable to consistently" in m for m in messages(s)))
    assert told["runningCount"] == 1
    stopped = await lab.until_stopped(5)
    gaps = [after["createdAt"] - before["createdAt"] for before, after in pairwise(stopped)]
    assert gaps[3] > gaps[0] * 2, gaps


async def test_a_crash_loop_is_replaced_but_no_failure_of_a_finished_deployment(lab: EcsLab) -> None:
    service = await settled_service(lab, deploymentConfiguration=BREAKER)
    (task,) = await lab.tasks()
    definition = service["taskDefinition"]
    for _ in range(4):
        await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"], reason="drill")
        task = await lab.until_replaced(task)
    service = await lab.service("web")
    assert service["taskDefinition"] == definition
    assert service["deployments"][0]["failedTasks"] == 0
    assert len((await lab.call("ListServiceDeployments", cluster=CLUSTER, service="web"))["serviceDeployments"]) == 1
    assert [t["stopCode"] for t in await lab.tasks("STOPPED")] == ["UserInitiated"] * 4


async def test_a_replacement_keeps_the_image_a_forced_deployment_takes_the_tags_new_one(lab: EcsLab) -> None:
    await settled_service(lab)
    first = lab.world.tags[lab.world.push("good", *SERVES)]  # the tag has moved
    (task,) = await lab.tasks()
    pinned = task["containers"][0]["imageDigest"]
    assert pinned != first
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"])
    replacement = await lab.until_replaced(task)
    service = await lab.service("web")
    assert replacement["containers"][0]["imageDigest"] == pinned
    await update(lab, forceNewDeployment=True)
    after = await lab.until_settled("web")
    (newest,) = await lab.tasks()
    assert newest["containers"][0]["imageDigest"] == first
    arns = [service["currentServiceRevisions"][0]["arn"], after["currentServiceRevisions"][0]["arn"]]
    revisions = (await lab.call("DescribeServiceRevisions", serviceRevisionArns=arns))["serviceRevisions"]
    assert [revision["containerImages"][0]["imageDigest"] for revision in revisions] == [pinned, first]


async def test_a_pinned_digest_that_is_gone_cannot_be_pulled(lab: EcsLab) -> None:
    await settled_service(lab)
    (task,) = await lab.tasks()
    del lab.world.images[task["containers"][0]["imageDigest"]]
    lab.world.push("good", *SERVES)
    await lab.call("StopTask", cluster=CLUSTER, task=task["taskArn"])
    await lab.until_service("web", lambda s: any("CannotPullContainerError" in m for m in messages(s)))


async def test_counts_change_without_a_deployment(lab: EcsLab) -> None:
    before = await settled_service(lab)
    scaled = await update(lab, desiredCount=3, enableExecuteCommand=True)
    assert [d["id"] for d in scaled["deployments"]] == [before["deployments"][0]["id"]]
    assert scaled["deployments"][0]["rolloutState"] == "COMPLETED"  # history, whatever the counts say
    three = await lab.until_settled("web")
    assert three["runningCount"] == 3
    await update(lab, desiredCount=0)
    none = await lab.until_service("web", lambda s: settled(s) and s["runningCount"] == 0)
    assert none["deployments"][0]["desiredCount"] == 0
    reasons = {task["stoppedReason"] for task in await lab.tasks("STOPPED")}
    assert reasons == {f"Scaling activity initiated by (deployment {before['deployments'][0]['id']})"}


async def test_a_deployment_is_superseded(lab: EcsLab) -> None:
    await settled_service(lab)
    ours = (await update(lab, forceNewDeployment=True))["deployments"][0]["id"]
    theirs = (await update(lab, forceNewDeployment=True))["deployments"][0]["id"]
    after = await lab.until_settled("web")
    assert after["deployments"][0]["id"] == theirs != ours
    deployments = (await lab.call("ListServiceDeployments", cluster=CLUSTER, service="web"))["serviceDeployments"]
    assert [deployment["status"] for deployment in deployments] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


async def test_stop_service_deployment_rolls_back(lab: EcsLab) -> None:
    before = await settled_service(lab)
    slow = await lab.define("registry/app:nowhere")
    current = (await update(lab, taskDefinition=slow))["currentServiceDeployment"]
    await lab.call("StopServiceDeployment", serviceDeploymentArn=current, stopType="ROLLBACK")
    after = await lab.until_settled("web")
    assert after["taskDefinition"] == before["taskDefinition"]
    assert after["deployments"][0]["id"] != before["deployments"][0]["id"]
    answer = await lab.call("DescribeServiceDeployments", serviceDeploymentArns=[current, current + "x"])
    (deployment,) = answer["serviceDeployments"]
    assert deployment["status"] == "ROLLBACK_SUCCESSFUL"
    assert deployment["rollback"]["serviceRevisionArn"] == before["currentServiceRevisions"][0]["arn"]
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    assert (await lab.error("StopServiceDeployment", serviceDeploymentArn=current)).code == "ConflictException"


async def test_a_deleted_service_drains_and_stays_describable(lab: EcsLab) -> None:
    await settled_service(lab)
    refused = await lab.error("DeleteService", cluster=CLUSTER, service="web")
    assert refused.message == "The service cannot be stopped while it is scaled above 0."
    deleted = (await lab.call("DeleteService", cluster=CLUSTER, service="web", force=True))["service"]
    assert (deleted["status"], deleted["desiredCount"], deleted["runningCount"]) == ("DRAINING", 0, 1)
    assert (await lab.call("ListServices", cluster=CLUSTER))["serviceArns"] == []
    assert (await lab.error("UpdateService", cluster=CLUSTER, service="web")).code == "ServiceNotActiveException"
    await lab.until_service("web", lambda s: s["status"] == "INACTIVE" and s["runningCount"] == 0)
    definition = await lab.define(lab.world.push("again", *SERVES))
    await lab.serve("web", definition)
    assert (await lab.until_settled("web"))["status"] == "ACTIVE"


async def test_a_role_that_is_gone_is_an_event_not_a_task(lab: EcsLab) -> None:
    await settled_service(lab)
    (task,) = await lab.tasks()
    definition = await lab.define_all(
        [{"name": "app", "image": lab.world.push("good", *SERVES)}],
        executionRoleArn="arn:aws:iam::123456789012:role/gone",
    )
    lab.world.missing_roles.add("arn:aws:iam::123456789012:role/gone")
    await update(lab, taskDefinition=definition)
    await lab.until_service("web", lambda s: any("unable to assume the role" in m for m in messages(s)))
    assert [t["taskArn"] for t in await lab.tasks()] == [task["taskArn"]]

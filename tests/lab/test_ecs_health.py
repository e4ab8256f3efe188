import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.ecslab import BREAKER, CLUSTER, EcsLab, Json, ecs_lab, messages
from tests.support.sockets import answering, black_hole, free_port
from tests.support.waiting import seen, until
from toolbox.lab.contract import TargetGroup
from toolbox.lab.ecs.health import check_target, matches

GROUP = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/web/0123456789abcdef"
PORT = 8000
FAST = TargetGroup(GROUP, PORT, "/health", "200", 0.05, 0.5, 2, 2)
BALANCED = [{"targetGroupArn": GROUP, "containerName": "app", "containerPort": PORT}]

# Serves on its own address; 503 as long as /tmp/sick exists, and for ever with SICK=1.
SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        sick = os.environ.get("SICK") or os.path.exists("/tmp/sick")
        self.send_response(503 if sick else 200)
        self.end_headers()
    def log_message(self, *words): pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
HTTPServer((os.environ["TASK_ADDRESS"], 8000), Handler).serve_forever()
"""
CHECK = {"command": ["CMD-SHELL", "test ! -e /tmp/sick"], "interval": 5, "timeout": 5, "retries": 2}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[EcsLab]:
    async with ecs_lab(tmp_path) as lab:
        lab.world.groups[GROUP] = FAST
        yield lab


async def define_server(lab: EcsLab, **more: Any) -> str:
    image = lab.world.push("server", sys.executable, "-I", "-S", "-c", SERVER)
    return await lab.define(image, **more)


async def make_sick(lab: EcsLab, task: Json) -> None:
    process = await lab.runtime.run(task["taskArn"].rpartition("/")[2], "app", ["touch", "/tmp/sick"])
    assert await process.wait() == 0


def states(lab: EcsLab) -> list[str]:
    return [str(target["TargetHealth"]["State"]) for target in lab.ecs.target_health(GROUP)]


async def test_a_target_is_initial_then_healthy_then_draining(lab: EcsLab) -> None:
    lab.world.groups[GROUP] = replace(FAST, interval=0.2)
    await lab.serve("web", await define_server(lab), loadBalancers=BALANCED)
    await until(lambda: states(lab) == ["initial"])
    assert lab.ecs.target_health(GROUP)[0]["TargetHealth"]["Reason"].startswith("Elb.")
    service = await lab.until_settled("web")
    assert states(lab) == ["healthy"]
    (task,) = await lab.tasks()
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert lab.ecs.target_health(GROUP)[0]["Target"]["Id"] == address
    assert f"registered 1 targets in (target-group {GROUP})" in messages(service)
    await lab.call("UpdateService", cluster=CLUSTER, service="web", forceNewDeployment=True)
    await until(lambda: sorted(states(lab)) == ["draining", "healthy"])
    draining = await lab.until_task(task["taskArn"], "DEACTIVATING")
    assert draining["containers"][0]["lastStatus"] == "RUNNING"
    after = await lab.until_settled("web")
    for text in (f"deregistered 1 targets in (target-group {GROUP})", "has begun draining connections on 1 tasks."):
        assert text in messages(after)
    stopped = await lab.until_task(task["taskArn"], "STOPPED")
    assert stopped["executionStoppedAt"] - stopped["stoppingAt"] > 0.29  # 0.3 s by another clock
    assert states(lab) == ["healthy"]


async def test_an_unhealthy_target_is_replaced_and_told(lab: EcsLab) -> None:
    lab.world.groups[GROUP] = replace(FAST, unhealthy_threshold=20)  # a new task has a second to listen
    await lab.serve("web", await define_server(lab), loadBalancers=BALANCED)
    await lab.until_settled("web")
    (task,) = await lab.tasks()
    await make_sick(lab, task)
    new = await lab.until_replaced(task)
    old = await lab.until_task(task["taskArn"], "STOPPED")
    assert old["stoppedReason"] == f"Task failed ELB health checks in (target-group {GROUP})"
    assert old["stopCode"] == "ServiceSchedulerInitiated"
    assert new["createdAt"] < old["stoppingAt"]  # there was room for the new one first
    told = messages(await lab.until_settled("web"))
    reason = "Health checks failed with these codes: [503]"
    assert f"(port {PORT}) is unhealthy in (target-group {GROUP}) due to (reason {reason})" in told
    assert any("replaced 1 tasks due to an unhealthy status." in text for text in told)


async def test_a_deployment_that_never_gets_healthy_fails(lab: EcsLab) -> None:
    good = await define_server(lab)
    await lab.serve("web", good, loadBalancers=BALANCED, deploymentConfiguration=BREAKER)
    await lab.until_settled("web")
    bad = await define_server(lab, environment=[{"name": "SICK", "value": "1"}])
    await lab.call("UpdateService", cluster=CLUSTER, service="web", taskDefinition=bad)
    failed = await lab.until_service("web", lambda s: any("deployment failed" in m for m in messages(s)))
    assert failed["runningCount"] >= 1  # the old one serves all the time
    after = await lab.until_settled("web")
    assert after["taskDefinition"] == good
    stopped = [task for task in await lab.tasks("STOPPED") if task["taskDefinitionArn"] == bad]
    assert len(stopped) == 3
    assert {task["stopCode"] for task in stopped} == {"ServiceSchedulerInitiated"}


async def test_the_grace_period_hides_failures(lab: EcsLab) -> None:
    bad = await define_server(lab, environment=[{"name": "SICK", "value": "1"}])
    await lab.serve("web", bad, loadBalancers=BALANCED, healthCheckGracePeriodSeconds=40)  # 0.8 s
    await lab.until_service("web", lambda s: s["runningCount"] == 1)
    await until(lambda: states(lab) == ["unhealthy"])
    (task,) = await lab.until_listed(1, serviceName="web")
    stopped = await lab.until_task(task["taskArn"], "STOPPED")
    assert stopped["stoppingAt"] - stopped["startedAt"] > 0.79


async def test_a_deleted_target_group_is_told_once(lab: EcsLab) -> None:
    del lab.world.groups[GROUP]
    await lab.serve("web", await define_server(lab), loadBalancers=BALANCED)
    service = await lab.until_service("web", lambda s: any("TARGET GROUP IS NOT FOUND" in m for m in messages(s)))
    assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    assert states(lab) == ["unused"]


async def test_container_checks_run_inside_and_replace_a_task(lab: EcsLab) -> None:
    await lab.serve("web", await define_server(lab, healthCheck=CHECK))
    await lab.until_settled("web")
    (task,) = await lab.tasks()
    assert task["healthStatus"] == task["containers"][0]["healthStatus"] == "HEALTHY"
    await make_sick(lab, task)
    await lab.until_replaced(task)
    old = await lab.until_task(task["taskArn"], "STOPPED")
    assert old["stoppedReason"] == "Task failed container health checks"
    told = messages(await lab.until_settled("web"))
    assert f"(task {task['taskArn'].rpartition('/')[2]}) failed container health checks." in told


async def test_a_task_without_check_has_unknown_health(lab: EcsLab) -> None:
    task = await lab.run(await define_server(lab))
    running = await lab.until_task(task["taskArn"], "RUNNING")
    assert (running["healthStatus"], running["containers"][0]["healthStatus"]) == ("UNKNOWN", "UNKNOWN")


async def test_a_check_that_hangs_is_a_failure(lab: EcsLab) -> None:
    hangs = {"command": ["CMD", "sleep", "300"], "interval": 5, "timeout": 2, "retries": 1}
    task = await lab.run(await define_server(lab, healthCheck=hangs))
    await lab.until_task(task["taskArn"], "RUNNING")
    await seen(lambda: lab.task(task["taskArn"]), lambda now: now and now["healthStatus"] == "UNHEALTHY")


@pytest.mark.parametrize(
    ("matcher", "status", "fits"),
    [
        ("200", 200, True),
        ("200", 204, False),
        ("200-299", 204, True),
        ("200,302", 302, True),
        ("200,300-304", 301, True),
        ("200-", 200, False),
        ("", 200, False),
        ("nonsense", 200, False),
        ("200-x", 200, False),
    ],
)
def test_a_matcher(matcher: str, status: int, fits: bool) -> None:
    assert matches(matcher, status) is fits


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\n\r\n", "Health checks failed with these codes: [302]"),
        (b"SSH-2.0-OpenSSH\r\n", "Health checks failed"),
        (b"x" * 200_000, "Health checks failed"),
        (b"", "Health checks failed"),
    ],
)
async def test_a_check_understands_every_answer(reply: bytes, words: str) -> None:
    with answering(reply) as port:
        finding = await check_target(FAST, "127.0.0.1", port)
    assert finding.description == words


async def test_a_check_of_nobody_and_of_silence() -> None:
    assert (await check_target(FAST, "127.0.0.1", free_port())).description == "Health checks failed"
    with black_hole() as port:
        finding = await check_target(replace(FAST, timeout=0.1), "127.0.0.1", port)
    assert (finding.code, finding.description) == ("Target.Timeout", "Request timed out")

"""What happens to an open session when the network breaks, or the task dies, under it."""

import hashlib
import os
import subprocess

from tests.support.labs import Lab
from tests.support.shells import shell, start
from tests.support.wireproxy import WireProxy

MEGABYTE = 1024 * 1024


def test_two_cuts_each_way_lose_nothing(lab: Lab) -> None:
    data = os.urandom(MEGABYTE)
    with WireProxy(lab.endpoint, every=400_000, most=4) as proxy:
        through = lab.with_environment({**lab.environment, "AWS_ENDPOINT_URL": proxy.url})
        done = shell(through, "cat", stdin=data, timeout=100)
    assert done.returncode == 0, done.stderr
    assert proxy.cuts == 4
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(data).hexdigest()
    assert b"the connection is back" in done.stderr


def test_a_task_that_somebody_else_stops_ends_a_command_with_its_reason(lab: Lab) -> None:
    words = ["shell", "--scripts", str(lab.scripts), "--", "echo up; exec sleep 600"]
    with start(lab, words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            (task,) = lab.toolbox_tasks()
            lab.client("ecs").stop_task(cluster=lab.cluster, task=task, reason="somebody else")
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 255
    assert b"UserInitiated" in errors
    assert b"somebody else" in errors

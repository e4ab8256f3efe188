"""What happens when the lab itself dies: a process hosts a runtime and is killed."""

import asyncio
import signal
import sys
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.support.isolations import ISOLATIONS
from tests.support.marks import marked
from tests.support.waiting import until
from toolbox.lab.runtime.spec import Isolation

HOST = """
import asyncio, os, sys
from pathlib import Path
from toolbox.lab.runtime.containers import Runtime
from toolbox.lab.runtime.spec import ContainerSpec, Isolation

async def main():
    runtime = await Runtime.open(Path(sys.argv[2]), isolation=Isolation(sys.argv[1]))
    environment = {"PATH": os.defpath, "MARK": sys.argv[3]}
    program = (
        "trap '' TERM HUP INT; setsid sh -c 'setsid sleep 300 & exec sleep 300' &"
        " setsid setsid sleep 300 & exec sleep 300"
    )
    for init in (False, True):
        spec = ContainerSpec(f"task-{init}", "app", ("sh", "-c", program), environment, init=init)
        await runtime.start(spec, print)
    await runtime.spawn("task-False", "app", ["sh", "-c", "trap '' HUP; setsid sleep 300 & sleep 300"])
    await runtime.run("task-True", "app", ["sleep", "300"])
    print("up", flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""
EXPECTED = 4 + 4 + 3 + 1  # processes of the four programs above


async def start_host(isolation: Isolation, directory: Path, mark: str) -> asyncio.subprocess.Process:
    arguments = (sys.executable, "-c", HOST, isolation, str(directory), mark)
    host = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE, cwd=directory)
    assert host.stdout is not None
    assert await host.stdout.readline() == b"up\n"
    await until(lambda: len(marked(mark)) >= EXPECTED, what=f"{len(marked(mark))} processes")
    return host


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_nothing_survives_the_lab(isolation: Isolation, number: signal.Signals, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    host = await start_host(isolation, tmp_path, mark)
    host.send_signal(number)
    await host.wait()
    await until(lambda: marked(mark) == [], 5, what="processes left")


@pytest.mark.parametrize("isolation", ISOLATIONS)
async def test_two_runtimes_live_side_by_side(isolation: Isolation, tmp_path: Path) -> None:
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    one, two = await asyncio.gather(*(start_host(isolation, tmp_path, mark) for mark in (first, second)))
    one.kill()
    await one.wait()
    await until(lambda: marked(first) == [], 5)
    assert len(marked(second)) >= EXPECTED
    two.kill()
    await two.wait()
    await until(lambda: marked(second) == [], 5)

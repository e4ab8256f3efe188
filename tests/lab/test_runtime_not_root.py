"""A lab that is not root: run for real as another user, where we are root and can be one."""

import asyncio
import os
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

import toolbox

NOBODY = 65534
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")  # ours may lie where nobody else may look
SOURCES = Path(toolbox.__file__).parents[1]
PROGRAM = """
import asyncio, os, sys, tempfile
from pathlib import Path
if sys.version_info < (3, 11) or not os.access(sys.argv[1], os.R_OK | os.X_OK):
    sys.exit(77)
sys.path.insert(0, sys.argv[1])
from toolbox.lab.runtime.containers import Runtime
from toolbox.lab.runtime.spec import ContainerSpec

async def main():
    with tempfile.TemporaryDirectory() as directory:
        runtime = await Runtime.open(Path(directory))
        print("isolation", runtime.isolation)
        argv = ("sh", "-c", "id -u; touch /scripts/mine; echo $$; exec sleep 300")
        spec = ContainerSpec("task", "app", argv, {"PATH": os.defpath}, {"/etc/hosts": "127.0.0.1 db"})
        container = await runtime.start(spec, print)
        process = await runtime.spawn("task", "app", ["sh", "-c", "ls /scripts; cat /etc/hosts; tty; exit 5"])
        print("code", await process.wait())
        print(os.read(process.master, 1000).decode())
        print("killed", await container.kill())

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="we are not root: every other test of the runtime shows it")
@pytest.mark.skipif(PYTHON is None, reason="there is no Python that another user can run")
async def test_without_root_a_user_namespace_gives_the_same() -> None:
    assert PYTHON is not None
    host = await asyncio.create_subprocess_exec(
        *(PYTHON, "-B", "-c", PROGRAM, str(SOURCES)),
        stdout=PIPE,
        stderr=PIPE,
        env={"PATH": os.defpath},
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    out, errors = await host.communicate()
    if host.returncode == 77:
        pytest.skip(f"{PYTHON} is older than 3.11, or another user cannot read {SOURCES}")
    assert host.returncode == 0, errors.decode()
    lines = out.decode().split()
    if "isolation shared" in out.decode():
        pytest.skip("user namespaces are forbidden here")
    assert lines[:4] == ["isolation", "user", "0", "1"], lines
    assert lines[4:] == ["code", "5", "mine", "127.0.0.1", "db/dev/pts/0", "killed", "137"], lines

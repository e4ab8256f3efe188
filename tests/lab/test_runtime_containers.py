import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.isolations import ISOLATIONS, PRIVATE
from tests.support.marks import arguments, marked
from tests.support.waiting import until
from toolbox.lab.runtime.containers import Container, Runtime
from toolbox.lab.runtime.spec import ContainerError, ContainerSpec, Isolation


@pytest.fixture(params=ISOLATIONS)
async def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    runtime = await Runtime.open(tmp_path, isolation=request.param)
    yield runtime
    await runtime.aclose()


@pytest.fixture(params=PRIVATE)
async def private(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Runtime]:
    runtime = await Runtime.open(tmp_path, isolation=request.param)
    yield runtime
    await runtime.aclose()


def spec(*argv: str, **more: object) -> ContainerSpec:
    fields: dict[str, object] = {
        "task_id": uuid.uuid4().hex,
        "name": "app",
        "environment": {"PATH": os.defpath, "MARK": uuid.uuid4().hex},
    }
    return ContainerSpec(argv=argv, **{**fields, **more})  # type: ignore[arg-type]  # the fields a test does not care for


async def output(runtime: Runtime, *argv: str, **more: object) -> tuple[int, list[str]]:
    lines: list[str] = []
    container = await runtime.start(spec(*argv, **more), lines.append)
    return await container.wait(), lines


def read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


async def ready(runtime: Runtime, program: str, **more: object) -> tuple[Container, list[str]]:
    """A shell program that says `ready`, once it has."""
    lines: list[str] = []
    container = await runtime.start(spec("sh", "-c", program, **more), lines.append)
    await until(lambda: "ready" in lines)
    return container, lines


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_the_exit_code_is_the_programs_own(runtime: Runtime, code: int) -> None:
    assert await output(runtime, "sh", "-c", f"exit {code}") == (code, [])


async def test_a_signal_is_128_and_its_number(runtime: Runtime) -> None:
    container, _ = await ready(runtime, "echo ready; exec sleep 100")
    os.kill(container.pid, signal.SIGKILL)
    assert await container.wait() == 137


async def test_every_line_comes_out_in_order_the_last_one_too(runtime: Runtime) -> None:
    code, lines = await output(runtime, "sh", "-c", "echo one; echo two >&2; printf three")
    assert (code, lines) == (0, ["one", "two", "three"])


async def test_a_lot_of_output_is_complete(runtime: Runtime) -> None:
    _, lines = await output(runtime, "seq", "100000")
    assert lines == [str(number) for number in range(1, 100001)]


async def test_the_environment_is_exactly_what_was_given(runtime: Runtime) -> None:
    given = {"PATH": os.defpath, "SECRET": "s3cret 'ü' \n two"}
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    _, (line,) = await output(runtime, sys.executable, "-I", "-S", "-c", program, environment=given)
    seen = json.loads(line)
    extra = {"TOOLBOX_SCRIPTS"} if runtime.isolation is Isolation.SHARED else {"HOME"}
    assert {key: value for key, value in seen.items() if key not in extra | {"LC_CTYPE"}} == given


async def test_no_secret_is_in_any_argv(runtime: Runtime) -> None:
    secret = uuid.uuid4().hex
    container, _ = await ready(runtime, "echo ready; exec sleep 100", environment={"PATH": os.defpath, "S": secret})
    assert not any(secret.encode() in argv for argv in arguments())
    await container.kill()


async def test_a_program_that_is_nowhere_is_an_error_in_runcs_words(runtime: Runtime) -> None:
    with pytest.raises(ContainerError, match=r"executable file not found in \$PATH"):
        await output(runtime, "no-such-program")
    with pytest.raises(ContainerError, match="no such file or directory"):
        await output(runtime, "/no/such/program")
    with pytest.raises(ContainerError, match="permission denied"):
        await output(runtime, "/etc/passwd")


async def test_stop_asks_first(runtime: Runtime) -> None:
    container, lines = await ready(runtime, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    assert await container.stop(5) == 3
    assert lines[-1] == "bye"


async def test_stop_kills_after_its_timeout(runtime: Runtime) -> None:
    container, _ = await ready(runtime, "trap '' TERM; echo ready; while :; do sleep 0.05; done")
    started = time.monotonic()
    assert await container.stop(0.3) == 137
    assert 0.3 <= time.monotonic() - started < 2


async def test_a_first_process_without_handler_ignores_sigterm_as_in_any_container(private: Runtime) -> None:
    container, _ = await ready(private, "echo ready; exec sleep 100")
    assert await container.stop(0.2) == 137


async def test_an_init_passes_signals_on_and_collects_orphans(private: Runtime) -> None:
    program = "(sh -c 'sleep 0.05 &') ; echo ready; exec sleep 100"
    container, _ = await ready(private, program, init=True)
    assert await container.stop(5) == 143


async def test_nothing_outlives_its_container(runtime: Runtime) -> None:
    mark = uuid.uuid4().hex
    program = "setsid sh -c 'setsid sleep 300 & sleep 300' & sleep 300 & echo ready; read -r line; sleep 300"
    container, _ = await ready(runtime, program, environment={"PATH": os.defpath, "MARK": mark})
    await until(lambda: len(marked(mark)) >= 4)
    await container.kill()
    assert marked(mark) == []


async def test_orphans_end_with_the_main_process(runtime: Runtime) -> None:
    mark = uuid.uuid4().hex
    environment = {"PATH": os.defpath, "MARK": mark}
    code, _ = await output(runtime, "sh", "-c", "setsid sleep 300 & exit 5", environment=environment)
    assert (code, marked(mark)) == (5, [])


async def test_it_has_its_own_files_and_the_host_has_none_of_them(private: Runtime) -> None:
    name = f"/tmp/{uuid.uuid4().hex}"
    program = f"cat /etc/hosts /etc/resolv.conf; hostname; touch {name} /scripts/mine /run/x && ls /scripts"
    files = {"/etc/hosts": "127.9.9.9 db\n", "/etc/resolv.conf": "nameserver 127.9.9.2\n"}
    before = read(Path("/etc/hosts"))
    code, lines = await output(private, "sh", "-c", program, files=files, hostname="ip-127-9-9-9")
    assert (code, lines) == (0, ["127.9.9.9 db", "nameserver 127.9.9.2", "ip-127-9-9-9", "mine"])
    assert read(Path(name)) is read(Path("/scripts/mine")) is None
    assert read(Path("/etc/hosts")) == before


async def test_the_host_is_read_only(private: Runtime) -> None:
    code, lines = await output(private, "sh", "-c", "touch /usr/x /etc/passwd.new /var/x 2>&1; echo > /etc/passwd")
    assert code != 0
    assert sum("Read-only file system" in line for line in lines) >= 3, lines


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -o remount,bind,rw /usr",
        "umount /usr",
        "mount -t tmpfs none /opt",
        "mknod /tmp/disk b 8 0",
        "cat /proc/sys/vm/swappiness > /tmp/now && cat /tmp/now > /proc/sys/vm/swappiness",
    ],
)
async def test_its_root_cannot_undo_that(private: Runtime, attempt: str) -> None:
    code, lines = await output(private, "sh", "-c", attempt)
    assert code != 0, lines
    code, (line,) = await output(private, "grep", "CapEff", "/proc/self/status")
    assert int(line.split()[1], 16) & 1 << 21 == 0  # CAP_SYS_ADMIN


async def test_nobodys_home_is_visible(private: Runtime) -> None:
    _, lines = await output(private, "ls", "-A", "/home")
    assert lines == []


async def test_it_sees_only_its_own_processes(private: Runtime) -> None:
    _, lines = await output(private, "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'")
    assert lines[0] == "1"
    assert int(lines[1]) <= 4


async def test_this_python_and_our_code_work_inside(runtime: Runtime) -> None:
    code, lines = await output(runtime, sys.executable, "-c", "import toolbox.lab.contract, botocore; print('in')")
    assert (code, lines) == (0, ["in"])


async def test_a_login_shell_keeps_the_containers_path(private: Runtime) -> None:
    environment = {"PATH": f"/opt/tool:{os.defpath}"}
    _, lines = await output(private, "bash", "-lc", "echo $PATH; echo $HOME", environment=environment)
    assert lines == [environment["PATH"], "/root"]


async def test_scripts_are_apart_without_a_private_root(tmp_path: Path) -> None:
    runtime = await Runtime.open(tmp_path, isolation=Isolation.SHARED)
    _, first = await output(runtime, "sh", "-c", "touch $TOOLBOX_SCRIPTS/a; echo $TOOLBOX_SCRIPTS; ls $TOOLBOX_SCRIPTS")
    _, second = await output(runtime, "sh", "-c", "echo $TOOLBOX_SCRIPTS; ls $TOOLBOX_SCRIPTS")
    assert first[0] != second[0]
    assert (first[1:], second[1:]) == (["a"], [])
    await runtime.aclose()
    assert not (tmp_path / first[0]).exists()


async def test_limits_hold(runtime: Runtime) -> None:
    _, lines = await output(runtime, "sh", "-c", "ulimit -n; ulimit -c", limits={"nofile": 321})
    assert lines == ["321", "0"]


async def test_a_start_costs_little(runtime: Runtime) -> None:
    taken = []
    for _ in range(5):
        started = time.monotonic()
        container = await runtime.start(spec("true"), lambda line: None)
        taken.append(time.monotonic() - started)
        await container.wait()
    assert min(taken) < 0.1, taken


async def test_a_start_that_is_given_up_leaves_nothing(runtime: Runtime) -> None:
    mark = uuid.uuid4().hex
    wanted = spec("sleep", "300", environment={"PATH": os.defpath, "MARK": mark})
    for delay in (0.0, 0.005, 0.02):
        start = asyncio.create_task(runtime.start(wanted, lambda line: None))
        await asyncio.wait([start], timeout=delay)
        start.cancel()
        result = (await asyncio.gather(start, return_exceptions=True))[0]
        if isinstance(result, Container):
            await result.kill()
    await until(lambda: marked(mark) == [])

"""Containers as real processes: start one, stop it, run something inside it.

The event loop's thread is what they live by: when it ends, however it ends, the kernel ends them.
"""

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from errno import ESRCH
from pathlib import Path
from typing import Any, Final

from toolbox.lab.children import send
from toolbox.lab.runtime import shims
from toolbox.lab.runtime.spec import ContainerError, ContainerSpec, Isolation

_HANG_UP_GRACE: Final = 1.0  # seconds from SIGHUP to SIGKILL
_LAST_LINES: Final = 2.0  # seconds for the output to end once its processes have
_LIMITS: Final = {"core": 0, "nofile": 65535}  # Fargate's default for open files
_CODE_OF_KILL: Final = 128 + signal.SIGKILL
# Not Debian's, which sets PATH anew: a login shell finds what the container's environment says.
_PROFILE: Final = """\
if [ -n "$BASH_VERSION" ]; then PS1='\\u@\\h:\\w\\$ '; else PS1='$(id -un)@$(hostname):$PWD\\$ '; fi
"""


class Container:
    """A running container; `pid` is its first process as the host counts."""

    def __init__(self, spec: ContainerSpec, shim: Process, pid: int, pidfd: int, output: "asyncio.Task[None]") -> None:
        self.spec = spec
        self.pid = pid
        self._shim = shim
        self._pidfd = pidfd
        self._ended = asyncio.create_task(self._end(output))

    @property
    def pidfd(self) -> int:
        """The first process's pidfd, open until it has ended."""
        return self._pidfd

    async def wait(self) -> int:
        """The exit code, 128 + number for a signal, once nothing of the container runs and its last line is out."""
        return await asyncio.shield(self._ended)

    async def stop(self, timeout: float) -> int:
        """SIGTERM to the first process, SIGKILL to all after `timeout` seconds; the exit code."""
        if not self._ended.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """SIGKILL to all of it; the exit code."""
        send(self._shim, signal.SIGUSR1)
        return await self.wait()

    async def _end(self, output: "asyncio.Task[None]") -> int:
        code = await self._shim.wait()
        os.close(self._pidfd)
        await asyncio.wait([output], timeout=_LAST_LINES)
        output.cancel()
        return _CODE_OF_KILL if code < 0 else code


class Joined:
    """A process that was started inside a running container: the contract's `PtyProcess` where it has a terminal."""

    def __init__(self, shim: Process, master: int | None) -> None:
        self._shim = shim
        self._master = -1 if master is None else master

    @property
    def master(self) -> int:
        """The terminal's master side, which its user owns and closes; -1 for a process without a terminal."""
        return self._master

    async def wait(self) -> int:
        """The exit code, 128 + number for a signal."""
        code = await self._shim.wait()
        return _CODE_OF_KILL if code < 0 else code

    def hang_up(self) -> None:
        """SIGHUP to its session, SIGKILL to what stays; nothing when it has ended."""
        send(self._shim, signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL at once."""
        send(self._shim, signal.SIGUSR1)


class Runtime:
    """Starts containers and finds them by task and name. Made by `open`; `isolation` is what the kernel allows."""

    def __init__(self, directory: Path, visible: Sequence[Path], isolation: Isolation) -> None:
        self.isolation = isolation
        self._directory = directory
        python = (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1])
        # Sorted, so that a directory comes before what lies in it.
        self._visible = sorted({str(path) for path in (*python, shims.SOURCES, *visible)})
        self._containers: dict[tuple[str, str], Container] = {}
        self._joined: dict[Joined, Container] = {}
        self._watchers: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, directory: Path, visible: Sequence[Path] = (), isolation: Isolation | None = None) -> "Runtime":
        """A runtime with the strongest isolation that works here, found out by running `true` in it.

        `directory` is for what must lie on the host; `visible` are paths of the host that containers see beside the
        system's, this Python's and our own. Raises ContainerError when `isolation` is given and refused.
        """
        wanted = [isolation] if isolation else ([Isolation.ROOT] if os.geteuid() == 0 else []) + [Isolation.USER]
        for candidate in wanted:
            runtime = cls(directory, visible, candidate)
            probe = ContainerSpec("probe", "probe", ("true",), {"PATH": os.defpath})
            try:
                container = await runtime.start(probe, lambda line: None)
            except ContainerError:
                if isolation:
                    raise
                continue
            await container.wait()
            return runtime
        return cls(directory, visible, Isolation.SHARED)

    async def start(self, spec: ContainerSpec, write: Callable[[str], None]) -> Container:
        """A started container; `write` gets each line of its output. Raises ContainerError."""
        orders = {
            **self._orders(spec, spec.argv, self._environment(spec)),
            "hostname": spec.hostname,
            "files": {"/etc/profile": _PROFILE, "/etc/hostname": f"{spec.hostname}\n", **spec.files},
            "visible": self._visible,
            "init": spec.init,
        }
        shim, answer = await shims.start(orders, (), output=True)
        output = asyncio.create_task(shims.copy_lines(shim, write))
        if answer.pid is None or answer.descriptor is None:
            await shim.wait()
            await output
            raise ContainerError(answer.error)
        container = Container(spec, shim, answer.pid, answer.descriptor, output)
        self._containers[spec.task_id, spec.name] = container
        watcher = asyncio.create_task(self._forget(container))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return container

    async def spawn(self, task_id: str, container: str, argv: Sequence[str]) -> Joined:
        """A process on a terminal of its own (size 0x0) in a running container: the contract's `Spawner`.

        Raises FileNotFoundError when the container does not run or has no `argv[0]`, OSError when it cannot be started.
        """
        return await self._join(task_id, container, argv, {"TERM": "xterm-256color"}, terminal=True)

    async def run(self, task_id: str, container: str, argv: Sequence[str]) -> Joined:
        """A process without terminal and output in a running container; raises as `spawn`."""
        return await self._join(task_id, container, argv, {}, terminal=False)

    async def aclose(self) -> None:
        """Kill every container."""
        await asyncio.gather(*(container.kill() for container in list(self._containers.values())))
        await asyncio.gather(*list(self._watchers))

    async def _join(
        self, task_id: str, name: str, argv: Sequence[str], extra: Mapping[str, str], *, terminal: bool
    ) -> Joined:
        container = self._containers.get((task_id, name))
        if container is None:
            raise FileNotFoundError(2, f"no container '{name}' runs in task {task_id}")
        environment = {"LANG": "C.UTF-8", **self._environment(container.spec), **extra}
        orders = {
            **self._orders(container.spec, argv, environment),
            "terminal": terminal,
            "pidfd": container.pidfd,
            "grace": _HANG_UP_GRACE,
        }
        shim, answer = await shims.start(orders, (container.pidfd,), output=False)
        if answer.pid is None:
            await shim.wait()
            raise OSError(answer.errno or ESRCH, answer.error, argv[0])
        joined = Joined(shim, answer.descriptor)
        self._joined[joined] = container
        watcher = asyncio.create_task(self._forget_joined(joined))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return joined

    def _orders(self, spec: ContainerSpec, argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
        return {
            "isolation": self.isolation,
            "argv": list(argv),
            "environment": dict(environment),
            "directory": spec.directory,
            "limits": {**_LIMITS, **spec.limits},
            "grace": _HANG_UP_GRACE,
        }

    def _environment(self, spec: ContainerSpec) -> dict[str, str]:
        if self.isolation is not Isolation.SHARED:
            return {"HOME": "/root", **spec.environment}  # runc sets it from /etc/passwd too
        scripts = self._scripts(spec)
        scripts.mkdir(parents=True, exist_ok=True)
        return {**spec.environment, "TOOLBOX_SCRIPTS": str(scripts)}

    def _scripts(self, spec: ContainerSpec) -> Path:
        return self._directory / f"{spec.task_id}-{spec.name}" / "scripts"

    async def _forget(self, container: Container) -> None:
        await container.wait()
        spec = container.spec
        self._containers.pop((spec.task_id, spec.name), None)
        for joined in [joined for joined, its in self._joined.items() if its is container]:
            joined.kill()
        if self.isolation is Isolation.SHARED:
            shutil.rmtree(self._scripts(spec).parent, ignore_errors=True)

    async def _forget_joined(self, joined: Joined) -> None:
        await joined.wait()
        del self._joined[joined]

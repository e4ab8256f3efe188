"""`toolbox shell` on one page: plan, launch, session, stop."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.aws import Aws
from toolbox.errors import LaunchError
from toolbox.inventory import Inventory
from toolbox.launcher import lifecycle, plugin
from toolbox.launcher.execute import AwsGateway, execute
from toolbox.launcher.interrupts import Interrupts
from toolbox.launcher.lifecycle import Progress, TaskRef
from toolbox.launcher.mount import Archive, pack
from toolbox.launcher.plan import OWNER_TAG, Clock, with_revision
from toolbox.launcher.prepare import Prepared, prepare, revision
from toolbox.session import remote
from toolbox.session.remote import Command, Stdio

RELAY: str = "toolbox relay"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for. `words` None is a shell; `attach` is the id of a running task ("" for the only one)."""

    words: tuple[str, ...] | None
    pty: bool
    scripts: Path
    clock: Clock
    use_plugin: bool = False
    keep: bool = False
    attach: str | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """How the launcher tells a person things: `progress` while they wait, `tell` what they should know or read."""

    progress: Progress
    tell: Callable[[str], None]


async def open_shell(aws: Aws, inventory: Inventory, request: Request, stdio: Stdio, voice: Voice) -> int:
    """Run the request; returns the exit code that the far side was seen to end with, 128 + n after our own signal.

    Raises a ToolboxError for everything that keeps the outcome from being observed.
    """
    me = asyncio.current_task()
    assert me is not None
    with Interrupts(me, voice.tell) as interrupts:
        try:
            archive = pack(request.scripts)
            if request.attach is not None:
                return await _attached(aws, inventory, request, archive, stdio, voice, interrupts)
            prepared = await prepare(aws, inventory, request.clock, voice.progress)
            return await _launched(aws, prepared, request, archive, stdio, voice, interrupts)
        except asyncio.CancelledError:
            if interrupts.received is None:
                raise
            return 128 + interrupts.received


async def _launched(
    aws: Aws, prepared: Prepared, request: Request, archive: Archive, stdio: Stdio, voice: Voice, interrupts: Interrupts
) -> int:
    for note in prepared.plan.notes:
        voice.tell(note)
    definition = await revision(aws, prepared.plan, voice.progress)
    voice.progress(f"starting a task beside {prepared.service}")
    run = with_revision(prepared.plan, definition)
    async with lifecycle.started(aws, run, keep=request.keep, progress=voice.progress) as task:
        await lifecycle.until_ready(aws, task, voice.progress)
        code = await _watched(aws, task, _session(aws, task, request, archive, stdio, voice, interrupts))
        if request.keep:
            voice.tell(f"task {task.short} is kept; come back with --attach {task.short}")
        return code


async def _attached(
    aws: Aws,
    inventory: Inventory,
    request: Request,
    archive: Archive,
    stdio: Stdio,
    voice: Voice,
    interrupts: Interrupts,
) -> int:
    identity = await aws.identity()
    task = _pick(await lifecycle.mine(aws, inventory.cluster), identity.name, request.attach or "", inventory.cluster)
    await lifecycle.until_ready(aws, task, voice.progress)
    return await _watched(aws, task, _session(aws, task, request, archive, stdio, voice, interrupts))


async def _session(
    aws: Aws, task: TaskRef, request: Request, archive: Archive, stdio: Stdio, voice: Voice, interrupts: Interrupts
) -> int:
    if request.use_plugin:
        voice.tell("through AWS's plugin: scripts/ is not mounted, and no exit code comes back")
        ticket = await execute(aws, task, plugin.SHELL, voice.progress)
        return await plugin.run(aws, task, ticket)
    ticket = await execute(aws, task, RELAY, voice.progress)
    async with remote.connect(ticket, AwsGateway(aws)) as far:
        delivery = await far.deliver(archive.content)
        voice.tell(f"{far.hello.scripts_directory}: {_listed(delivery.files)}")
        if not request.pty:
            interrupts.forward = _forwarder(far)
        voice.progress("")
        try:
            return await far.run(Command(request.words, request.pty), stdio)
        finally:
            interrupts.forward = None


async def _watched(aws: Aws, task: TaskRef, session: Coroutine[Any, Any, int]) -> int:
    """The session's exit code, or the reason of the task's death, whichever comes first."""
    talking: asyncio.Task[int] = asyncio.ensure_future(session)
    watching = asyncio.ensure_future(lifecycle.until_dead(aws, task))
    try:
        await asyncio.wait((talking, watching), return_when=asyncio.FIRST_COMPLETED)
        if talking.done() and talking.exception() is None:
            return talking.result()
        if watching.done():
            raise watching.result()
        # The session ended without an outcome: if that is because the task died, that is what the person must read.
        described = await lifecycle.describe(aws, task.cluster, task.arn)
        if described is not None and described.get("desiredStatus") == "STOPPED":
            raise await lifecycle.explain_death(aws, task)
        return talking.result()
    finally:
        for job in (talking, watching):
            job.cancel()
        await asyncio.gather(talking, watching, return_exceptions=True)


def _forwarder(far: remote.Remote) -> Callable[[], None]:
    """A handler for Ctrl-C that passes it on to the running command."""
    under_way: set[asyncio.Task[None]] = set()

    def forward() -> None:
        job = asyncio.ensure_future(far.signal(signal.SIGINT))
        under_way.add(job)
        job.add_done_callback(under_way.discard)

    return forward


def _pick(tasks: Sequence[Mapping[str, Any]], owner: str, wanted: str, cluster: str) -> TaskRef:
    """The one task of `owner` whose id starts with `wanted`; raises LaunchError where that is not exactly one."""
    found = [
        task
        for task in tasks
        if lifecycle.tag(task, OWNER_TAG) == owner and task["taskArn"].rpartition("/")[2].startswith(wanted)
    ]
    if len(found) == 1:
        container = next(c["name"] for c in found[0]["overrides"]["containerOverrides"])
        return TaskRef(cluster, found[0]["taskArn"], container)
    running = ", ".join(task["taskArn"].rpartition("/")[2] for task in found) or "none"
    raise LaunchError(
        f"--attach needs one task of yours that runs; there are {len(found)}: {running}.",
        cause="attach-unclear",
        next_step="Name one with --attach ID, or start a new one without --attach.",
    )


def _listed(files: Sequence[str]) -> str:
    return f"{len(files)} files: {', '.join(files)}" if files else "empty"

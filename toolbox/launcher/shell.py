"""`toolbox shell` on one page: plan, launch, session, stop."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from toolbox.aws import Aws
from toolbox.errors import LaunchError
from toolbox.inventory import Inventory
from toolbox.launcher import lifecycle, plugin
from toolbox.launcher.execute import AwsGateway, execute
from toolbox.launcher.interrupts import Interrupts
from toolbox.launcher.lifecycle import Patience, Progress, TaskRef
from toolbox.launcher.mount import Archive, pack
from toolbox.launcher.plan import OWNER_TAG, Clock, with_revision
from toolbox.launcher.prepare import Prepared, prepare, revision
from toolbox.session import remote
from toolbox.session.client import Dropped, Resumed, SessionEvent
from toolbox.session.remote import Command, FarSide
from toolbox.session.terminal import LocalStdio, lent

_RELAY: Final = "toolbox relay"
_RELAY_SECONDS: Final = 20.0
_LOOK: Final = ("TERM", "COLORTERM", "NO_COLOR")


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


@dataclass(frozen=True, slots=True)
class _Job:
    """One run of the launcher: everything that its steps share."""

    aws: Aws
    request: Request
    archive: Archive
    patience: Patience
    voice: Voice
    interrupts: Interrupts


async def open_shell(aws: Aws, inventory: Inventory, request: Request, voice: Voice) -> int:
    """Run the request; returns the exit code that the far side was seen to end with, 128 + n after our own signal.

    Raises a ToolboxError for everything that keeps the outcome from being observed.
    """
    me = asyncio.current_task()
    assert me is not None
    with Interrupts(me, voice.tell) as interrupts:
        try:
            if request.use_plugin:
                plugin.program()
            archive = pack(request.scripts)
            patience = Patience(inventory.thresholds.task_running, inventory.thresholds.agent_ready)
            job = _Job(aws, request, archive, patience, voice, interrupts)
            if request.attach is not None:
                return await _attached(job, inventory.cluster, request.attach)
            return await _launched(job, await prepare(aws, inventory, request.clock, voice.progress))
        except asyncio.CancelledError:
            if interrupts.received is None:
                raise
            return 128 + interrupts.received


async def _launched(job: _Job, prepared: Prepared) -> int:
    for note in prepared.plan.notes:
        job.voice.tell(note)
    definition = await revision(job.aws, prepared.plan, job.voice.progress)
    job.voice.progress(f"starting a task beside {prepared.service}")
    run = with_revision(prepared.plan, definition)
    async with lifecycle.started(job.aws, run, keep=job.request.keep, progress=job.voice.progress) as task:
        code = await _used(job, task)
        if job.request.keep:
            job.voice.tell(f"task {task.short} is kept; come back with --attach {task.short}")
        return code


async def _attached(job: _Job, cluster: str, wanted: str) -> int:
    identity = await job.aws.identity()
    return await _used(job, _pick(await lifecycle.mine(job.aws, cluster), identity.name, wanted, cluster))


async def _used(job: _Job, task: TaskRef) -> int:
    """The exit code of the session in `task`, or the reason of the task's death, whichever comes first."""
    await lifecycle.until_ready(job.aws, task, job.patience, job.voice.progress)
    session = _plugin_session if job.request.use_plugin else _relay_session
    return await _unless_it_dies(job.aws, task, session(job, task))


async def _relay_session(job: _Job, task: TaskRef) -> int:
    ticket = await execute(job.aws, task, _RELAY, job.patience.agent, job.voice.progress)
    job.voice.progress(f"task {task.short}: opening the session")
    listen = _listener(job.voice)
    async with remote.connect(ticket, AwsGateway(job.aws), deadline=_RELAY_SECONDS, on_event=listen) as far:
        delivery = await far.deliver(job.archive.content)
        job.voice.progress(f"task {task.short}: {_listed(delivery.files, far.hello.scripts_directory)}")
        job.voice.progress("")
        if not job.request.pty:
            job.interrupts.forward = _forwarder(far)
        try:
            async with LocalStdio(raw=job.request.pty and os.isatty(0)) as stdio:
                return await far.run(Command(job.request.words, job.request.pty, _look()), stdio)
        finally:
            job.interrupts.forward = None


async def _plugin_session(job: _Job, task: TaskRef) -> int:
    job.voice.tell("through AWS's plugin: scripts/ is not mounted, and no exit code comes back")
    ticket = await execute(job.aws, task, plugin.SHELL, job.patience.agent, job.voice.progress)
    job.voice.progress("")
    with lent():
        return await plugin.run(job.aws, task, ticket)


async def _unless_it_dies(aws: Aws, task: TaskRef, session: Coroutine[Any, Any, int]) -> int:
    talking = asyncio.ensure_future(session)
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


def _look() -> dict[str, str]:
    """What the far side must know of the terminal here; the api's environment says nothing of it."""
    return {name: os.environ[name] for name in _LOOK if name in os.environ}


def _listener(voice: Voice) -> Callable[[SessionEvent], None]:
    """Tells a person about a connection that broke, and that it is back."""

    def listen(event: SessionEvent) -> None:
        if isinstance(event, Dropped):
            voice.tell("the connection broke; resuming it")
        elif isinstance(event, Resumed):
            voice.tell(f"the connection is back after {event.seconds:.1f} s; nothing was lost")

    return listen


def _forwarder(far: FarSide) -> Callable[[], bool]:
    """A handler for Ctrl-C that passes it on to the command; it says whether there is one that runs."""
    under_way: set[asyncio.Task[None]] = set()

    def forward() -> bool:
        if not far.running:
            return False
        sending = asyncio.ensure_future(far.signal(signal.SIGINT))
        under_way.add(sending)
        sending.add_done_callback(under_way.discard)
        return True

    return forward


def _pick(tasks: Sequence[Mapping[str, Any]], owner: str, wanted: str, cluster: str) -> TaskRef:
    """The one task of `owner` whose id starts with `wanted`; raises LaunchError where that is not exactly one."""
    found = [
        task
        for task in tasks
        if lifecycle.tag(task, OWNER_TAG) == owner and task["taskArn"].rpartition("/")[2].startswith(wanted)
    ]
    if len(found) == 1:
        container = found[0]["overrides"]["containerOverrides"][0]["name"]
        return TaskRef(cluster, found[0]["taskArn"], container)
    running = ", ".join(task["taskArn"].rpartition("/")[2] for task in found) or "none"
    raise LaunchError(
        f"--attach needs one task of yours that runs; there are {len(found)}: {running}.",
        cause="attach-unclear",
        next_step="Name one with --attach ID, or start a new one without --attach.",
    )


def _listed(files: Sequence[str], directory: str) -> str:
    """What was mounted, on one line; the directory itself can be listed for the rest."""
    shown = ", ".join(files[:8]) + (", …" if len(files) > 8 else "")
    return f"{len(files)} files in {directory}: {shown}" if files else f"nothing to mount at {directory}"

"""`toolbox shell` on one page: plan, launch, session, stop."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from toolbox.aws import Aws
from toolbox.errors import SessionError
from toolbox.inventory import Inventory
from toolbox.launcher import lifecycle, plugin, watch
from toolbox.launcher.attach import expiry, pick
from toolbox.launcher.execute import AwsGateway, execute
from toolbox.launcher.greeting import greeting, prompt
from toolbox.launcher.interrupts import Interrupts
from toolbox.launcher.mount import Archive, pack
from toolbox.launcher.plan import Clock, with_revision
from toolbox.launcher.prepare import Prepared, prepare, revision, who
from toolbox.launcher.tasks import Progress, TaskRef, mine
from toolbox.launcher.watch import Patience
from toolbox.session import remote
from toolbox.session.client import Dropped, Resumed, SessionEvent
from toolbox.session.failures import SessionLeft
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
    inventory: Inventory
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
            job = _Job(aws, request, archive, inventory, voice, interrupts)
            if request.attach is not None:
                return await _attached(job, request.attach)
            return await _launched(job, await prepare(aws, inventory, request.clock, voice.progress))
        except SessionLeft as left:
            voice.tell(left.sentence)
            return left.exit_code
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
        clock = job.request.clock
        words = greeting(job.inventory.environment, expiry(run), clock, outlives=job.request.keep)
        return await _used(job, task, words)


async def _attached(job: _Job, wanted: str) -> int:
    cluster = job.inventory.cluster
    identity = await job.aws.identity()
    job.voice.progress(who(identity, job.aws.region, cluster))
    found = pick(await mine(job.aws, cluster), identity.name, wanted)
    task = TaskRef(cluster, found["taskArn"], found["overrides"]["containerOverrides"][0]["name"])
    return await _used(job, task, greeting(job.inventory.environment, expiry(found), None))


async def _used(job: _Job, task: TaskRef, words: Sequence[str]) -> int:
    """The exit code of the session in `task`, or the reason of the task's death, whichever comes first.

    `words` greet the person, where there is one: before a shell on a terminal.
    """
    thresholds = job.inventory.thresholds
    await watch.until_ready(
        job.aws, task, Patience(thresholds.task_running, thresholds.agent_ready), job.voice.progress
    )
    session = _plugin_session if job.request.use_plugin else _relay_session
    return await _unless_it_dies(job.aws, task, session(job, task, words))


async def _relay_session(job: _Job, task: TaskRef, words: Sequence[str]) -> int:
    seconds = job.inventory.thresholds.agent_ready
    ticket = await execute(job.aws, task, _RELAY, seconds, job.voice.progress)
    job.voice.progress(f"task {task.short}: agent ready, opening the session")
    listen = _listener(job.voice)
    async with remote.connect(ticket, AwsGateway(job.aws, task), deadline=_RELAY_SECONDS, on_event=listen) as far:
        delivery = await far.deliver(job.archive.content)
        job.voice.progress(f"task {task.short}: {_listed(delivery.files, far.hello.scripts_directory)}")
        command = Command(job.request.words, job.request.pty, _look())
        if command.pty and command.words is None:
            for line in words:
                job.voice.tell(line)
            ours = prompt(job.inventory.environment, task.short, os.environ)
            command = replace(command, environment={**command.environment, **ours})
        job.voice.progress("")
        if not command.pty:
            job.interrupts.forward = _forwarder(far)
        try:
            async with LocalStdio(raw=command.pty and os.isatty(0)) as stdio:
                return await far.run(command, stdio)
        finally:
            job.interrupts.forward = None


async def _plugin_session(job: _Job, task: TaskRef, words: Sequence[str]) -> int:
    seconds = job.inventory.thresholds.agent_ready
    ticket = await execute(job.aws, task, plugin.SHELL, seconds, job.voice.progress)
    for line in (*words, "through AWS's plugin: scripts/ is not mounted, and no exit code comes back"):
        job.voice.tell(line)
    job.voice.progress("")
    with lent():
        return await plugin.run(job.aws, task, ticket)


async def _unless_it_dies(aws: Aws, task: TaskRef, session: Coroutine[Any, Any, int]) -> int:
    talking = asyncio.ensure_future(session)
    watching = asyncio.ensure_future(watch.until_dead(aws, task))
    try:
        await asyncio.wait((talking, watching), return_when=asyncio.FIRST_COMPLETED)
        if talking.done() and talking.exception() is None:
            return talking.result()
        if watching.done():
            raise watching.result()
        # The session ended without an outcome: if that is because the task died, that is what the person must read.
        if await watch.is_to_stop(aws, task):
            raise await watch.explain_death(aws, task)
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

    async def pass_on() -> None:
        with suppress(SessionError):  # the session has ended, which `run` is about to say
            await far.signal(signal.SIGINT)

    def forward() -> bool:
        if not far.running:
            return False
        sending = asyncio.ensure_future(pass_on())
        under_way.add(sending)
        sending.add_done_callback(under_way.discard)
        return True

    return forward


def _listed(files: Sequence[str], directory: str) -> str:
    """What was mounted, on one line; the directory itself can be listed for the rest."""
    shown = ", ".join(files[:8]) + (", …" if len(files) > 8 else "")
    noun = "file" if len(files) == 1 else "files"
    return f"{len(files)} {noun} in {directory}: {shown}" if files else f"nothing to mount at {directory}"

"""`toolbox shell`: a shell, or one command, in a temporary task beside the api service."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from toolbox.errors import LaunchError, ToolboxError, UsageError

if TYPE_CHECKING:
    import typer

    from toolbox.cli.progress import Progress

_HELP: Final = """Open a shell inside the VPC: a temporary Fargate task with the api's network, environment and secrets.

The local scripts/ directory is mounted at /scripts. The task is stopped when the shell ends, however it ends; should
this machine die, the task ends by its own clock.

\b
Examples:
  toolbox shell                                   a shell; 'exit' or ~. ends it and the task
  toolbox shell -- toolbox probe db --json        one command: its output, its exit code
  toolbox shell -- 'psql "$DATABASE_URL" -c "select 1"'
  pg_dump_script | toolbox shell -- sh            what is piped in arrives there
  toolbox shell --plan                            show what would be sent to ECS, and do nothing
  toolbox shell --lab                             the same in a local VPC, without an account
"""
_DURATION: Final = re.compile(r"(\d+)([smh]?)")
_LONGEST: Final = 24 * 3600  # a temporary task that is needed longer is not temporary
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600}


class Client(StrEnum):
    """Which program carries the session."""

    BUILTIN = "builtin"
    PLUGIN = "plugin"


@dataclass(frozen=True, slots=True)
class _Wish:
    """The options as they were given."""

    words: tuple[str, ...] | None
    tty: bool
    plan: bool
    scripts: Path | None
    clock: Mapping[str, int | None]
    keep: bool
    attach: str | None
    client: Client
    inventory: Path | None


def register(app: "typer.Typer") -> None:
    """Add the command to `app`."""
    import typer

    @app.command("shell", help=_HELP, short_help="A shell, or one command, in a temporary task inside the VPC.")
    def shell(
        command: Annotated[
            list[str] | None, typer.Argument(metavar="COMMAND", help="What to run; put -- before it.")
        ] = None,
        tty: Annotated[bool, typer.Option("-t", "--tty", help="Give COMMAND a terminal.")] = False,
        plan: Annotated[bool, typer.Option("--plan", help="Print what would be sent to ECS; change nothing.")] = False,
        scripts: Annotated[Path | None, typer.Option(metavar="DIR", help="What to mount at /scripts.")] = None,
        lifetime: Annotated[
            str | None, typer.Option(metavar="TIME", help="When the task ends in any case, e.g. 4h.")
        ] = None,
        idle: Annotated[str | None, typer.Option(metavar="TIME", help="How long it may be unused, e.g. 20m.")] = None,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the task running until its clock ends it.")] = False,
        attach: Annotated[
            str | None,
            typer.Option(metavar="ID", help="A new shell in a task of yours that runs ('' for the only one)."),
        ] = None,
        client: Annotated[
            Client, typer.Option(help="'plugin': through AWS's session-manager-plugin.")
        ] = Client.BUILTIN,
        inventory: Annotated[
            Path | None, typer.Option(metavar="FILE", help="Another environment's inventory (TOOLBOX_INVENTORY).")
        ] = None,
        lab: Annotated[
            bool, typer.Option("--lab", help="In the local VPC; started, and ended, if none is up.")
        ] = False,
        name: Annotated[str | None, typer.Option(metavar="NAME", help="Which lab (TOOLBOX_LAB).")] = None,
    ) -> None:
        from toolbox.cli.progress import Progress

        if os.environ.get("TOOLBOX_TASK"):
            raise UsageError(
                "This shell is already in a task in the VPC.",
                cause="usage",
                next_step="Type the command itself here; for another task, run this on your own machine.",
            )
        if client is Client.PLUGIN and command:
            raise typer.BadParameter("'--client plugin' opens a shell only: it brings no exit code back.")
        clock = {"lifetime": _seconds("lifetime", lifetime), "idle": _seconds("idle", idle)}
        if keep or client is Client.PLUGIN:
            clock["heartbeat"] = 0
        wish = _Wish(tuple(command) if command else None, tty, plan, scripts, clock, keep, attach, client, inventory)
        with Progress() as progress, _lab(lab, name, progress):
            code = _observed(wish, progress)
        raise typer.Exit(code)


@contextmanager
def _lab(wanted: bool, name: str | None, progress: "Progress") -> Iterator[None]:
    """With `--lab`, AWS is the lab for this process; a lab that was started for it ends with it."""
    if not wanted:
        yield
        return
    from toolbox.lab import control

    with control.borrowed(name, progress) as environment:
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _observed(wish: _Wish, progress: "Progress") -> int:
    """As `_run`; whatever kept us from seeing the outcome ends with the code that says so (255)."""
    try:
        return _run(wish, progress)
    except (UsageError, LaunchError):
        raise
    except ToolboxError as error:
        raise LaunchError(error.sentence, cause=error.cause, next_step=error.next_step, detail=error.detail) from error


def _run(wish: _Wish, progress: "Progress") -> int:
    from toolbox import inventory
    from toolbox.aws import Aws
    from toolbox.launcher.image import repository_root
    from toolbox.launcher.plan import Clock, shown
    from toolbox.launcher.prepare import prepare
    from toolbox.launcher.shell import Request, Voice, open_shell

    book = inventory.load(wish.inventory)
    ours = {"lifetime": book.shell.lifetime_seconds, "idle": book.shell.idle_seconds}
    clock = Clock(**{**ours, **{key: value for key, value in wish.clock.items() if value is not None}})
    aws = Aws(region=book.region)
    if wish.plan:
        prepared = asyncio.run(prepare(aws, book, clock, progress))
        document = {"schema": 1, "command": "shell --plan", **shown(prepared.plan)}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return 0
    one_shot = wish.words is not None or not sys.stdin.isatty()
    request = Request(
        words=wish.words,
        pty=wish.tty or not one_shot,
        scripts=wish.scripts or repository_root() / "scripts",
        clock=clock,
        use_plugin=wish.client is Client.PLUGIN,
        keep=wish.keep,
        attach=wish.attach,
    )
    return asyncio.run(open_shell(aws, book, request, Voice(progress, progress.tell)))


def _seconds(option: str, text: str | None) -> int | None:
    """`90`, `90s`, `20m` or `4h` as seconds; the option's environment variable where it is not given."""
    text = text or os.environ.get(f"TOOLBOX_{option.upper()}")
    if not text:
        return None
    match = _DURATION.fullmatch(text.strip())
    if not match or int(match[1]) == 0:
        raise UsageError(f"--{option} is '{text}', which is no time.", cause="usage", next_step="Write 90s, 20m or 4h.")
    seconds = int(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST:
        raise UsageError(
            f"--{option} is '{text}', which is more than a day.", cause="usage", next_step="Write 90s, 20m or 4h."
        )
    return seconds
